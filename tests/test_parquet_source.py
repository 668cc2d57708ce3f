"""The source `parquet`: the Hugging Face copies, read a row group at a time."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_fixtures import CLASSES, encode, written
from source_fixtures import IDS, RATE, all_steps, ledger, make_project, segments, sound, step

from glat.data.audio.clips import AudioError, to_int16
from glat.data.packs.read import Packs
from glat.data.sources import Shard
from glat.data.sources.parquet import Parquet
from glat.lib.errors import GlatError

ROWS = segments()
NAMES = dict(zip(CLASSES["mid"], CLASSES["display_name"], strict=True))
AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LISTS = pa.list_(pa.string())


def flac(i: int) -> bytes:
    return written(sound(i), RATE, kind="FLAC")


def table(rows=ROWS, content=None, labels=None) -> pa.Table:
    """As the copies have it: FLAC files in `audio`, ids of classes in `labels`, their names in `human_labels`."""
    labels = [list(mids) for mids in rows["labels"]] if labels is None else labels
    content = [flac(IDS.index(i)) for i in rows["youtube_id"]] if content is None else content
    audio = [{"bytes": c, "path": f"audio/eval/{i}.flac"} for c, i in zip(content, rows["youtube_id"], strict=True)]
    return pa.table({
        "video_id": pa.array(rows["youtube_id"].tolist()), "audio": pa.array(audio, AUDIO),
        "labels": pa.array(labels, LISTS),
        "human_labels": pa.array([[NAMES[mid] for mid in mids] for mids in labels], LISTS),
    })  # fmt: skip


def write(path, made=None, group=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table() if made is None else made, path, row_group_size=group)
    return path


def fetch(audio, rows=ROWS, split="eval", **settings):
    return Parquet(audio=str(audio), **settings).fetch(Shard(rows, None, split, classes=CLASSES))


@pytest.mark.parametrize(
    ("split", "folder"), [("eval", "eval"), ("balanced_train", "bal_train"), ("unbalanced_train", "unbal_train")]
)
def test_from_the_copies_folders_to_packs(tmp_path, monkeypatch, split, folder):
    monkeypatch.chdir(tmp_path)
    content = [flac(i) for i in range(6)]
    content[1], content[3], content[4] = None, b"", content[4][: len(content[4]) // 2]
    made = table(content=content).take([5, 3, 4, 0, 1, 2])
    write(tmp_path / f"data here/{folder}/00.parquet", made.slice(0, 4), 3)
    write(tmp_path / f"data here/{folder}/01.parquet", made.slice(4))
    write(tmp_path / "data here/other/00.parquet")  # another split's, with the same ids
    make_project(tmp_path, {"kind": "parquet", "audio": "data here"}, split=split)
    packs = Packs(all_steps(tmp_path, split=split))
    assert packs.clips.tolist() == ROWS["clip"][[0, 2, 5]].tolist()
    for got, i in zip(packs.read_int16(range(3)), (0, 2, 5), strict=True):
        assert np.abs(got.astype(int) - to_int16(sound(i), len(got))).max() <= 1
    lost = ledger(tmp_path, split)
    assert lost.keys() == set(ROWS["clip"][[1, 3, 4]])
    assert lost[ROWS["clip"][1]] == "missing: the row has no bytes" and lost[ROWS["clip"][3]] == "empty file"
    assert lost[ROWS["clip"][4]].startswith("truncated: ")


def test_a_row_group_at_a_time_and_only_the_bytes(tmp_path, monkeypatch):
    write(tmp_path / "a.parquet")
    listing = fetch(tmp_path)
    assert listing["part"].tolist() == ["0:0", "0:1", "1:0", "1:1", "2:0", "2:1"]
    asked = []
    iterate = pq.ParquetFile.iter_batches

    def noted(file, *arguments, **named):
        asked.append((named["row_groups"], named["columns"]))
        return iterate(file, *arguments, **named)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", noted)
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", None)
    got = Parquet(audio="-").read(listing.drop([2, 3]), tmp_path)
    assert next(got) == flac(0) and next(got) == flac(1)
    assert asked == [([0], ["audio.bytes"])]
    assert list(got) == [flac(4), flac(5)]
    assert asked == [([group], ["audio.bytes"]) for group in (0, 2)]


def test_memory_is_that_of_a_row_group(tmp_path):
    rng = np.random.default_rng(0)
    ids = [f"{i:011d}" for i in range(64)]
    rows = segments(ids)
    content = [rng.bytes(2**20) for _ in ids]
    write(tmp_path / "a.parquet", table(rows, content), 8)
    listing = fetch(tmp_path, rows)
    before = pa.total_allocated_bytes()
    highest = 0
    for got, wanted in zip(Parquet(audio="-").read(listing, tmp_path), content, strict=True):
        assert got == wanted
        highest = max(highest, pa.total_allocated_bytes() - before)
    assert highest < 30 * 2**20


def test_labels_are_compared_by_id_or_by_name(tmp_path):
    labels = [list(mids) for mids in ROWS["labels"]]
    shifted = labels[1:] + labels[:1]
    made = table(labels=shifted)
    told = rf"a\.parquet: labels of 6 of the 6 clips found in it differ .* first of {ROWS['clip'][0]}, which has 'B' and 'C'"
    for names, error in ((["labels", "human_labels"], told), (["human_labels"], told), ([], None)):
        write(tmp_path / "a.parquet", made.select(["video_id", "audio", *names]))
        if error:
            with pytest.raises(GlatError, match=error):
                fetch(tmp_path)
        else:
            assert (fetch(tmp_path)["note"] == "").all()
    write(tmp_path / "a.parquet", table().select(["video_id", "audio", "human_labels"]))
    assert (fetch(tmp_path)["note"] == "").all()
    # Another order of a row's labels is the same labels; one that the class list lacks is not.
    write(tmp_path / "a.parquet", table(labels=[mids[::-1] for mids in labels]))
    assert (fetch(tmp_path)["note"] == "").all()


def test_a_label_that_the_list_lacks_is_a_difference(tmp_path):
    rows = segments([f"{i:011d}" for i in range(30)])
    labels = [list(mids) for mids in rows["labels"]]
    labels[4] = [*labels[4], "/m/0zzz"]
    made = table(rows, [b"x"] * 30, [mids[:] for mids in rows["labels"]])
    made = made.set_column(2, "labels", pa.array(labels, LISTS))
    write(tmp_path / "a.parquet", made)
    noted = fetch(tmp_path, rows)
    assert noted["clip"][noted["note"] == "labels differ"].tolist() == [rows["clip"][4]]


def test_files_that_are_not_the_copies(tmp_path):
    path = write(tmp_path / "a.parquet")
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"<html>", b""):
        path.write_bytes(content)
        with pytest.raises(GlatError, match=r"a\.parquet: not a whole Parquet file \(.*\); fetch it again"):
            fetch(tmp_path)
    for made in (table().select(["video_id", "labels"]), pa.table({"video_id": ["a"], "audio": [b"x"]})):
        write(path, made)
        with pytest.raises(GlatError, match=r"a\.parquet: has the columns video_id, .*; needed are video_id and audio"):
            fetch(tmp_path)
    path.unlink()
    with pytest.raises(GlatError, match=r"no file \(\.parquet\) there"):
        fetch(tmp_path)


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("audio", [{"bytes": "/etc/hostname"}] * 6, "audio.bytes is string, and binary is needed"),  # text is a path
        ("audio", [{"bytes": 7}] * 6, "audio.bytes is int64, and binary"),
        ("audio", [{"bytes": [1, 2]}] * 6, "audio.bytes is list<.*>, and binary"),
        ("video_id", range(6), "video_id is int64, and text is needed"),
        ("video_id", [[i] for i in IDS], "video_id is list<.*>, and text"),
        ("video_id", [i.encode() for i in IDS], "video_id is binary, and text"),
        ("labels", [[0]] * 6, "labels is list<.*>, and lists of text"),
        ("labels", ["/m/0a"] * 6, "labels is string, and lists of text"),
        ("human_labels", [[["A"]]] * 6, "human_labels is list<.*>, and lists of text"),
    ],
)  # fmt: skip
def test_columns_of_other_types_are_refused(tmp_path, column, values, told):
    made = table(content=[b"x"] * 6)
    listing = fetch(write(tmp_path / "a.parquet", made))
    write(tmp_path / "a.parquet", made.set_column(made.schema.get_field_index(column), column, pa.array(values)))
    read = lambda: list(Parquet(audio="-").read(listing, tmp_path))
    for use in (lambda: fetch(tmp_path), read):  # changed in between, perhaps
        with pytest.raises(GlatError, match=rf"a\.parquet: {told}"):
            use()


@pytest.mark.parametrize(
    "kind", [pa.large_binary(), pa.binary_view(), pa.binary(3), pa.dictionary(pa.int32(), pa.binary())]
)
def test_bytes_and_text_of_every_kind_are_read(tmp_path, kind):
    content = pa.array([f"{i:03}".encode() for i in range(6)])
    content = content.dictionary_encode() if pa.types.is_dictionary(kind) else content.cast(kind)
    ids = pa.array(IDS).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(IDS, pa.large_string())
    made = pa.table({"video_id": ids, "audio": pa.StructArray.from_arrays([content], ["bytes"])})
    got = list(Parquet(audio="-").read(fetch(write(tmp_path / "a.parquet", made, 6)), tmp_path))
    assert got == [b"%03d" % i for i in range(6)]


def test_a_damaged_row_group_loses_its_clips_alone(tmp_path):
    path = write(tmp_path / "a.parquet")
    listing = fetch(tmp_path)
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(1)
    assert chunk.path_in_schema == "audio.bytes"
    with open(path, "r+b") as raw:
        raw.seek(chunk.dictionary_page_offset or chunk.data_page_offset)
        raw.write(b"\xff" * chunk.total_compressed_size)
    got = list(Parquet(audio="-").read(listing, tmp_path))
    assert [got[i] for i in (0, 1, 4, 5)] == [flac(i) for i in (0, 1, 4, 5)]
    for i in (2, 3):
        assert isinstance(got[i], AudioError) and str(got[i]).startswith("unreadable: row group 1: ")
        assert "\n" not in str(got[i])


def test_a_wrong_setting_is_told_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path, {"kind": "parquet", "audio": "data"})
    assert step("metadata") is None
    for key, value, told in (
        ("audio", "[]", "datasets.tiny.source.audio: [] is not a folder, a file, a pattern of files, or a list of them"),
        ("audio", "nowhere", "nowhere: no file (.parquet) there; set datasets.*.source.audio"),
        ("in_place", "true", "unknown key in_place; source parquet has audio, split_folders"),
    ):  # fmt: skip
        assert told in step("--set", f"datasets.tiny.source.{key}={value}", "download", "eval", 0)


def test_mp3_bytes_are_audio_too(tmp_path):
    content = [encode(tmp_path / "a.mp3", sound(i)[None], RATE).read_bytes() for i in range(6)]
    write(tmp_path / "a.parquet", table(content=content))
    assert list(Parquet(audio="-").read(fetch(tmp_path), tmp_path)) == content

"""The sources `panns_hdf5` and `passt_hdf5`: packs that others made, found, compared, repacked or used in place."""

import h5py
import numpy as np
import pandas as pd
import pytest
from data_fixtures import CLASSES, encode
from source_fixtures import IDS, RATE, SECONDS, all_steps, ledger, make_project, segments, sound, step

from glat.data.audio.clips import to_int16
from glat.data.lists import audioset
from glat.data.packs.read import Packs
from glat.data.sources import Shard
from glat.data.sources.containers import find_files
from glat.data.sources.panns_hdf5 import PannsHdf5
from glat.data.sources.passt_hdf5 import PasstHdf5
from glat.lib.errors import GlatError

ROWS = segments()
WAVEFORMS = np.stack([to_int16(sound(i), round(RATE * SECONDS)) for i in range(len(ROWS))])


def panns(path, rows=ROWS, target=None, names=None, waveform=None, rate=RATE, **options):
    """A file as PANNs' packing writes it, with the waveform of each row's id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        names = [f"Y{youtube_id}.wav" for youtube_id in rows["youtube_id"]] if names is None else names
        file.create_dataset("audio_name", data=[name.encode() for name in names], dtype="S20")
        if waveform is None:
            waveform = WAVEFORMS[[IDS.index(youtube_id) for youtube_id in rows["youtube_id"]]]
        file.create_dataset("waveform", data=waveform, **options)
        file["target"] = audioset.targets(rows, CLASSES) if target is None else target
        if rate:
            file.attrs.create("sample_rate", data=rate, dtype=np.int32)
    return path


def passt(path, rows=ROWS, names=None, content=None, target=None):
    """A file as PaSST's packing writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        names = [f"Y{youtube_id}.mp3" for youtube_id in rows["youtube_id"]] if names is None else names
        file["audio_name"] = np.array([name.encode() for name in names], "S20")
        mp3 = file.create_dataset("mp3", (len(rows),), h5py.vlen_dtype(np.uint8))
        for i, youtube_id in enumerate(rows["youtube_id"]):
            made = encode(path.parent / "a.mp3", sound(IDS.index(youtube_id))[None], RATE).read_bytes()
            mp3[i] = np.frombuffer(made if content is None else content[i], np.uint8)
        (path.parent / "a.mp3").unlink()
        file["target"] = np.packbits(audioset.targets(rows, CLASSES) if target is None else target, axis=-1)
    return path


def fetch(source, audio, rows=ROWS, split="eval", **settings):
    audio = audio if isinstance(audio, list) else str(audio)
    return source(audio=audio, **settings).fetch(Shard(rows, None, split, classes=CLASSES))


def places(table):
    return {
        row.clip.rsplit("_", 1)[0]: row.reason or f"{row.file.rpartition('/')[2]}:{row.part}"
        for row in table.itertuples()
    }


def test_panns_packs_are_packed_anew(project):
    silent = WAVEFORMS.copy()
    silent[2] = 0
    panns(project / "hdf5s/waveforms/eval.h5", waveform=silent)
    panns(project / "hdf5s/waveforms/balanced_train.h5", ROWS[:2])  # the same ids in another split's file
    with h5py.File(project / "hdf5s/indexes.h5", "w") as file:  # PANNs' own indexes have no audio
        file["audio_name"] = [b"Y" + ROWS["youtube_id"][0].encode()]
    make_project(project, {"kind": "panns_hdf5", "audio": "hdf5s"})
    packs = Packs(all_steps(project))
    kept = ROWS.drop(2).reset_index(drop=True)
    assert packs.clips.tolist() == kept["clip"].tolist() and packs.attributes[0]["codec"] == "pcm16"
    np.testing.assert_array_equal(packs.read_int16(range(5)), WAVEFORMS[[0, 1, 3, 4, 5]])
    np.testing.assert_array_equal(packs.labels.dense(), audioset.targets(kept, CLASSES))
    told = "zeros: all samples are 0, as packs of PANNs have for audio that was missing"
    assert ledger(project) == {ROWS["clip"][2]: told}
    listed = pd.read_csv(project / "data/tiny/audio/eval/000.csv")
    assert set(listed["file"]) == {str(project / "hdf5s/waveforms/eval.h5")}


def test_panns_packs_in_place(project):
    order = [3, 0, 5, 1, 4, 2]  # not that of the segment list
    zeros = WAVEFORMS.copy()
    zeros[4] = 0
    panns(project / "a/1.h5", ROWS.iloc[order[:4]], waveform=zeros[order[:4]])
    panns(project / "a/2.h5", ROWS.iloc[order[4:]], waveform=zeros[order[4:]], chunks=(2, 999), compression="gzip")
    make_project(project, {"kind": "panns_hdf5", "audio": "a", "in_place": True})
    assert step("metadata") is None
    for shard in (0, 1):
        assert step("download", "eval", shard) is None
        assert step("resample", "eval", shard) is None
        assert not list((project / f"data/tiny/resampled/eval/00{shard}").glob("waveform*"))
        assert step("pack", "eval", shard) is None
    paths = [project / f"data/tiny/packs/eval/00{shard}.h5" for shard in (0, 1)]
    packs = Packs(paths)
    assert packs.clips.tolist() == ROWS["clip"].drop(4).tolist() and packs.attributes[0]["codec"] == "in_place"
    np.testing.assert_array_equal(packs.read_int16([4, 0, 2, 1, 3]), WAVEFORMS[[5, 0, 2, 1, 3]])
    np.testing.assert_array_equal(packs.read([1])[0], WAVEFORMS[1] / np.float32(32768))
    with h5py.File(paths[0]) as pack:
        peak = np.abs(WAVEFORMS[0].astype(int)).max() / 32768
        assert "waveform" not in pack and pack["peak"][0] == pytest.approx(peak)
    assert ledger(project)[ROWS["clip"][4]].startswith("zeros: ")
    for other in ({"order": order[3::-1]}, {"dtype": np.float32}):
        rows = ROWS.iloc[other.get("order", order[:4])]
        (project / "a/1.h5").unlink()
        panns(project / "a/1.h5", rows, waveform=zeros[rows.index].astype(other.get("dtype", np.int16)))
        with pytest.raises(GlatError, match=r"a/1\.h5: changed since a pack began to use it in place; download and"):
            Packs(paths).read([0])
    (project / "a/1.h5").unlink()
    panns(project / "a/1.h5", ROWS.iloc[order[:4]], waveform=zeros[order[:4]])
    np.testing.assert_array_equal(Packs(paths).read_int16([0])[0], WAVEFORMS[0])
    (project / "a/1.h5").rename(project / "a/moved.h5")
    with pytest.raises(GlatError, match=r"a/1\.h5: the pack uses it in place, but"):
        Packs(paths).read([0])


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({"rate": 12800}, ("has 32000 samples of int16 at 12800 Hz, and used in place it must have 32000 samples of int16 at "
                           "16000 Hz")),
        ({"waveform": WAVEFORMS[:, :31999]}, r"has 31999 samples of int16 at 16000 Hz"),
        ({"waveform": np.float32(WAVEFORMS) / 32768}, r"has 32000 samples of float32 at 16000 Hz"),
    ],
)  # fmt: skip
def test_in_place_only_what_would_be_the_same(project, made, told):
    panns(project / "a.h5", **made)
    make_project(project, {"kind": "panns_hdf5", "audio": "a.h5", "in_place": True})
    assert step("metadata") is None and step("download", "eval", 0) is None
    sentence = step("resample", "eval", 0)
    assert told in sentence and f"a.h5: row 0 (clip {ROWS['clip'][0]})" in sentence and "in_place: false" in sentence
    assert not (project / "data/tiny/resampled").exists() or not list((project / "data/tiny/resampled/eval").iterdir())
    # Packed anew, each of them is good.
    [pack] = all_steps(project, 1, "eval", "--set", "datasets.tiny.source.in_place=false")
    assert len(Packs(pack)) == 4


def test_passt_packs(project):
    content = [encode(project / f"{i}.mp3", sound(i)[None], RATE).read_bytes() for i in range(6)]
    content[1], content[4] = b"", b"<!DOCTYPE html>"
    names = [
        f"Y{IDS[0]}.mp3", f"{IDS[1]}.mp3", f"{IDS[2]}.mp3", f"eval/Y{IDS[3]}.m", f"Y{IDS[4]}.mp3", f"Y{IDS[5]}.mp3",
    ]  # fmt: skip
    passt(project / "mp3/eval_segments_mp3.hdf", names=names, content=content)
    passt(project / "mp3/balanced_train_segments_mp3.hdf", ROWS[:1])
    make_project(project, {"kind": "passt_hdf5", "audio": "mp3"})
    packs = Packs(all_steps(project))
    assert packs.clips.tolist() == ROWS["clip"].drop([1, 4]).tolist()
    for got, i in zip(packs.read(range(4)), (0, 2, 3, 5), strict=True):
        assert np.corrcoef(got[: len(sound(i))], sound(i))[0, 1] > 0.99
    assert ledger(project) == {ROWS["clip"][1]: "empty file", ROWS["clip"][4]: "undecodable: a web page, not audio"}


@pytest.mark.parametrize(("source", "make"), [(PannsHdf5, panns), (PasstHdf5, passt)])
def test_labels_are_compared(tmp_path, source, make):
    target = audioset.targets(ROWS, CLASSES)
    make(tmp_path / "shifted.h5", target=np.roll(target, 1, axis=0))
    first = f"first of {ROWS['clip'][0]}, which has 'B' and 'C' there and 'A' in the list"
    with pytest.raises(GlatError, match=rf"shifted\.h5: labels of 6 of the 6 clips found in it differ .* {first}"):
        fetch(source, tmp_path)
    make(tmp_path / "shifted.h5", target=target[:, [1, 0, 2, 3]])
    with pytest.raises(GlatError, match="its rows or classes are in another order"):
        fetch(source, tmp_path)
    make(tmp_path / "shifted.h5", target=np.pad(target, ((0, 0), (0, 9))))
    with pytest.raises(GlatError, match=r"shifted\.h5: target has the shape \(6, \d+\), and 4 classes need"):
        fetch(source, tmp_path)


def test_a_few_other_labels_are_a_note(tmp_path):
    rows = segments([f"{i:011d}" for i in range(40)])
    target = audioset.targets(rows, CLASSES)
    target[[7, 9]] ^= True
    panns(tmp_path / "a.h5", rows, target, waveform=np.ones((40, 3), np.int16))
    table = fetch(PannsHdf5, tmp_path, rows)
    assert table["clip"][table["note"] == "labels differ"].tolist() == rows["clip"][[7, 9]].tolist()
    assert (table["reason"] == "").all()
    target[3] ^= True
    panns(tmp_path / "a.h5", rows, target, waveform=np.ones((40, 3), np.int16))
    with pytest.raises(GlatError, match="labels of 3 of the 40 clips"):
        fetch(PannsHdf5, tmp_path, rows)


def test_one_bad_file_among_many_is_told(tmp_path):
    rows = segments([f"{i:011d}" for i in range(2200)])
    target = audioset.targets(rows, CLASSES)
    panns(tmp_path / "1.h5", rows[100:], target[100:], waveform=np.ones((2100, 3), np.int16))
    panns(tmp_path / "2.h5", rows[:100], np.roll(target[:100], 1, axis=0), waveform=np.ones((100, 3), np.int16))
    with pytest.raises(GlatError, match=r"2\.h5: labels of 100 of the 100 clips found in it differ"):
        fetch(PannsHdf5, tmp_path, rows)


def test_where_the_files_are_looked_for(tmp_path):
    panns(tmp_path / "eval/a.h5", ROWS[:2])
    panns(tmp_path / "b.h5", ROWS)
    (tmp_path / "eval/loop").symlink_to(tmp_path / "eval")
    found = find_files(Shard(ROWS, tmp_path, "eval"), PannsHdf5(audio=str(tmp_path)), {}, (".h5",))
    assert found == [str(tmp_path / "eval/a.h5")]  # once, though a link leads round
    assert list(places(fetch(PannsHdf5, tmp_path)).values()) == ["a.h5:0", "a.h5:1"] + ["no row"] * 4
    assert set(places(fetch(PannsHdf5, tmp_path / "*.h5")).values()) == {f"b.h5:{i}" for i in range(6)}
    both = fetch(PannsHdf5, [str(tmp_path / "b.h5"), str(tmp_path / "eval")])
    assert both["part"].tolist() == ["0", "1", "2", "3", "4", "5"] and both["file"].iloc[0].endswith("eval/a.h5")
    assert places(fetch(PannsHdf5, tmp_path / "{split}")) == places(fetch(PannsHdf5, tmp_path / "eval"))
    renamed = fetch(PannsHdf5, tmp_path, split="test", split_folders={"test": "eval"})
    assert places(renamed) == places(fetch(PannsHdf5, tmp_path))
    for audio, settings, told in (
        (tmp_path / "*.hdf", {}, r"\*\.hdf: no file \(\.h5, \.hdf, \.hdf5\) there; set datasets\.\*\.source\.audio"),
        (tmp_path, {"split_folders": {"eval": "other"}}, "has no folder 'other'; set .*split_folders.eval"),
        (panns(tmp_path / "c.h5", names=["Yxxxxxxxxxxx.wav"] * 6), {}, "none of the 6 rows there is of the 6 segments"),
    ):
        with pytest.raises(GlatError, match=told):
            fetch(PannsHdf5, audio, **settings)


def test_several_segments_of_one_video(tmp_path):
    rows = pd.concat([segments(IDS[:2]), segments(IDS[:2], start=50.0)], ignore_index=True)
    names = [f"Y{IDS[0]}.wav", f"{IDS[1]}_30.wav", f"Y{IDS[0]}.wav", f"{IDS[1]}_50.wav"]
    panns(tmp_path / "a.h5", rows, names=names, waveform=np.ones((4, 3), np.int16))
    reasons = fetch(PannsHdf5, tmp_path, rows).set_index("clip")
    assert reasons.loc[f"{IDS[1]}_30000", "part"] == "1" and reasons.loc[f"{IDS[1]}_50000", "part"] == "3"
    assert reasons.loc[f"{IDS[0]}_50000", "reason"].startswith("ambiguous: the list has several segments of")


def test_files_of_another_kind(tmp_path):
    panns(tmp_path / "a.h5")
    with pytest.raises(GlatError, match=r"a\.h5: no clips of this kind in it; set .*source\.kind"):
        fetch(PasstHdf5, tmp_path)


def test_files_that_are_no_packs(tmp_path):
    path = panns(tmp_path / "a.h5")
    whole = path.read_bytes()
    cases = [(whole[: len(whole) // 2], "truncated; fetch it again"), (b"<html>", "not a readable HDF5 file")]
    for content, told in cases:
        path.write_bytes(content)
        with pytest.raises(GlatError, match=rf"a\.h5: {told}"):
            fetch(PannsHdf5, tmp_path)
    for made, told in (
        ({"rate": None}, "attribute sample_rate is missing"),
        ({"waveform": np.ones(6, np.int16)}, "waveform is int16"),
        ({"waveform": np.ones((5, 3), np.int16)}, "has 6 names for 5 rows"),
    ):
        panns(path, **made)
        with pytest.raises(GlatError, match=rf"a\.h5: .*{told}"):
            fetch(PannsHdf5, tmp_path)
    with h5py.File(path, "w") as file:
        file["audio_name"], file["mp3"] = [b"a"], np.zeros((1, 3), np.uint8)
    with pytest.raises(GlatError, match=r"a\.h5: mp3 is uint8 .*expected variable-length uint8"):
        fetch(PasstHdf5, tmp_path)


def test_a_damaged_row_is_one_clip_lost(tmp_path):
    path = panns(tmp_path / "a.h5", chunks=(1, 32000), compression="gzip")
    table = fetch(PannsHdf5, tmp_path)
    with h5py.File(path) as file:
        chunk = file["waveform"].id.get_chunk_info(2)
    with open(path, "r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xff" * chunk.size)
    got = list(PannsHdf5(audio="-").read(table, None))
    assert str(got[2]).startswith("unreadable: row 2: ") and "\n" not in str(got[2])
    del got[2]
    np.testing.assert_array_equal(np.stack([one.samples for one in got]), np.delete(WAVEFORMS, 2, 0))


def test_a_file_that_is_gone_stops_the_step(tmp_path):
    path = panns(tmp_path / "a.h5")
    table = fetch(PannsHdf5, tmp_path)
    path.unlink()
    with pytest.raises(GlatError, match=r"a\.h5: no such file"):
        next(PannsHdf5(audio="-").read(table, None))


def instead(name, make):
    """A change of a whole file: what `make` puts in the place of a dataset."""

    def change(file):
        del file[name]
        make(file)

    return change


def other(name, **options):
    return instead(name, lambda file: file.create_dataset(name, **options))


def linked(name, to):
    return instead(name, lambda file: file.__setitem__(name, to))


def group(name):
    return instead(name, lambda file: file.create_group(name))


def at(value):
    return lambda file: file.attrs.__setitem__("sample_rate", value)


GONE = h5py.ExternalLink("gone.h5", "/w")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (other("waveform", data=5), r"waveform is int64 \(\), expected numbers \(any, any\)"),
        (other("waveform", dtype="f4"), r"waveform is float32 None, expected"),
        (group("waveform"), "waveform is a group"),
        (linked("waveform", GONE), "waveform is a link to gone.h5 /w, where nothing can be read"),
        (linked("waveform", h5py.SoftLink("/w")), "waveform is a link to /w, where"),
        (other("waveform", shape=(6, 10**11), dtype="i2"), "waveform has 100000000000 samples a clip, more than 3600 s"),
        (lambda file: (other("waveform", shape=(10**11, 9), dtype="i2")(file),
                       other("audio_name", shape=(10**11,), dtype="S9")(file)),
         "has 100000000000 names for 100000000000 rows"),
        (other("audio_name", data=b"a"), r"audio_name is object \(\), expected text"),
        (other("audio_name", data=np.arange(6)), "audio_name is int64"),
        (other("audio_name", shape=(6,), dtype="S1000000"), "audio_name has names of 1000000 bytes"),
        (linked("audio_name", GONE), "audio_name is a link to gone.h5"),
        (group("target"), "target is a group"),
        (other("target", data=1), r"target is int64 \(\), expected numbers"),
        (linked("target", GONE), "target is a link to gone.h5"),
        (other("target", shape=(6, 10**11), dtype="?"), "target has the shape"),
        (at("CD quality"), "sample_rate is 'CD quality', no rate; write the rate there with h5py, in whole Hz"),
        (at(h5py.Empty("f4")), "sample_rate is .*, no rate"),
        (at(np.zeros(0)), "sample_rate is .*, no rate"),
        (at(np.nan), "sample_rate is .*nan.*, no rate"),
        (at(np.inf), "sample_rate is .*inf.*, no rate"),
        (at(-5), "sample_rate is .*, no rate"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_of_somebody_s_file_is_one_sentence(tmp_path, change, told):
    path = panns(tmp_path / "a.h5", waveform=np.ones((6, 3), np.int16))
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(GlatError, match=rf"a\.h5: .*{told}"):
        fetch(PannsHdf5, tmp_path)


def test_a_file_of_mp3_that_is_none_is_one_sentence(tmp_path):
    for change, told in (
        (group("mp3"), "mp3 is a group"),
        (linked("mp3", GONE), "mp3 is a link to gone.h5"),
        (other("mp3", shape=(6,), dtype=h5py.vlen_dtype(np.int16)), "a pack has variable-length uint8"),
        (other("target", data=np.zeros((6, 1), np.int32)), "target is int32, expected uint8"),
    ):
        with h5py.File(passt(tmp_path / "a.h5", content=[b"x"] * 6), "r+") as file:
            change(file)
        with pytest.raises(GlatError, match=rf"a\.h5: .*{told}"):
            fetch(PasstHdf5, tmp_path)


@pytest.mark.parametrize("dtype", [">i2", ">f4"])
def test_waveforms_of_the_other_byte_order_and_in_another_file_are_read(tmp_path, dtype):
    path = panns(tmp_path / "a.h5")
    with h5py.File(tmp_path / "kept", "w") as kept:
        kept["w"] = WAVEFORMS.astype(dtype)
    with h5py.File(path, "r+") as file:
        del file["waveform"]
        file["waveform"] = h5py.ExternalLink("kept", "w")
    got = list(PannsHdf5(audio="-").read(fetch(PannsHdf5, tmp_path), None))
    assert all(one.samples.dtype.isnative and one.rate == RATE for one in got)
    np.testing.assert_array_equal(np.stack([one.samples for one in got]), WAVEFORMS)


def test_packs_of_the_other_byte_order_are_used_in_place(project):
    panns(project / "a.h5", waveform=WAVEFORMS.astype(">i2"))
    make_project(project, {"kind": "panns_hdf5", "audio": "a.h5", "in_place": True})
    np.testing.assert_array_equal(Packs(all_steps(project)).read_int16(range(6)), WAVEFORMS)


def raw_file(file):
    WAVEFORMS.tofile(file.filename + ".raw")
    del file["waveform"]
    file.create_dataset("waveform", WAVEFORMS.shape, "<i2", external=[(file.filename + ".raw", 0, WAVEFORMS.nbytes)])


def virtual(*parts, shape=WAVEFORMS.shape):
    """A change of a whole file: a waveform of `parts` (file, first row, last row) of the files' own `waveform`."""

    layout = h5py.VirtualLayout(WAVEFORMS.shape, "<i2")
    for name, first, last in parts:
        layout[first:last, : shape[1]] = h5py.VirtualSource(name, "waveform", shape)[first:last]
    return instead("waveform", lambda file: file.create_virtual_dataset("waveform", layout))


@pytest.fixture
def beside(tmp_path):
    """Files whose rows another one refers to: in its folder, and outside of it."""
    (tmp_path / "in").mkdir()
    with h5py.File(tmp_path / "in/half.hdf", "w") as file:
        file.create_dataset("waveform", WAVEFORMS.shape, "<i2", chunks=(1, 8000))[:, :16000] = WAVEFORMS[:, :16000]
    for name in ("in/whole.hdf", "private.hdf"):
        with h5py.File(tmp_path / name, "w") as file:
            file["waveform"] = WAVEFORMS
    with h5py.File(tmp_path / "in/raw.hdf", "w") as file:
        file["waveform"] = WAVEFORMS
        raw_file(file)
    with h5py.File(tmp_path / "in/onward.hdf", "w") as file:
        file["waveform"] = h5py.ExternalLink("../private.hdf", "waveform")
    return tmp_path


OUTSIDE = "waveform leads to .*private.hdf, which is not in the same folder"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (raw_file, "waveform lies in a raw file, .*raw"),
        (linked("waveform", h5py.ExternalLink("raw.hdf", "waveform")), "waveform lies in a raw file"),
        (linked("waveform", h5py.ExternalLink("../private.hdf", "waveform")), OUTSIDE),
        (linked("waveform", h5py.ExternalLink("onward.hdf", "waveform")), OUTSIDE),
        (virtual(("../private.hdf", 0, 6)), OUTSIDE),
        (virtual(("raw.hdf", 0, 6)), "lies in a raw file"),
        (virtual(("whole.hdf", 0, 3), ("gone.hdf", 3, 6)), "gone.hdf: not there, but part of .*a.h5: waveform; put it back"),
        (virtual(("a.h5", 0, 6)), "made of datasets that are made of others, over 4 deep"),
        (virtual(("whole.hdf", 0, 3)), "hold only 96000 of its 192000 values"),
        (virtual(("whole.hdf", 0, 6), shape=(6, 16000)), "hold only 96000 of its 192000 values"),
        (virtual(("whole.hdf", 0, 6)), None),
        (virtual(("half.hdf", 0, 6)), "half.hdf, parts of which were never written"),
        (other("waveform", shape=(6, 2**28), dtype="i2", chunks=(1, 2**28 + 1), maxshape=(6, None)), "in chunks of"),
    ],
)  # fmt: skip
def test_a_file_leads_to_no_place_but_its_own_folder(beside, change, told):
    with h5py.File(panns(beside / "in/a.h5", rate=768_000), "r+") as file:
        change(file)
    if told is None:
        got = list(PannsHdf5(audio="-").read(fetch(PannsHdf5, beside / "in/a.h5"), None))
        np.testing.assert_array_equal(np.stack([one.samples for one in got]), WAVEFORMS)
        return
    with pytest.raises(GlatError, match=rf"in/.*{told}"):
        fetch(PannsHdf5, beside / "in/a.h5")


@pytest.mark.parametrize("fill", [0, 5])
def test_rows_that_were_not_all_written_are_lost(tmp_path, fill):
    path = panns(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["waveform"]
        made = file.create_dataset("waveform", WAVEFORMS.shape, "<i2", chunks=(1, 8000), fillvalue=fill)
        made[0], made[2:5, :20000], made[5] = WAVEFORMS[0], WAVEFORMS[2:5, :20000], WAVEFORMS[5]
    got = list(PannsHdf5(audio="-").read(fetch(PannsHdf5, tmp_path), None))
    told = ["missing: the row was never written", *3 * ["damaged: 3 of the 4 chunks of the row were written"]]
    assert [str(one) for one in got[1:5]] == told
    np.testing.assert_array_equal(np.stack([got[0].samples, got[5].samples]), WAVEFORMS[[0, 5]])
    with h5py.File(path, "r+") as file:  # as PANNs writes them, but before the first row
        del file["waveform"]
        file.create_dataset("waveform", WAVEFORMS.shape, "<i2")
    assert {str(one) for one in PannsHdf5(audio="-").read(fetch(PannsHdf5, tmp_path), None)} == {told[0]}


def test_a_row_is_read_no_further_than_a_clip_may_be_long(project):
    panns(project / "a.h5", waveform=np.ones((6, RATE * 60), np.int16), compression="gzip", chunks=(1, RATE))
    listing = fetch(PannsHdf5, project)
    assert {len(one.samples) for one in PannsHdf5(audio="-").read(listing, None, 3.0)} == {3 * RATE + 1}
    make_project(project, {"kind": "panns_hdf5", "audio": "a.h5"})
    assert step("metadata") is None and step("download", "eval", 0) is None
    told = step("resample", "eval", 0)
    assert "all 4 clips of the shard are lost, 4 of them as 'too long'" in told
    assert f"(first: {ROWS['clip'][0]} in {project}/a.h5 (part 0), too long: " in told  # the user's own file
    in_place = step("--set", "datasets.tiny.source.in_place=true", "resample", "eval", 0)
    assert "has more than 32000 samples of int16 at 16000 Hz" in in_place


def unknown_filter(file, name="waveform"):
    shape = file[name].shape
    del file[name]
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk((1, shape[1]))
    created.set_filter(32099, h5py.h5z.FLAG_OPTIONAL, (0,))
    kind, space = h5py.h5t.STD_I16LE, h5py.h5s.create_simple(shape)
    found = h5py.h5d.create(file.id, name.encode(), kind, space, created)
    for row in range(shape[0]):
        found.write_direct_chunk((row, 0), WAVEFORMS[row % 6].tobytes(), 0)


def test_a_filter_that_is_not_installed_is_named(project):
    told = r"waveform is compressed by the HDF5 filter 32099 \(of no name\), which is not installed; install its plugin"
    panns(project / "a.h5")
    make_project(project, {"kind": "panns_hdf5", "audio": "a.h5"})
    packs = all_steps(project)
    for path, use in ((project / "a.h5", lambda: fetch(PannsHdf5, project / "a.h5")), (packs[0], lambda: Packs(packs))):
        with h5py.File(path, "r+") as file:
            unknown_filter(file)
        with pytest.raises(GlatError, match=rf"{path.name}: {told}"):
            use()

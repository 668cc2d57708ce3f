"""The source `webdataset`: tars of samples, read where they lie."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from data_fixtures import CLASSES, written
from source_fixtures import IDS, RATE, all_steps, ledger, make_project, segments, sound, step

from glat.data.audio.clips import AudioError, to_int16
from glat.data.packs.read import Packs
from glat.data.sources import Shard, tars, webdataset
from glat.data.sources.webdataset import WebDataset
from glat.lib.errors import GlatError

ROWS = segments()
NAMES = dict(zip(CLASSES["mid"], CLASSES["display_name"], strict=True))


def wav(i: int) -> bytes:
    return written(sound(i), RATE)


def add(tar: tarfile.TarFile, name: str, content: bytes = b"", **fields) -> None:
    """A member; fields: of its header."""
    header = tarfile.TarInfo(name)
    header.size = len(content)
    for key, value in fields.items():
        setattr(header, key, value)
    tar.addfile(header, io.BytesIO(content))


def write(path: Path, members: dict[str, bytes], kind=tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=kind) as tar:
        for name, content in members.items():
            add(tar, name, content)
    return path


def samples(rows=ROWS, numbered=True, sounds=wav, **note) -> dict[str, bytes]:
    """As the 16 kHz copy has them: numbered, with the id in the JSON; or named by the id."""
    found = {}
    for i, row in enumerate(rows.itertuples()):
        key = f"sample-{i:09d}" if numbered else row.youtube_id
        content = {"id": row.youtube_id, "label": [NAMES[mid] for mid in row.labels], "label_id": [3], **note}
        found |= {f"{key}.json": json.dumps(content).encode(), f"{key}.wav": sounds(IDS.index(row.youtube_id))}
    return found


def fetch(audio, rows=ROWS, split="eval", store=Path(), **settings):
    return WebDataset(audio=str(audio), **settings).fetch(Shard(rows, None, split, classes=CLASSES, store=store))


def found(audio, **settings) -> list[bytes]:
    """The sounds of the segments, in their order."""
    listing = fetch(audio, **settings)
    got = dict(zip(listing["clip"], WebDataset(audio="-").read(listing, None), strict=True))
    return [got[clip] for clip in ROWS["clip"]]


@pytest.mark.parametrize(
    ("split", "folder"), [("eval", "test"), ("balanced_train", "train"), ("unbalanced_train", "train")]
)
def test_from_the_copys_folders_to_packs(tmp_path, monkeypatch, split, folder):
    monkeypatch.chdir(tmp_path)
    cut = lambda i: wav(i)[: {3: 0, 4: 9000}.get(i)]
    write(tmp_path / f"data here/{folder}/shard-00000.tar", samples(ROWS.iloc[[5, 3, 4]], sounds=cut))
    write(tmp_path / f"data here/{folder}/shard-00001.tar", samples(ROWS.iloc[[0, 2]]))
    write(tmp_path / "data here/other/shard-00000.tar", samples())  # another split's, with the same ids
    make_project(tmp_path, {"kind": "webdataset", "audio": "data here"}, split=split)
    packs = Packs(all_steps(tmp_path, split=split))
    assert packs.clips.tolist() == ROWS["clip"][[0, 2, 5]].tolist()
    for got, i in zip(packs.read_int16(range(3)), (0, 2, 5), strict=True):
        assert np.abs(got.astype(int) - to_int16(sound(i), len(got))).max() <= 1
    lost = ledger(tmp_path, split)
    assert lost[ROWS["clip"][1]] == "no row" and lost[ROWS["clip"][3]] == "empty file"
    assert lost[ROWS["clip"][4]].startswith("truncated: ") and len(lost) == 3
    assert not list((tmp_path / "data here").rglob("*.json"))


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_names_in_the_tar_and_in_the_json(tmp_path, kind):
    wanted = [wav(i) for i in range(6)]
    usual = [f"{i}.wav" for i in IDS[:2]] + [f"Y{IDS[2]}.WAV", f"a/b.c/{IDS[3]}_30_32.wav", f"{IDS[4]}_30000.wav"]
    usual.append(f"{'long/' * 28}{IDS[5]}_30.000_32.000.wav")
    if kind == tarfile.USTAR_FORMAT:
        usual[5] = f"ü/{IDS[5]}.wav"
    write(tmp_path / "a.tar", dict(zip(usual, wanted, strict=True)), kind)
    assert found(tmp_path) == wanted
    for key in webdataset.IDS:
        given = [
            f"{prefix}{i}{end}" for i, prefix, end in zip(IDS, ["", "Y"] * 3, ["", ".wav", "_30"] * 2, strict=True)
        ]
        notes = {f"{n}.json": json.dumps({key: text}).encode() for n, text in enumerate(given)}
        write(tmp_path / "a.tar", {**notes, **{f"{n}.wav": wanted[n] for n in range(6)}}, kind)
        assert found(tmp_path) == wanted


def test_what_is_no_audio_is_left_out(tmp_path):
    more = {"README.txt": b"x", "x.cls": b"1", "lost.json": b'{"id": "x"}', f"{IDS[0]}.txt": b"a caption"}
    with tarfile.open(write(tmp_path / "a.tar", {**samples(numbered=False), **more}), "a") as tar:
        add(tar, "a folder", type=tarfile.DIRTYPE)
    assert found(tmp_path) == [wav(i) for i in range(6)]
    for key, note in (("7", b"[7]"), ("8", b'{"id": 8}'), ("9", b"null")):
        write(tmp_path / f"{key}.tar", {f"{key}.json": note, f"{key}.wav": b"x"})
    assert found(tmp_path) == [wav(i) for i in range(6)]
    write(tmp_path / "b/b.tar", more)
    with pytest.raises(
        GlatError, match=r"b\.tar: no clips of this kind in it; set datasets.*source.audio or source.kind"
    ):
        fetch(tmp_path / "b")


def test_a_tar_of_other_clips_is_told(tmp_path):
    write(tmp_path / "a.tar", {"1.json": b'{"id": "somebody"}', "1.wav": b"x", "2.wav": b"x"})
    with pytest.raises(GlatError, match=r"a\.tar: none of the 2 rows there is of the 6 .*a row there is 'somebody'"):
        fetch(tmp_path)


def test_labels_are_compared_where_they_are_known(tmp_path):
    shifted = ROWS.assign(labels=[*ROWS["labels"][1:], ROWS["labels"][0]])
    write(tmp_path / "a.tar", samples(shifted))
    told = (
        rf"a\.tar: labels of 6 of the 6 clips found in it differ .* first of {ROWS['clip'][0]}, which has 'B' and 'C'"
    )
    with pytest.raises(GlatError, match=told):
        fetch(tmp_path)
    for labels in ({"label": None}, {"label": [1, 2]}, {"label": ["of", "others"]}, {"label": {"A": 1}}):
        write(tmp_path / "a.tar", samples(shifted, **labels))
        assert (fetch(tmp_path)["note"] == "").all()
    write(tmp_path / "a.tar", samples(shifted, labels=["A"]))  # before `label`
    with pytest.raises(GlatError, match="labels of 4 of the 6 clips"):
        fetch(tmp_path)
    one = {**samples(ROWS.iloc[:1], label="A"), **{f"b/{name}": c for name, c in samples(ROWS.iloc[1:]).items()}}
    write(tmp_path / "a.tar", one)
    assert (fetch(tmp_path)["note"] == "").all()


def test_headers_are_read_once_a_tar(tmp_path, monkeypatch):
    rows, store = ROWS, tmp_path / "store"
    path = write(tmp_path / "audio/a.tar", samples())
    first = fetch(tmp_path / "audio", rows[:3], store=store)
    with monkeypatch.context() as patch:
        patch.setattr(tars, "members", None)
        second = fetch(tmp_path / "audio", rows[3:], store=store)
    assert len(first) == len(second) == 3 and not second["kind"].any()
    (index,) = (store / "tars").iterdir()
    index.write_text("[[1")
    assert fetch(tmp_path / "audio", rows[3:], store=store).equals(second)
    write(path, {"b.txt": b"", **samples()})  # another file by that name
    third = fetch(tmp_path / "audio", rows[:3], store=store)
    assert third["part"].tolist() != first["part"].tolist() and len(list((store / "tars").iterdir())) == 2


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": f"{IDS[0]}.wav", "type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "is a link"),
        ({"name": f"{IDS[0]}.wav", "type": tarfile.LNKTYPE, "linkname": f"{IDS[1]}.wav"}, "is a link"),
        ({"name": "pipe", "type": tarfile.FIFOTYPE}, "is no file"),
        ({"name": "null", "type": tarfile.CHRTYPE}, "is no file"),
        ({"name": f"../{IDS[0]}.wav"}, "is a name that leads out of the tar"),
        ({"name": f"/tmp/{IDS[0]}.wav"}, "is a name that leads out of the tar"),
        ({"name": f"a\\..\\{IDS[0]}.wav"}, "is a name that leads out of the tar"),
    ],
)
def test_what_no_webdataset_holds_is_refused(tmp_path, fields, told):
    with tarfile.open(write(tmp_path / "a.tar", samples()), "a") as tar:
        add(tar, **fields)
    with pytest.raises(
        GlatError, match=rf"a\.tar: .* in it {told}, and a WebDataset holds files alone; fetch it again from"
    ):
        fetch(tmp_path)


def header(size: str, kind: bytes = tarfile.REGTYPE, name: str = "a.wav") -> bytes:
    """A member's header with any size, eight octal digits or bytes as GNU writes large numbers."""
    made = tarfile.TarInfo(name)
    made.type = kind
    block = bytearray(made.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = size.encode("latin-1").ljust(12, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


ENDS = bytes(1024)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty file"),
        (b"<html>" * 200, ""),
        (header("00000000010") + b"12345678", "unexpected end of data"),
        (header("00000001010") + b"12345678", "cut off in a.wav"),
        (header("77777777777") + ENDS, "cut off in a.wav"),
        (header("\x80" + "\0" * 3 + "\x7f" + "\xff" * 7) + ENDS, ""),
        (header("\xff" * 11 + "\x00") + ENDS, "a member of less than 0 bytes"),
        (header("\xff" * 10 + "\xfe\x00") + ENDS, "a member of less than 0 bytes"),
        (header("00000000000") + ENDS[:100], "cut off or damaged at byte 512"),
        (header("00000000000"), "cut off or damaged at byte 512"),
        (header("00000000000") + b"x" * 512 + ENDS, "cut off or damaged at byte 512"),
        (header("00077777777", tarfile.XHDTYPE) + ENDS, "a header of 16777215 bytes"),
        (header("00077777777", tarfile.GNUTYPE_LONGNAME) + ENDS, "a header of 16777215 bytes"),
        (header("00000000000", tarfile.GNUTYPE_SPARSE) + ENDS, "a sparse file"),
        (header("00000000003", tarfile.XHDTYPE) + b"9 x".ljust(512, b"\0") + ENDS, ""),
        (header("00000000013", tarfile.XHDTYPE) + b"11 size=-9\n".ljust(512, b"\0") + header("0") + ENDS, "is within"),
        ((header("00000000003", tarfile.GNUTYPE_LONGNAME) + b"ab".ljust(512, b"\0")) * 3000 + ENDS, ""),
    ],
)  # fmt: skip
def test_a_tar_that_is_damaged_or_means_harm_is_a_sentence(tmp_path, content, why):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(
        GlatError, match=rf"^{tmp_path}/a\.tar: not a whole tar, uncompressed \(.*{why}.*\); fetch it again$"
    ):
        fetch(tmp_path)


def test_a_tar_that_was_cut_off_anywhere_is_told(tmp_path):
    content = write(tmp_path / "whole.tar", {f"{i}.wav": b"x" * (500 + 7 * n) for n, i in enumerate(IDS)}).read_bytes()
    end = len(content.rstrip(b"\0"))
    (tmp_path / "cut").mkdir()
    for at in (*range(1, end, 97), *range(512, end + 511, 512)):
        (tmp_path / "cut/a.tar").write_bytes(content[:at])
        with pytest.raises(GlatError, match=r"a\.tar: not a whole tar"):
            list(tars.members(str(tmp_path / "cut/a.tar")))


def test_a_compressed_tar_is_told(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w:gz") as tar:
        add(tar, "a.wav", b"x" * 5000)
    with pytest.raises(GlatError, match=r"a\.tar: not a whole tar, uncompressed \("):
        fetch(tmp_path)


@pytest.mark.parametrize("note", [b"{", b"\xff", b"[" * 100_000, b'"x', b" " * (webdataset.LONGEST + 1)])
def test_a_json_that_is_none_is_told(tmp_path, note):
    write(tmp_path / "a.tar", {"1.json": note, "1.wav": b"x"})
    with pytest.raises(GlatError, match=r"a\.tar: the JSON at byte 512 cannot be read \(.*\); fetch it again$"):
        fetch(tmp_path)


def test_tars_that_changed_since(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tar", samples())
    listing = fetch(tmp_path)
    read = lambda: list(WebDataset(audio="-").read(listing, None))
    os.truncate(path, int(listing["part"].iloc[-1].split(":")[0]) + 7)
    *there, last = read()
    assert there == [wav(i) for i in range(5)]
    assert isinstance(last, AudioError) and str(last) == f"truncated: 7 of {len(wav(5))} bytes are there"
    monkeypatch.setattr(webdataset, "LARGEST", 10)
    assert str(read()[0]) == f"too big: {len(wav(0))} bytes in a tar, of which 10 are read"
    path.unlink()
    with pytest.raises(GlatError, match=r"a\.tar: cannot be opened \(No such file or directory\); put it back, or"):
        read()
    with pytest.raises(GlatError, match=r"a\.tar: no such file; put it back"):
        list(tars.members(str(path)))


def test_wrong_settings_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path, {"kind": "webdataset", "audio": "here"})
    assert step("metadata") is None
    (tmp_path / "here").mkdir()
    (tmp_path / "here/a.tar.gz").write_bytes(b"x")
    for key, value, told in (
        ("audio", "[]", "datasets.tiny.source.audio: [] is not a folder, a file, a pattern of files, or a list of them"),
        ("audio", "here", "here: no file (.tar) there; set datasets.*.source.audio"),
        ("in_place", "true", "unknown key in_place; source webdataset has audio, split_folders"),
    ):  # fmt: skip
        assert told in step("--set", f"datasets.tiny.source.{key}={value}", "download", "eval", 0)

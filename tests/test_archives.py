"""Archives: what is in one, what is refused, joined parts, and the whole way from an address to packs."""

import errno
import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import soundfile
from archive_fixtures import OnShelf, Shelf, named, noise, split, tarred, wav, written, zipped
from conftest import ROOT
from http_fixtures import served
from source_fixtures import IDS, RATE, all_steps, ledger, make_project, step

from glat.data.archives import Damaged, Part, group, members, unpack as unpacking
from glat.data.archives.store import Store
from glat.data.archives.unpack import unpack
from glat.data.packs.read import Packs
from glat.data.sources.registry import open_source
from glat.lib import fetching
from glat.lib.addresses import Limits
from glat.lib.errors import GlatError

FILES = {f"a/{'b/' * (i % 3)}{i}.wav": noise(i, 3000 + 700 * i) for i in range(12)}
SETTING = "datasets.x.source.parts"


def put(folder: Path, files: dict[str, bytes]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def refusal(folder: Path, content: bytes, name: str = "x.zip", most: float = 1e9) -> str:
    """The sentence on an archive, of which nothing is left."""
    path = put(folder, {name: content})[0]
    with pytest.raises(GlatError) as told:
        unpack([path], folder / "out", most)
    assert [found.name for found in folder.iterdir()] == [name]
    text = str(told.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text.removeprefix(f"{path}: ")


# Parts


def names(*files: str) -> list[tuple[str, list[str]]]:
    return [(archive.name, [part.file for part in archive.parts]) for archive in group([Part(file=f) for f in files])]


def test_parts_of_a_split_zip_are_one_archive_in_the_order_of_their_bytes():
    assert names("h/x.zip", "h/x.z02", "y.tar.gz", "h/x.z01", "http://h/z.TGZ?a=b") == [
        ("x", ["h/x.z01", "h/x.z02", "h/x.zip"]), ("y", ["y.tar.gz"]), ("z", ["http://h/z.TGZ?a=b"]),
    ]  # fmt: skip
    many = [f"x.z{number:02d}" for number in range(1, 121)]
    assert names("x.ZIP", *reversed(many)) == [("x", [*many, "x.ZIP"])]
    assert names("odd name!.bin") == [("odd_name_.bin", ["odd name!.bin"])]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["x.z01", "x.z03", "x.zip"], "x.z02 is missing"),
        (["x.z01", "x.z02"], "x.zip is missing"),
        (["x.z02", "x.zip"], "x.z01 is missing; a split zip needs all of its parts, up to x.zip"),
        (["a/x.zip", "b/X.zip"], "a/x.zip and b/X.zip are both called X.zip; each file needs its own name"),
        (["x.zip", "x.tar"], "x.zip and x.tar would both be unpacked to x; rename one of them"),
        (["http://h/"], "'http://h/' does not name a file"),
        ([".."], "'..' does not name a file"),
        ([], "at least 1 item"),
    ],
)
def test_parts_that_make_no_archive_are_refused_with_the_settings(files, told):
    with pytest.raises(GlatError) as error:
        open_source({"kind": "archive", "parts": files}, "x")
    assert str(error.value).startswith("datasets.x.source.parts") and told in str(error.value)


# Split zips


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("size", [1000, 4096, 50_000])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_split_zip_is_read_as_one(tmp_path, size, compression, zip64):
    """Cut anywhere: in the headers, in the directory, in its ending."""
    parts = split(zipped(FILES, compression), size, zip64)
    assert len(parts) > 1
    files, total = unpack(put(tmp_path / "in", named("x", parts)), tmp_path / "out", 1e9)
    assert written(tmp_path / "out") == FILES and (files, total) == (len(FILES), sum(map(len, FILES.values())))


def test_every_place_of_a_cut(tmp_path):
    content = zipped({"a.wav": b"1" * 20, "b/c.wav": b"2" * 30}, zipfile.ZIP_STORED)
    for zip64 in (False, True):
        for size in range(1 + len(content) // 3, len(content)):
            paths = put(tmp_path / f"{size}{zip64}", named("x", split(content, size, zip64)))
            unpack(paths, tmp_path / f"{size}{zip64}/out", 1e9)
            assert (tmp_path / f"{size}{zip64}/out/b/c.wav").read_bytes() == b"2" * 30


@pytest.mark.skipif(not shutil.which("zip"), reason="not there: zip")
@pytest.mark.parametrize("more", [[], ["-fz"]])
def test_what_the_system_zip_splits(tmp_path, more):
    for name, content in FILES.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    subprocess.run(["zip", "-q", "-r", *more, "-s", "64k", "../x.zip", "."], cwd=tmp_path / "in", check=True)
    paths = [*sorted(tmp_path.glob("x.z[0-9]*")), tmp_path / "x.zip"]
    assert len(paths) > 1
    unpack(paths, tmp_path / "out", 1e9)
    assert written(tmp_path / "out") == FILES


def test_a_split_zip_with_a_wrong_number_of_parts(tmp_path):
    parts = split(zipped(FILES), 20_000)
    assert len(parts) == 5
    told = refusal(tmp_path / "a", parts[-1])
    assert told == "the last of the 5 parts of a split zip; name the others too, from x.z01 on"
    paths = put(tmp_path / "b", named("x", [*parts[:2], parts[-1]]))
    with pytest.raises(GlatError, match=r"x\.zip: by its own account the last of 5 parts, and 3 are named"):
        unpack(paths, tmp_path / "b/out", 1e9)


def test_a_directory_that_names_a_part_that_is_not_there(tmp_path):
    parts = split(zipped({"a.wav": b"1" * 3000}, zipfile.ZIP_STORED), 2000)
    at = parts[-1].index(b"PK\1\2") + 34
    parts[-1] = parts[-1][:at] + struct.pack("<H", 9) + parts[-1][at + 2 :]
    with pytest.raises(Damaged, match=r"x\.zip: cannot be read \(its directory names part 10 of 2\)"):
        unpack(put(tmp_path, named("x", parts)), tmp_path / "out", 1e9)


# Other kinds


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2"])
def test_tars(tmp_path, mode):
    """By what is in the file, whatever it is called."""
    unpack(put(tmp_path, {"x.bin": tarred(FILES, mode)}), tmp_path / "out", 1e9)
    assert written(tmp_path / "out") == FILES
    assert not (tmp_path / "out/a/0.wav").stat().st_mode & 0o111


def test_names_are_taken_as_paths_below_the_folder(tmp_path):
    unpack(
        put(tmp_path, {"x.zip": zipped({"./a//b.wav": b"1", "c\\d ü.wav": b"2", "e/": b"", "f\\": b""})}),
        tmp_path / "out",
        9,
    )
    assert written(tmp_path / "out") == {"a/b.wav": b"1", "c/d ü.wav": b"2"}


def test_bytes_in_front_of_a_zip_are_none_of_it(tmp_path):
    unpack(put(tmp_path, {"x.exe": b"MZ" + noise(0, 999) + zipped(FILES)}), tmp_path / "out", 1e9)
    assert written(tmp_path / "out") == FILES


def test_a_zip_in_a_tar_is_a_file_of_the_tar(tmp_path):
    files = {"a.wav": b"1", "b.zip": zipped({"c.wav": b"2"})}
    unpack(put(tmp_path, {"x.tar": tarred(files, "w")}), tmp_path / "out", 1e9)
    assert written(tmp_path / "out") == files


# What is refused

EVIL = {
    "../x.wav": "leads out of its folder", "a/../../x.wav": "leads out of its folder", "a/..": "leads out of its folder",
    "..\\x.wav": "leads out of its folder", "/etc/x.wav": "is an absolute path", "\\\\host\\x.wav": "is an absolute path",
    "C:\\x.wav": "is an absolute path", "c:x.wav": "is an absolute path", "a\nb.wav": "is not the name of a file",
    "\x1b[31mx.wav": "is not the name of a file", "x" * 5000: "is not the name of a file", ".": "is not the name of a file",
}  # fmt: skip
REMEDY = "; unpack it yourself, and see what is in it, before you name its folder instead"


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("name", EVIL)
def test_a_name_that_leads_elsewhere(tmp_path, name, pack):
    told = refusal(tmp_path / "in", pack({"good.wav": b"1", name: b"2"}))
    assert told == f"{name[:200]!r} {EVIL[name]}{REMEDY}"
    assert not list(tmp_path.rglob("*.wav")) and not Path("/etc/x.wav").exists()


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("second", ["a/b.wav", "./a/b.wav", "a//b.wav"])
def test_a_file_that_is_in_it_twice(tmp_path, pack, second):
    if second == "a/b.wav":
        with pytest.warns(UserWarning, match="Duplicate") if pack is zipped else nothing():
            content = twice(pack)
    else:
        content = pack({"a/b.wav": b"1", second: b"2"})
    assert refusal(tmp_path, content) == f"{second!r} is in it twice{REMEDY}"


def nothing():
    from contextlib import nullcontext

    return nullcontext()


def twice(pack) -> bytes:
    out = io.BytesIO()
    if pack is zipped:
        with zipfile.ZipFile(out, "w") as archive:
            for _ in range(2):
                archive.writestr("a/b.wav", b"1")
        return out.getvalue()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("a/b.wav"))
    return out.getvalue()


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_file_that_is_a_folder_too(tmp_path, pack):
    assert refusal(tmp_path, pack({"a": b"1", "a/b.wav": b"2"})) == f"'a' is a file and a folder{REMEDY}"


def test_names_that_are_one_for_the_file_system(tmp_path, monkeypatch):
    """Of a file system that folds capitals; this one here may not."""
    path = put(tmp_path, {"x.zip": zipped({"Dog/a.wav": b"1", "dog/b.wav": b"2", "dog/A.wav": b"3"})})
    if not (tmp_path / "X.ZIP").exists():
        unpack(path, tmp_path / "out", 9)
        assert len(written(tmp_path / "out")) == 3
        shutil.rmtree(tmp_path / "out")
    monkeypatch.setattr(unpacking, "_folding", lambda _: str.casefold)
    with pytest.raises(GlatError, match=r"x\.zip: 'dog/A\.wav' and 'Dog/a\.wav' are one name on this disk; put the"):
        unpack(path, tmp_path / "out", 9)
    assert [found.name for found in tmp_path.iterdir()] == ["x.zip"]


@pytest.mark.parametrize(
    ("kind", "told"),
    [(tarfile.SYMTYPE, "link"), (tarfile.LNKTYPE, "link"), (tarfile.FIFOTYPE, "pipe"), (tarfile.CHRTYPE, "device"),
     (tarfile.BLKTYPE, "device")],
)  # fmt: skip
def test_links_pipes_and_devices_in_a_tar(tmp_path, kind, told):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("l.wav")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    assert refusal(tmp_path, out.getvalue(), "x.tar") == f"'l.wav' is a {told}{REMEDY}"


@pytest.mark.parametrize(("mode", "told"), [(stat.S_IFLNK, "a link"), (stat.S_IFIFO, "a pipe or a device")])
def test_links_and_pipes_in_a_zip(tmp_path, mode, told):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("l.wav")
        info.create_system, info.external_attr = 3, (mode | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert refusal(tmp_path, out.getvalue()) == f"'l.wav' is {told}{REMEDY}"


def test_what_is_encrypted_or_compressed_otherwise(tmp_path):
    content = bytearray(zipped({"a.wav": b"1" * 99}))
    content[content.index(b"PK\1\2") + 8] |= 1
    assert refusal(tmp_path, bytes(content)) == f"'a.wav' is encrypted{REMEDY}"
    told = refusal(tmp_path, zipped({"a.wav": b"1" * 99}, zipfile.ZIP_LZMA))
    assert told == f"'a.wav' is compressed by method 14, which is not read here{REMEDY}"


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_what_unpacks_to_more_than_is_allowed(tmp_path, pack):
    content = pack({"a.wav": bytes(600_000), "b.wav": bytes(600_000)})
    assert len(content) < 5000
    told = refusal(tmp_path, content, most=1e6)
    assert told == (
        "unpacks to more than 0.001 GB; if it is the right archive, raise datasets.*.source.max_unpacked_gigabytes"
    )


def test_more_than_the_disk_has_room_for(tmp_path):
    """A directory that promises 10 petabytes is believed, and nothing is unpacked."""
    content = zipped({"a.wav": b"1" * 99})
    begin, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    entry, ending = bytearray(content[begin:end]), bytearray(content[end:])
    extra = struct.pack("<HHQ", 1, 8, 10**16)
    struct.pack_into("<L", entry, 24, 0xFFFFFFFF)
    struct.pack_into("<H", entry, 30, len(extra))
    struct.pack_into("<L", ending, 12, len(entry + extra))
    path = put(tmp_path, {"x.zip": content[:begin] + entry + extra + ending})
    with pytest.raises(GlatError, match=r"/out: needs 1e\+07 GB and .* GB free; make room"):
        unpack(path, tmp_path / "out", 1e18)
    assert [found.name for found in tmp_path.iterdir()] == ["x.zip"]


def test_a_zip_that_says_more_than_it_has(tmp_path):
    content = bytearray(zipped({"a.wav": b"1" * 99}, zipfile.ZIP_STORED))
    struct.pack_into("<L", content, content.index(b"PK\1\2") + 24, 500)
    assert refusal(tmp_path, bytes(content)).startswith("'a.wav': ")


def forged(size: bytes, kind: bytes) -> bytes:
    """A tar whose only header holds what no writer writes."""
    header = bytearray(tarfile.TarInfo("a.wav").tobuf(tarfile.GNU_FORMAT))
    header[156:157], header[124:136], header[148:156] = kind, size, b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(20 * 512)


@pytest.mark.parametrize("kind", [b"0", b"x", b"L", b"g"])
def test_a_tar_with_a_forged_length_ends(tmp_path, kind):
    negative = b"\xff" * 11 + b"\x00"  # -256, in base 256
    for size in (negative, b"\xff" * 8 + b"\xf0\0\0\0"):
        assert refusal(tmp_path / "a", forged(size, kind), "x.tar").startswith("cannot be read (")
    huge = b"\x80" + (10**10).to_bytes(11, "big")
    assert refusal(tmp_path / "b", gzip.compress(forged(huge, kind)), "x.tgz", 1e12).startswith("cannot be read (")


# Damage


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_with_a_wrong_checksum_is_named_with_its_archive(tmp_path, compression):
    content = bytearray(zipped({"a.wav": noise(0, 5000), "b/c.wav": noise(1, 5000)}, compression))
    content[content.index(b"b/c.wav") + 2000] ^= 1
    told = refusal(tmp_path, bytes(content))
    assert told.startswith("'b/c.wav': cannot be read (")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (zipped(FILES)[:-30], "x.zip"), (b"PK\3\4" + bytes(99), "x.zip"), (b"", "x.zip"), (b"hello" * 200, "x.tar.gz"),
        (tarred(FILES, "w")[:40_000], "x.tar"), (tarred(FILES)[:40_000], "x.tgz"), (tarred(FILES, "w:bz2")[:-9], "x.tar.bz2"),
        (gzip.compress(b"no tar"), "x.tgz"), (tarred(FILES)[:-8] + bytes(8), "x.tgz"),
        (tarred(FILES, "w")[: 512 + 3072], "x.tar"),  # cut between two files, which looks like an end
    ],
)  # fmt: skip
def test_what_is_cut_or_no_archive(tmp_path, content, name):
    assert refusal(tmp_path, content, name).startswith("cannot be read (")


def test_an_archive_without_a_file(tmp_path):
    for content in (zipped({"a/": b""}), tarred({})):
        assert refusal(tmp_path, content) == "holds no file; name another archive"


def test_a_directory_that_leaves_out_a_file(tmp_path):
    content = zipped({"a.wav": b"1" * 99, "b.wav": b"2" * 99})
    end = content.index(b"PK\5\6")
    size = end - content.rindex(b"PK\1\2")
    content = content[: end + 12] + struct.pack("<L", size) + content[end + 16 :]
    assert refusal(tmp_path, content) == "cannot be read (it promises 2 members and lists 1)"


@pytest.mark.parametrize("kind", ["x.zip", "x.tar", "x.tgz", "split", "zip64"])
def test_any_damage_is_one_sentence(tmp_path, kind):
    """One byte changed, anywhere in the last part: unpacked as it was, or refused."""
    files = {"a/b.wav": noise(3, 200), "c.wav": b"1" * 300}
    if kind in ("split", "zip64"):
        parts = named("x", split(zipped(files), 350, kind == "zip64"))
        assert len(parts) > 1
    else:
        parts = {kind: zipped(files) if kind == "x.zip" else tarred(files, "w" if kind == "x.tar" else "w:gz")}
    paths = put(tmp_path, parts)
    content = paths[-1].read_bytes()
    for at in range(0, len(content), 1 + len(content) // 400):
        paths[-1].write_bytes(content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :])
        told = ""
        try:
            unpack(paths, tmp_path / "out", 1e6)
            assert kind == "x.tar" or written(tmp_path / "out") == files  # a tar has no checksum of the sound
            shutil.rmtree(tmp_path / "out")
        except GlatError as error:
            told = str(error)
        assert not told or told.startswith(str(paths[-1])), told
        assert {found.name for found in tmp_path.iterdir()} == parts.keys()


# Fetching


@pytest.fixture
def shelf(monkeypatch):
    monkeypatch.setattr(fetching, "PAUSES", (0, 0, 0))
    with served(OnShelf, Shelf) as shelf:
        shelf.files = named("x", split(zipped(FILES), 20_000)) | {"y.tar.gz": tarred({"y.wav": b"y" * 99})}
        yield shelf


def parts_of(shelf: Shelf, checked: bool = True, **changed) -> list[Part]:
    md5 = lambda content: hashlib.md5(content).hexdigest() if checked else None
    return [
        Part(**({"file": shelf.place(name), "md5": md5(content)} | changed.get(name.replace(".", "_"), {})))
        for name, content in shelf.files.items()
    ]


def store(folder: Path, keep: bool = False, most: float = 1e9, gigabytes: float = 4.0) -> Store:
    return Store(folder, Limits(max_gigabytes=gigabytes), most, keep, SETTING)


def test_archives_are_fetched_once_and_their_parts_removed(shelf, tmp_path, capfd):
    archives = group(parts_of(shelf))
    found = store(tmp_path).fetch(archives)
    assert shelf.fetched() == ["x.z01", "x.z02", "x.z03", "x.z04", "x.zip", "y.tar.gz"]
    assert written(tmp_path / "files") == {f"x/{name}": content for name, content in FILES.items()} | {
        "y/y.wav": b"y" * 99
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "unpacked"]
    assert found["x"]["parts"][0] == {
        "file": shelf.place("x.z01"), "bytes": 20_000, "md5": hashlib.md5(shelf.files["x.z01"]).hexdigest(),
    }  # fmt: skip
    assert found["x"]["files"] == len(FILES) and found["x"]["bytes"] == sum(map(len, FILES.values()))
    told = capfd.readouterr().err
    assert "8.35e-05 GB to fetch, 0.000167 GB at least" in told and "unpack x: 12 of 12" in told
    assert store(tmp_path).fetch(archives) == found and shelf.asked == []


def test_archives_may_be_kept(shelf, tmp_path):
    archives = group(parts_of(shelf))
    store(tmp_path, keep=True).fetch(archives)
    assert {name: (tmp_path / "archives" / name).read_bytes() for name in shelf.files} == shelf.files
    shelf.fetched()
    shutil.rmtree(tmp_path / "files")
    store(tmp_path, keep=True).fetch(archives)
    assert shelf.fetched() == [] and (tmp_path / "files/y/y.wav").exists()
    (tmp_path / "archives/x.z02").write_bytes(b"damaged meanwhile")
    shutil.rmtree(tmp_path / "files/x")
    store(tmp_path).fetch(archives)
    assert shelf.fetched() == ["x.z02"] and not (tmp_path / "archives").exists()


def test_a_corrupt_part_is_fetched_again_alone(shelf, tmp_path, capfd):
    shelf.corrupt = {"x.z03": 1}
    store(tmp_path).fetch(group(parts_of(shelf)))
    assert shelf.fetched() == ["x.z01", "x.z02", "x.z03", "x.z03", "x.z04", "x.zip", "y.tar.gz"]
    assert "x.z03?download=1: its MD5 is" in capfd.readouterr().err and len(written(tmp_path / "files/x")) == len(FILES)


def test_a_part_that_stays_corrupt_is_told_and_the_others_are_kept(shelf, tmp_path):
    archives = group(parts_of(shelf))
    shelf.corrupt = {"x.z03": 2}
    with pytest.raises(GlatError, match=r"/x\.z03\?download=1: its MD5 is \w+, expected \w+; the file is damaged or"):
        store(tmp_path).fetch(archives)
    assert shelf.fetched() == ["x.z01", "x.z02", "x.z03", "x.z03"] and not (tmp_path / "files").exists()
    store(tmp_path).fetch(archives)
    assert shelf.fetched() == ["x.z03", "x.z04", "x.zip", "y.tar.gz"]


def test_a_wrong_sha256_in_the_settings(shelf, tmp_path):
    parts = parts_of(shelf, y_tar_gz={"md5": None, "sha256": "0" * 64})
    with pytest.raises(
        GlatError, match=r"y\.tar\.gz\?download=1: its SHA-256 is \w+, expected 0+; the file is damaged"
    ):
        store(tmp_path).fetch(group(parts))


def test_a_fetch_that_broke_off_goes_on(shelf, tmp_path, monkeypatch):
    shelf.files = named("x", split(zipped({"a.wav": noise(0, 500_000)}), 200_000))
    archives = group(parts_of(shelf))
    monkeypatch.setattr(fetching, "PAUSES", ())
    shelf.cuts = {"x.z02": [150_000]}
    with pytest.raises(
        GlatError, match=rf"x\.z02.*: cannot be fetched \(.*name its place in params.yaml \({SETTING}\)"
    ):
        store(tmp_path).fetch(archives)
    shelf.asked.clear()
    store(tmp_path).fetch(archives)
    assert ("GET", "x.z02", f"bytes={2 * fetching.BLOCK}-") in shelf.asked and shelf.fetched() == ["x.z02", "x.zip"]
    assert written(tmp_path / "files/x") == {"a.wav": noise(0, 500_000)}


def test_a_server_without_ranges_and_sizes(shelf, tmp_path, capfd):
    shelf.heads = shelf.ranges = False
    shelf.cuts = {"x.z02": [5000]}
    store(tmp_path).fetch(group(parts_of(shelf)))
    assert len(written(tmp_path / "files/x")) == len(FILES)
    assert "besides 6 files whose sizes their servers do not tell" in capfd.readouterr().err
    assert [name for method, name, _ in shelf.asked if method == "HEAD"] == ["x.z01"]


def test_a_dead_address(shelf, tmp_path):
    for file, told in (
        (shelf.place("gone.zip"), r"gone\.zip\?download=1: HTTP 404"),
        ("http://127.0.0.1:1/x.zip", rf"http://127\.0\.0\.1:1/x\.zip: cannot be fetched \(.*\({SETTING}\)"),
    ):
        with pytest.raises(GlatError, match=told):
            store(tmp_path).fetch(group([Part(file=file)]))
        assert not (tmp_path / "files").exists()


def test_what_cannot_fit_on_the_disk_is_refused_before_anything_is_fetched(shelf, tmp_path):
    shelf.sizes = {"x.z02": 10**16}
    archives = group(parts_of(shelf))
    with pytest.raises(GlatError, match=rf"{tmp_path}/archives: needs 2e\+07 GB and .* GB free; make room"):
        store(tmp_path, gigabytes=1e9).fetch(archives)
    with pytest.raises(
        GlatError, match=r"x\.z02\?download=1: 1e\+07 GB, more than the 4 GB .* raise fetch\.max_gigabytes"
    ):
        store(tmp_path).fetch(archives)
    assert shelf.fetched() == [] and not (tmp_path / "files").exists()


def test_a_disk_that_fills_up_while_unpacking_leaves_the_archives(shelf, tmp_path, monkeypatch):
    archives = group(parts_of(shelf))

    class Full(io.FileIO):
        def writelines(self, lines):
            next(iter(lines))
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(unpacking, "open", Full, raising=False)
        with pytest.raises(
            GlatError, match=r"/a/0\.wav: the disk is full; make room and run again: what was fetched is"
        ):
            store(tmp_path).fetch(archives)
    assert list((tmp_path / "files").iterdir()) == []
    shelf.fetched()
    store(tmp_path).fetch(archives)
    assert shelf.fetched() == ["y.tar.gz"] and len(written(tmp_path / "files/x")) == len(FILES)


KILLED = """
import os, signal, sys
from pathlib import Path
from glat.data.archives import Part, group, unpack
from glat.data.archives.store import Store
from glat.lib.addresses import LIMITS

write, count = unpack._write, 0

def killed(*given):
    global count
    count += 1
    if count > 5:
        os.kill(os.getpid(), signal.SIGKILL)
    write(*given)

unpack._write = killed
Store(Path(sys.argv[1]), LIMITS, 1e9, False, "x").fetch(group([Part(file=file) for file in sys.argv[2:]]))
"""


def test_a_killed_unpacking_is_repeated_without_fetching(shelf, tmp_path):
    del shelf.files["y.tar.gz"]
    parts = parts_of(shelf, checked=False)
    command = [sys.executable, "-c", KILLED, str(tmp_path), *(part.file for part in parts)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = list((tmp_path / "files").iterdir())
    assert [path.name[:7] for path in left] == [".x.part"] and len(written(left[0])) == 5
    assert len(shelf.fetched()) == 5
    store(tmp_path).fetch(group(parts))
    assert shelf.fetched() == [] and [path.name for path in (tmp_path / "files").iterdir()] == ["x"]
    assert written(tmp_path / "files/x") == FILES


def test_what_is_no_longer_asked_for_is_removed(shelf, tmp_path):
    store(tmp_path).fetch(group(parts_of(shelf)))
    shelf.files = {"y.tar.gz": tarred({"new.wav": b"new"})}
    shelf.fetched()
    store(tmp_path).fetch(group(parts_of(shelf)))
    assert written(tmp_path / "files") == {"y/new.wav": b"new"} and shelf.fetched() == ["y.tar.gz"]


def test_an_archive_without_a_checksum_is_known_by_its_address(shelf, tmp_path, capfd):
    shelf.files = {"y.tar.gz": shelf.files["y.tar.gz"]}
    found = store(tmp_path).fetch(group(parts_of(shelf, checked=False)))
    sha256 = hashlib.sha256(shelf.files["y.tar.gz"]).hexdigest()
    assert found["y"]["parts"][0]["sha256"] == sha256
    assert (
        f"y.tar.gz?download=1: fetched without a checksum to know it by; its SHA-256 is {sha256}"
        in capfd.readouterr().err
    )
    store(tmp_path).fetch(group(parts_of(shelf, checked=False)))
    assert shelf.fetched() == ["y.tar.gz"]
    # Another address of the same bytes; and another address of which nothing is known.
    shelf.files["z.tar.gz"] = shelf.files["y.tar.gz"]
    other = Part(file=shelf.place("z.tar.gz").replace("z.tar", "q/../y.tar"), sha256=found["y"]["parts"][0]["sha256"])
    store(tmp_path).fetch(group([other]))
    assert shelf.fetched() == []


def test_damage_of_an_unchecked_archive_is_fetched_anew(shelf, tmp_path):
    content = bytearray(zipped({"a.wav": noise(0, 5000)}))
    content[2000] ^= 1
    for checked, told in (
        (False, "run again to fetch it anew"),
        (True, "its checksum is right, so it was published so"),
    ):
        shelf.files = {"x.zip": bytes(content)}
        parts = group(parts_of(shelf, checked))
        with pytest.raises(Damaged, match=rf"archives/x\.zip: 'a\.wav': cannot be read \(.*\); {told}"):
            store(tmp_path).fetch(parts)
        assert (tmp_path / "archives/x.zip").exists() == checked
    (tmp_path / "mine.zip").write_bytes(content)
    with pytest.raises(Damaged, match=r"mine\.zip: 'a\.wav': .*; replace the file"):
        store(tmp_path / "s").fetch(group([Part(file=str(tmp_path / "mine.zip"))]))
    assert (tmp_path / "mine.zip").exists()


def test_a_file_of_ones_own_is_used_in_place_and_never_removed(tmp_path):
    mine = tmp_path / "mine.zip"
    mine.write_bytes(zipped({"a.wav": b"1"}))
    archives = group([Part(file=str(mine))])
    store(tmp_path / "s").fetch(archives)
    assert mine.exists() and not (tmp_path / "s/archives").exists()
    mine.write_bytes(zipped({"b.wav": b"2"}))
    store(tmp_path / "s").fetch(archives)
    assert written(tmp_path / "s/files") == {"mine/b.wav": b"2"}
    mine.unlink()
    store(tmp_path / "s").fetch(archives)
    with pytest.raises(GlatError, match=rf"other\.zip: no such file; put it there, or set {SETTING}"):
        store(tmp_path / "s").fetch(group([Part(file=str(tmp_path / "other.zip"))]))
    mine.write_bytes(b"x")
    with pytest.raises(GlatError, match=r"mine\.zip: its MD5 is .*, expected 0+; the file is damaged or another one"):
        store(tmp_path / "s").fetch(group([Part(file=str(mine), md5="0" * 32)]))


def test_a_file_of_ones_own_that_lies_among_the_fetched_ones_stays(tmp_path):
    (tmp_path / "s/archives").mkdir(parents=True)
    (tmp_path / "link").symlink_to("s")
    (tmp_path / "s/archives/mine.zip").write_bytes(zipped({"a.wav": b"1"}))
    store(tmp_path / "s").fetch(group([Part(file=str(tmp_path / "link/archives/mine.zip"))]))
    assert (tmp_path / "s/archives/mine.zip").exists() and written(tmp_path / "s/files") == {"mine/a.wav": b"1"}


def test_names_in_utf8_that_a_zip_does_not_say_are(tmp_path):
    """As macOS writes them."""
    name = "caf\u00e9/1.wav"
    content = zipped({name: b"1"})
    (tmp_path / "mine.zip").write_bytes(content.replace(b"\x00\x08", b"\x00\x00"))
    assert zipfile.ZipFile(tmp_path / "mine.zip").namelist() != [name]
    store(tmp_path / "s").fetch(group([Part(file=str(tmp_path / "mine.zip"))]))
    assert written(tmp_path / "s/files") == {f"mine/{name}": b"1"}


def test_no_password_is_noted(shelf, tmp_path):
    shelf.files = {"y.tar.gz": shelf.files["y.tar.gz"]}
    file = shelf.place("y.tar.gz").replace("//", "//me:s3cr3t@").replace("download=1", "token=s3cr3t")
    found = store(tmp_path, keep=True).fetch(group([Part(file=file)]))
    assert "s3cr3t" not in json.dumps(found)
    assert b"s3cr3t" not in b"".join(path.read_bytes() for path in (tmp_path / "unpacked").iterdir())


# The source


def packed(*clips: int) -> dict[str, bytes]:
    return {f"corpus/eval/{IDS[i]}_30.wav": wav(100 + i, 2.0, RATE) for i in clips}


def test_from_archives_to_packs(shelf, tmp_path, monkeypatch):
    """One split zip and one tar; a clip that is in none of them is lost with its reason."""
    monkeypatch.chdir(tmp_path)
    shelf.files = named("x", split(zipped(packed(0, 1, 2)), 50_000)) | {"y.tar": tarred(packed(3, 4), "w")}
    parts = [{"file": shelf.place(name), "md5": hashlib.md5(body).hexdigest()} for name, body in shelf.files.items()]
    rows = make_project(tmp_path, {"kind": "archive", "parts": parts})
    assert step("download", "eval", 0) is not None  # before there are lists
    assert step("metadata") is None
    assert step("download", "eval", 0) == "data/tiny/source/files: nothing is unpacked there; run `glat fetch` first"
    assert step("fetch") is None
    packs = Packs(all_steps(tmp_path))
    assert packs.clips.tolist() == rows["clip"][:5].tolist()
    audio, _ = soundfile.read(io.BytesIO(packed(3)[f"corpus/eval/{IDS[3]}_30.wav"]), dtype="float32")
    assert abs(packs.read([3])[0] - audio).max() < 1e-4
    assert ledger(tmp_path) == {rows["clip"][5]: "no file"}
    record = json.loads((tmp_path / "data/tiny/source.json").read_text())["archives"]["y"]
    assert record["parts"] == [parts[-1] | {"bytes": len(shelf.files["y.tar"])}]
    shelf.asked.clear()
    assert step("fetch") is None and shelf.asked == []


def test_a_folder_in_the_archives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, {"a.zip": zipped(packed(0, 1, 2, 3)), "b.zip": zipped(packed(0, 1) | {"only/x.wav": b"1"})})
    make_project(tmp_path, {"kind": "archive", "parts": ["a.zip", {"file": "b.zip"}]})
    for name in ("fetch", "metadata"):
        assert step(name) is None
    place = "datasets.tiny.source.audio"
    for folder, told in (
        ("corpus/eval", "'corpus/eval' is in several of the archives a, b"),
        ("nowhere", "'nowhere' is in none of the archives"),
        ("only", "only: none of its 1 audio files is of the 4 segments"),
        ("../a", "'../a' is not a folder inside the archives"),
        ("/etc", "'/etc' is not a folder inside the archives"),
    ):  # fmt: skip
        assert told in step("--set", f"{place}={folder}", "download", "eval", 0)
    assert step("--set", f"{place}=a/corpus", "download", "eval", 0) is None
    listing = (tmp_path / "data/tiny/audio/eval/000.csv").read_text()
    assert listing.count("source/files/a/corpus/eval/") == 4 and "files/b" not in listing


def test_a_source_without_archives_has_nothing_to_fetch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path, {"kind": "files", "audio": "audio"})
    assert step("fetch") is None and not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("parts=[a.zip, a.z02]", "datasets.tiny.source.parts: a.z01 is missing; a split zip needs all of its parts"),
        ("parts=[{file: a.zip, md5: x}]", "datasets.tiny.source.parts[0].md5: 'x' is not allowed"),
        ("parts=[{fil: a.zip}]", "datasets.tiny.source.parts[0].fil"),
        ("max_unpacked_gigabytes=0", "datasets.tiny.source.max_unpacked_gigabytes: 0 is not allowed"),
        ("max_unpacked_gigabytes=1.0e-7", "a.zip: unpacks to more than 1e-07 GB"),
        ("keep_archives=maybe", "datasets.tiny.source.keep_archives: 'maybe' is not allowed"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, monkeypatch, setting, told):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, {"a.zip": zipped(packed(0))})
    make_project(tmp_path, {"kind": "archive", "parts": ["a.zip"]})
    assert told in step("--set", f"datasets.tiny.source.{setting}", "fetch")


def test_ways_of_fetching_are_no_part_of_the_packs():
    from glat.data.sources.registry import identity

    settings = {"kind": "archive", "parts": ["a.zip"], "keep_archives": True, "max_unpacked_gigabytes": 5}
    assert identity(settings) == {"kind": "archive", "parts": ["a.zip"]}


def test_members_are_bounded_in_number(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "MOST", 3)
    assert refusal(tmp_path, zipped(FILES)).startswith("holds more than 3 files; unpack it yourself")

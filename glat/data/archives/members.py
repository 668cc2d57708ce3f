"""What is in an archive: the files that it would make, each checked before any is made.

Refused are names that are absolute, lead out of the folder or are one name for two files; links, pipes and devices; what
is encrypted; and more than is allowed. Sizes are those that the archive's directory tells, which reading holds it to.
"""

from __future__ import annotations

import bz2
import gzip
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from ...lib.errors import DAMAGED, GlatError, brief, refusal
from . import Damaged
from .splits import open_zip

HEADER = 1 << 20  # bytes of a tar's header, far more than any has
TAIL = 1 << 26  # bytes that a tar may have behind its end, since some writers fill up their last block
LONGEST = 4096  # characters of a path
MOST = 10_000_000  # files of one archive
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what others make of a block of bytes has no bound
# What the libraries raise where an archive is damaged.
UNREADABLE = (*DAMAGED, zipfile.BadZipFile, tarfile.TarError, zlib.error)
UTF8 = 0x800  # the flag that a zip's names are UTF-8
UNIX = 3  # the system of a zip's member whose attributes hold its mode
_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Member(NamedTuple):
    """A file in an archive: its name there, the path below the folder that it gets, its bytes, and what opens it."""

    name: str
    path: str
    size: int
    open: Callable[[], IO[bytes]]


@contextmanager
def opened(paths: Sequence[Path], most: float) -> Iterator[list[Member]]:
    """The files in an archive, given the paths of its parts. most: bytes that they may have.

    Raises:
        Damaged: no archive, or one that is cut or damaged.
        GlatError: a file that is refused, or too many bytes.
    """
    found = Found(str(paths[-1]), most)
    read: Callable[[Any, Found], None]
    with as_sentence(found.named):
        if len(paths) == 1 and (tar := _open_tar(paths[0])):
            file, read = tar, _read_tar
        else:
            file, promised = open_zip(paths)
            read = partial(_read_zip, promised)
    with file:
        with as_sentence(found.named):
            read(file, found)
            found.check()
        yield found.members


@contextmanager
def as_sentence(what: str) -> Iterator[None]:
    """Whatever the libraries raise on reading an archive, or a file in it, as one sentence."""
    try:
        yield
    except GlatError:
        raise
    except UNREADABLE as error:
        why = refusal(error) or f"cannot be read ({brief(error) or type(error).__name__})"
        raise Damaged(f"{what}: {why}") from None


class Found:
    """The members of the archive that errors call `named`, as they are found; `most`: bytes that they may have."""

    def __init__(self, named: str, most: float):
        self.named, self.most, self.size = named, most, 0
        self.members: list[Member] = []

    def refuse(self, name: str, why: str) -> GlatError:
        return GlatError(
            f"{self.named}: {name[:200]!r} {why}; unpack it yourself, and see what is in it, before you name its folder instead"
        )

    def path(self, name: str) -> str:
        """A member's path below the folder. Raises GlatError for a name that leads elsewhere."""
        text = name.replace("\\", "/")  # as some programs of Windows write it
        if len(text) > LONGEST or _CONTROL.search(text):
            raise self.refuse(name, "is not the name of a file")
        if text.startswith("/") or _DRIVE.match(text):
            raise self.refuse(name, "is an absolute path")
        parts = [part for part in text.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise self.refuse(name, "leads out of its folder")
        return "/".join(parts)

    def add(self, name: str, size: int, open_: Callable[[], IO[bytes]]) -> None:
        path = self.path(name)
        if not path:
            raise self.refuse(name, "is not the name of a file")
        if size < 0:
            raise ValueError(f"{name[:50]!r} of {size} bytes")
        self.members.append(Member(name, path, size, open_))
        self.size += size
        if self.size > self.most:
            raise GlatError(
                f"{self.named}: unpacks to more than {self.most / 1e9:g} GB; if it is the right archive, raise "
                "datasets.*.source.max_unpacked_gigabytes"
            )
        if len(self.members) > MOST:
            raise GlatError(
                f"{self.named}: holds more than {MOST} files; unpack it yourself and name its folder instead"
            )

    def check(self) -> None:
        """Raises GlatError for an archive without a file, and for a path that two members have, also as a folder."""
        if not self.members:
            raise GlatError(f"{self.named}: holds no file; name another archive")
        names: dict[str, str] = {}
        for member in self.members:
            if member.path in names:
                raise self.refuse(member.name, "is in it twice")
            names[member.path] = member.name
        folders = {folder for member in self.members for folder in parents(member.path)}
        if both := sorted(folders & names.keys()):
            raise self.refuse(names[both[0]], "is a file and a folder")


def parents(path: str) -> list[str]:
    """The folders that a path has: of a/b/c, they are a and a/b."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _read_zip(promised: int, file: IO[bytes], found: Found) -> None:
    archive = zipfile.ZipFile(file)
    if (count := len(archive.infolist())) % 2**16 != promised % 2**16:  # some writers count no further
        raise zipfile.BadZipFile(f"it promises {promised} members and lists {count}")
    for info in archive.infolist():
        mode = info.external_attr >> 16 if info.create_system == UNIX else 0
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise found.refuse(info.filename, "is a link" if stat.S_ISLNK(mode) else "is a pipe or a device")
        name = _zip_name(info)
        if name.endswith(("/", "\\")):
            found.path(name)
            continue
        if info.flag_bits & 1:
            raise found.refuse(info.filename, "is encrypted")
        if info.compress_type not in METHODS:
            raise found.refuse(info.filename, f"is compressed by method {info.compress_type}, which is not read here")
        found.add(name, info.file_size, partial(archive.open, info))


def _zip_name(info: zipfile.ZipInfo) -> str:
    """A member's name. Without the flag for UTF-8 it is read as cp437, but macOS writes UTF-8 without the flag."""
    if info.flag_bits & UTF8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _open_tar(path: Path) -> Any:
    """A tar as a file of what is not compressed; None for a zip, known by its end alone, which a tar may have too.

    Raises:
        tarfile.ReadError: neither of them.
    """
    with open(path, "rb") as file:
        begin = file.read(tarfile.BLOCKSIZE)
    if begin.startswith(b"\x1f\x8b"):
        return gzip.open(path)
    if begin.startswith(b"BZh"):
        return bz2.open(path)
    try:
        tarfile.TarInfo.frombuf(begin, tarfile.ENCODING, "surrogateescape")
        return open(path, "rb")
    except tarfile.TarError:
        if begin.startswith(b"PK") or zipfile.is_zipfile(path):
            return None
        raise tarfile.ReadError("it is none of .zip, .tar, .tar.gz and .tar.bz2") from None


class _Ahead:
    """A tar as it is read ahead: no header is large, and none leads back, as forged ones do that never end."""

    def __init__(self, file: IO[bytes]):
        self._file, self.listed = file, False
        self.tell = file.tell

    def read(self, count: int) -> bytes:
        if not 0 <= count <= HEADER:
            raise tarfile.ReadError(f"a header of {count} bytes")
        return self._file.read(count)

    def seek(self, place: int) -> int:
        if not self.listed and place < self._file.tell() - 1:
            raise tarfile.ReadError("a header leads back")
        return self._file.seek(place)


def _read_tar(file: IO[bytes], found: Found) -> None:
    ahead: Any = _Ahead(file)
    archive = tarfile.open(fileobj=ahead, mode="r:")  # noqa: SIM115  # it keeps nothing but `file`
    for info in archive:
        if not (info.isreg() or info.isdir()):
            kind = "link" if info.islnk() or info.issym() else "pipe" if info.isfifo() else "device"
            raise found.refuse(info.name, f"is a {kind}")
        if info.isdir():
            found.path(info.name)
        else:
            found.add(info.name, info.size, partial(_content, archive, info))
    # The library takes a cut for the end.
    file.seek(archive.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it ends without the mark of its end: it is cut or damaged")
    # What is compressed has its checksum behind all.
    for _ in range(0, TAIL, HEADER):
        if not file.read(HEADER):
            break
    else:
        raise tarfile.ReadError("it goes on behind its end")
    ahead.listed = True


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(info)
    assert content is not None  # of a file that is no link
    return content

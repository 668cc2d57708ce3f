"""A split zip as one file, without a system's `zip -s 0`.

The parts of a split zip are one zip, cut anywhere; but its directory, at the end, says of each file in which part it begins
and how far from the beginning of that part. Here the parts are read one behind the other, and behind them a new directory
in which those places are counted from the beginning of the first part. (PKWARE's APPNOTE.TXT, 4.3, 4.4 and 8.)
"""

from __future__ import annotations

import io
import struct
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple
from zipfile import BadZipFile

from ...lib.errors import GlatError

_END = struct.Struct("<4s4H2LH")  # end of central directory record
_END64 = struct.Struct("<4sQ2H2L4Q")  # the same in ZIP64
_LOCATOR = struct.Struct("<4sLQL")  # where that is
_ENTRY = struct.Struct("<4s4B4HL2L5H2L")  # of the directory; its fields below
_FIELD = struct.Struct("<HH")  # an extra field's id and length
_COMPRESSED, _SIZE, _NAME, _EXTRA, _COMMENT, _DISK, _OFFSET = 10, 11, 12, 13, 14, 15, 18
_ZIP64 = 1  # id of the extra field with the numbers that their own places are too small for
_SHORT, _LONG = 0xFFFF, 0xFFFF_FFFF
MOST = 2**29  # bytes of a directory: millions of files


class _Ending(NamedTuple):
    """disks: how many parts there are; disk, offset: where the directory begins; size: bytes of it; entries: files."""

    disks: int
    disk: int
    offset: int
    size: int
    entries: int


class Joined(io.RawIOBase):
    """Files as one, read one behind the other."""

    def __init__(self, files: Sequence[BinaryIO]):
        self.files: list[BinaryIO] = []
        self.starts, self._at = [0], 0
        for file in files:
            self.add(file)

    def add(self, file: BinaryIO) -> None:
        """Put a file behind the others."""
        self.files.append(file)
        self.starts.append(self.starts[-1] + file.seek(0, io.SEEK_END))

    @property
    def size(self) -> int:
        return self.starts[-1]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + (0, self._at, self.size)[whence]
        if at < 0:
            raise OSError("before the beginning")
        self._at = at
        return at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer is one
        if self._at >= self.size:
            return 0
        number = bisect_right(self.starts, self._at) - 1
        self.files[number].seek(self._at - self.starts[number])
        block = self.files[number].read(min(len(buffer), self.starts[number + 1] - self._at))
        buffer[: len(block)] = block
        self._at += len(block)
        return len(block)

    def close(self) -> None:
        for file in self.files:
            file.close()
        super().close()


def open_zip(paths: Sequence[Path]) -> tuple[BinaryIO, int]:
    """One zip as a file, of the paths of its parts in their order, and how many members it says that it has.

    Raises:
        GlatError: a zip of another number of parts.
        BadZipFile: no zip, or a damaged directory.
        OSError: what cannot be read.
    """
    with ExitStack() as files:
        joined = Joined([files.enter_context(open(path, "rb")) for path in paths])
        ending = _ending(joined)
        if ending.disks != len(paths):
            raise _other_number(ending.disks, paths)
        if ending.size > MOST:
            raise BadZipFile(f"its directory has {ending.size} bytes, more than is read")
        if len(paths) > 1:
            joined.add(io.BytesIO(_directory(joined, ending)))
        files.pop_all()  # which `Joined` closes
    return io.BufferedReader(joined, 1 << 16), ending.entries


def _other_number(disks: int, paths: Sequence[Path]) -> GlatError:
    if len(paths) == 1:
        what = f"the last of the {disks} parts of a split zip; name the others too, from {paths[0].stem}.z01 on"
    else:
        what = f"by its own account the last of {disks} parts, and {len(paths)} are named; name those that belong to it"
    return GlatError(f"{paths[-1]}: {what}")


def _read(joined: Joined, at: int, count: int) -> bytes:
    joined.seek(at)
    data = bytearray()
    while len(data) < count and (block := joined.read(count - len(data))):
        data += block
    return bytes(data)


def _ending(joined: Joined) -> _Ending:
    """What the last record says, or the one of ZIP64 that it leaves it to."""
    begin = max(joined.size - _END.size - _SHORT, 0)
    tail = _read(joined, begin, joined.size - begin)
    if (found := tail.rfind(b"PK\5\6")) < 0 or len(tail) - found < _END.size:
        raise BadZipFile("no directory at its end: it is cut, or no zip")
    _, disk, start, _, entries, size, offset, _ = _END.unpack_from(tail, found)
    at = begin + found - _LOCATOR.size
    if at >= _END64.size:
        mark, disk64, offset64, disks = _LOCATOR.unpack(_read(joined, at, _LOCATOR.size))
        if mark == b"PK\6\7":
            # In a zip of one part, bytes may stand in front of it, as of a program that unpacks it.
            place = _place(joined, disk64, offset64) if disks > 1 else at - _END64.size
            record = _read(joined, place, _END64.size)
            if len(record) < _END64.size or not record.startswith(b"PK\6\6"):
                raise BadZipFile("the record of its directory is not where it says: it is cut or damaged")
            _, _, _, _, disk, start, _, entries, size, offset = _END64.unpack(record)
    return _Ending(disk + 1, start, offset, size, entries)


def _place(joined: Joined, disk: int, offset: int) -> int:
    """A place in all parts of one in part number `disk`, from 0."""
    if disk >= len(joined.files):
        raise BadZipFile(f"its directory names part {disk + 1} of {len(joined.files)}")
    return joined.starts[disk] + offset


def _directory(joined: Joined, ending: _Ending) -> bytes:
    """The new directory, with its ending, to stand behind all parts."""
    data = _read(joined, _place(joined, ending.disk, ending.offset), ending.size)
    if len(data) < ending.size:
        raise BadZipFile("its directory is cut")
    entries, at, count = bytearray(), 0, 0
    while at < len(data):
        entry, at = _entry(joined, data, at)
        entries += entry
        count += 1
    begin = joined.size
    end64 = begin + len(entries)
    record = _END64.pack(b"PK\6\6", _END64.size - 12, 45, 45, 0, 0, count, count, len(entries), begin)
    locator = _LOCATOR.pack(b"PK\6\7", 0, end64, 1)
    end = _END.pack(b"PK\5\6", _SHORT, _SHORT, _SHORT, _SHORT, _LONG, _LONG, 0)
    return bytes(entries) + record + locator + end


def _entry(joined: Joined, data: bytes, at: int) -> tuple[bytes, int]:
    """The new form of the directory's entry at `at`, and where the next one begins."""
    if len(data) - at < _ENTRY.size or not data.startswith(b"PK\1\2", at):
        raise BadZipFile("its directory is damaged")
    fields = list(_ENTRY.unpack_from(data, at))
    name_end = at + _ENTRY.size + fields[_NAME]
    extra_end = name_end + fields[_EXTRA]
    comment_end = extra_end + fields[_COMMENT]
    if comment_end > len(data):
        raise BadZipFile("its directory is damaged")
    name, extra, comment = data[at + _ENTRY.size : name_end], data[name_end:extra_end], data[extra_end:comment_end]
    large, others = _split_extra(extra)
    # Those of these four that are too large for their places stand in the ZIP64 field, in this order.
    kept = bytearray()
    for number in (_SIZE, _COMPRESSED):
        if fields[number] == _LONG:
            kept += large.take(8)
    offset = struct.unpack("<Q", large.take(8))[0] if fields[_OFFSET] == _LONG else fields[_OFFSET]
    disk = struct.unpack("<L", large.take(4))[0] if fields[_DISK] == _SHORT else fields[_DISK]
    kept += struct.pack("<Q", _place(joined, disk, offset))
    extra = _FIELD.pack(_ZIP64, len(kept)) + kept + others
    if len(extra) > _SHORT:
        raise BadZipFile("its directory is damaged")
    fields[_EXTRA], fields[_DISK], fields[_OFFSET] = len(extra), 0, _LONG
    return _ENTRY.pack(*fields) + name + extra + comment, comment_end


class _Large:
    """The content of a ZIP64 field."""

    def __init__(self, data: bytes):
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        self._at += count
        if self._at > len(self._data):
            raise BadZipFile("its directory is damaged")
        return self._data[self._at - count : self._at]


def _split_extra(extra: bytes) -> tuple[_Large, bytes]:
    """The ZIP64 field's content, and all other fields as they are."""
    large, others, at = b"", bytearray(), 0
    while at + _FIELD.size <= len(extra):
        kind, length = _FIELD.unpack_from(extra, at)
        end = at + _FIELD.size + length
        if end > len(extra):
            raise BadZipFile("its directory is damaged")
        if kind == _ZIP64:
            large = extra[at + _FIELD.size : end]
        else:
            others += extra[at:end]
        at = end
    return _Large(large), bytes(others)

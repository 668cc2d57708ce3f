"""W64 and RF64 as a pipe leaves them: their headers hold no sizes, and neither decoder reads them without."""

from __future__ import annotations

import os

from .stream import ByteStream


def fill_in_sizes(file: ByteStream) -> ByteStream:
    """The file with its sizes filled in, where a pipe could not: the sound lasts to the end of the file. Else the file."""
    file.seek(0)
    head, size = file.read(2**12), file.seek(0, os.SEEK_END)
    file.seek(0)
    data = head.find(b"data")
    if head[:4] == b"riff" and 0 < data < len(head) - 24:
        declared = int.from_bytes(head[data + 16 : data + 24], "little", signed=True)
        if not 24 < declared < 2**62:
            sizes = ((16, size), (data + 16, size - data))
            return _Overlaid(file, _with(head, sizes), size)
    if head[:4] == b"RF64" and head[12:16] == b"ds64" and not any(head[28:36]) and 0 < data < len(head) - 8:
        return _Overlaid(file, _with(head, ((20, size - 8), (28, size - data - 8))), size)
    return file


def _with(head: bytes, sizes: tuple[tuple[int, int], ...]) -> bytes:
    for place, size in sizes:
        head = head[:place] + size.to_bytes(8, "little") + head[place + 8 :]
    return head


class _Overlaid:
    """A file whose beginning is another one."""

    def __init__(self, file: ByteStream, head: bytes, size: int):
        self._file, self._head, self._size, self._place = file, head, size, 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        place = self._place
        self._file.seek(place)
        content = self._file.read(size)
        if place < len(self._head):
            begin = self._head[place : place + len(content)]
            content = begin + content[len(begin) :]
        self._place += len(content)
        return content

    def readinto(self, buffer: memoryview) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

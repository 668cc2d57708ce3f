"""The elements of a Matroska or WebM file (RFC 8794, RFC 9559)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice

from .chunks import Fault, read_at
from .stream import ByteStream

_SEGMENT, _CLUSTER, _INFO = 0x18538067, 0x1F43B675, 0x1549A966
_KNOWN = frozenset((
    0x1A45DFA3, _SEGMENT, _CLUSTER, _INFO, 0x114D9B74, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367, 0xEC,
    0xBF, 0xE7, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF, 0xA2, 0x5854, 0x1B538667,
))  # fmt: skip


def _elements(file: ByteStream, end: int) -> Iterator[tuple[int, int, int]]:
    """Identifier, place of the content, and bytes of each element of a Matroska file (RFC 8794), those within a Segment,
    a Cluster and Info too; -1 for bytes where the file ends when it ends."""
    place = 0
    while place < end:
        head = read_at(file, place, 12)
        width = 9 - head[0].bit_length()
        if width > 4 or len(head) < width + 1:
            return
        length = 9 - head[width].bit_length()
        if length > 8:
            return
        number = int.from_bytes(head[:width], "big")
        size = int.from_bytes(head[width : width + length], "big") & ((1 << 7 * length) - 1)
        place += width + length
        if size == (1 << 7 * length) - 1:
            size = -1
        yield number, place, size
        if number not in (_SEGMENT, _CLUSTER, _INFO):
            if size < 0:
                return
            place += size


def units(file: ByteStream, end: int) -> Iterator[int]:
    """Where each element ends, or the head of one that holds others. Raises Fault at what is none."""
    info = 0  # the end of Info, whose elements are of no interest
    place = 0
    for number, content, size in _elements(file, end):
        if number == _INFO:
            info = content + size
        if content > info and number not in _KNOWN:
            raise Fault(f"{end - place} bytes behind {place} belong to nothing")
        place = content if number in (_SEGMENT, _CLUSTER, _INFO) else content + size
        yield place


def declares_a_duration(file: ByteStream) -> bool:
    """Whether the header of a Matroska file holds a duration, of the whole or of a stream."""
    for number, _, _ in islice(_elements(file, file.seek(0, os.SEEK_END)), 10_000):
        if number == 0x4489:
            return True
        if number == _CLUSTER:
            return False
    return False

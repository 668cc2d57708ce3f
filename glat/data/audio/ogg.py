"""The pages of an Ogg file (RFC 3533, 6): whether all are there, none was altered, and whether several files were joined."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable

from .stream import ByteStream

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def end(file: ByteStream) -> str:
    """Why an Ogg file is not whole: "" if its last page is, and carries the end-of-stream flag."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2**17))
    tail = file.read()
    page = tail.rfind(b"OggS")
    if not 0 <= page < len(tail) - 27:
        return "the Ogg stream has no end"
    if page + _page_bytes(tail[page:]) > len(tail):
        return "the file ends within an Ogg page"
    return "" if tail[page + 5] & 4 else "the Ogg stream has no end"


def damage(file: ByteStream, tick: Callable[[], None] = lambda: None) -> str:
    """What is wrong with the pages of an Ogg file (RFC 3533, 6), "" if nothing: all follow each other, none was altered.

    What stands behind the end of the streams does not count. tick: called with each page, to stop one who takes too long.
    """
    place, numbers = 0, dict[bytes, int]()
    while True:
        tick()
        file.seek(place)
        head = file.read(27 + 255)
        if not head:
            return ""
        if head[:4] != b"OggS":
            return "" if place and not numbers else "bytes that belong to no Ogg page"
        page = head[: _page_bytes(head)]
        page += file.read(_page_bytes(head) - len(page))
        stream, number = bytes(page[14:18]), int.from_bytes(page[18:22], "little")
        if numbers.setdefault(stream, number) != number:
            return "an Ogg page is missing"
        if _crc(page) != page[22:26]:
            return "an Ogg page was altered"
        numbers[stream] = number + 1
        if page[5] & 4:
            del numbers[stream]
        place += len(page)


def _page_bytes(page: bytes) -> int:
    return 27 + page[26] + sum(page[27 : 27 + page[26]]) if len(page) > 26 else len(page)


def _crc(page: bytes) -> bytes:
    """The checksum of a page: zlib's polynomial, but the bits in the other order and nothing inverted."""
    raw = b"".join((page[:22], bytes(4), page[26:])).translate(_MIRRORED)
    found = zlib.crc32(raw, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{found:032b}"[::-1], 2).to_bytes(4, "little")


def is_chained(file: ByteStream) -> bool:
    """Whether an Ogg file is several joined ones: streams that begin behind others' samples, in times of their own."""
    size, place, samples = file.seek(0, os.SEEK_END), 0, False
    while place < size:
        file.seek(place)
        page = file.read(27 + 255)
        if page[:4] != b"OggS" or len(page) < 27:
            return False
        begins, position = page[5] & 2, page[6:14]
        if begins and samples:
            return True
        samples = samples or any(position)
        place += _page_bytes(page)
    return False

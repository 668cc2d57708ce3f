"""The units that a container is made of, walked from its beginning to its end: whether all are there and nothing else is.

FFmpeg does not tell: it skips what it does not understand, and where a file was cut off, it calls that the end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from ..kinds import Kind
from . import asf, chunks, matroska
from .chunks import Fault, is_name, is_unknown, read_at
from .stream import ByteStream
from .tags import id3_bytes, sound_end, zeros_at_end

TRAILER = 512  # bytes behind the end that nobody has to explain: padding, a player's mark
_TS = ((188, 0), (192, 4), (204, 0))  # bytes of a packet of a transport stream, and where its sync byte is


def fault(file: ByteStream, name: str, tick: Callable[[], None] = lambda: None) -> Fault | None:
    """What is wrong with the units of a container: None if nothing, or if it is none of those that are known here.

    name: of FFmpeg's demuxer; tick: called with each unit, to stop a walk that takes too long. A header that a pipe left
    without a size is no fault: the file ends where it ends.
    """
    walk = _WALKS.get(name)
    if walk is None:
        return None
    try:
        end = place = sound_end(file)
        for place in walk(file, end):
            tick()
            if place > end + 1:
                return Fault(f"the file ends within {_UNITS.get(name, 'a chunk')}", Kind.TRUNCATED)
    except Fault as found:
        return found
    behind = end - place
    if behind > TRAILER and zeros_at_end(file) < file.seek(0, os.SEEK_END) - place:
        return Fault(f"{behind} bytes stand behind its end")
    return None


def _flv(file: ByteStream, end: int) -> Iterator[int]:
    place = int.from_bytes(read_at(file, 5, 4), "big") + 4
    while place < end:
        tag = read_at(file, place, 11)
        if len(tag) == 11 and (tag[0] & 0x1F not in (8, 9, 18) or any(tag[8:])):
            return
        place += 11 + int.from_bytes(tag[1:4], "big")
        yield place
        place = min(place + 4, end)
        yield place


def _transport(file: ByteStream, end: int) -> Iterator[int]:
    head = read_at(file, 0, 2**12)
    length, first = next(
        (
            (length, begin + sync)
            for length, sync in _TS
            for begin in range(length)
            if len(head) >= begin + 5 * length and set(head[begin + sync :: length][:5]) == {0x47}
        ),
        (0, 0),
    )
    if not length:
        return
    size = file.seek(0, os.SEEK_END)
    if (size - (first - dict(_TS)[length])) % length:
        yield size + length
    step, wrong = length * 2**13, 0
    for place in range(first, size, step):
        content = np.frombuffer(read_at(file, place, step), np.uint8)
        wrong += int((content[::length] != 0x47).sum())
        yield place
    if wrong:
        raise Fault(f"{wrong} of its {(size - first) // length} packets are none")
    yield end


def _voc(file: ByteStream, end: int) -> Iterator[int]:
    place = int.from_bytes(read_at(file, 20, 2), "little")
    while place < end:
        block = read_at(file, place, 4)
        if block[0] == 0:
            yield place + 1
            return
        if block[0] > 9:
            raise Fault("a block is none")
        place += 4 + int.from_bytes(block[1:], "little")
        yield place


def _wavpack(file: ByteStream, end: int) -> Iterator[int]:
    """https://www.wavpack.com/WavPack5FileFormat.pdf, 2.0: each block has the number of its first sample."""
    place, following = id3_bytes(file), None
    while place < end:
        head = read_at(file, place, 32)
        if head[:4] != b"wvpk" or len(head) < 32:
            return
        first, samples, flags = (int.from_bytes(head[at : at + 4], "little") for at in (16, 20, 24))
        if samples and flags & 0x800:  # the first block of several channels
            if following is not None and first != following:
                raise Fault("blocks are missing" if first else "another file begins in it")
            following = first + samples
        place += 8 + int.from_bytes(head[4:8], "little")
        yield place


def _tta(file: ByteStream, end: int) -> Iterator[int]:
    place = id3_bytes(file)
    head = read_at(file, place, 22)
    rate, samples = int.from_bytes(head[10:14], "little"), int.from_bytes(head[14:18], "little")
    if head[:4] != b"TTA1" or rate < 8:
        yield end
        return
    frames = -(-samples // (256 * rate // 245))
    if 4 * frames > min(end, 2**24):
        yield end + 2 if 4 * frames > end else end
        return
    table = read_at(file, place + 22, 4 * frames)
    sizes = np.frombuffer(table, "<u4", len(table) // 4)
    yield place + 22 + 4 * frames + 4 + int(sizes.sum())


def _au(file: ByteStream, end: int) -> Iterator[int]:
    head = read_at(file, 0, 12)
    begin, size = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
    yield end if is_unknown(size) else begin + size


def _sox(file: ByteStream, end: int) -> Iterator[int]:
    """soxformat(7): 32 bits a sample."""
    head = read_at(file, 0, 16)
    order: Literal["little", "big"] = "little" if head[:4] == b".SoX" else "big"
    samples = int.from_bytes(head[8:16], order)
    yield 4 + int.from_bytes(head[4:8], order) + 4 * samples if samples else end


def _real_media(file: ByteStream, end: int) -> Iterator[int]:
    """Chunks; within DATA, packets with a version and a length, up to an index."""
    place = 0
    if read_at(file, 0, 4) != b".RMF":
        yield end
        return
    while place < end:
        head = read_at(file, place, 8)
        if head[:4] == b"DATA":
            place += 18
        elif head[:4].isalnum() or place == 0:
            place += max(8, int.from_bytes(head[4:8], "big"))
        elif head[:2] in (b"\0\0", b"\0\1") and (size := int.from_bytes(head[2:4], "big")) >= 12:
            place += size
        else:
            return
        yield place


def _program(file: ByteStream, end: int) -> Iterator[int]:
    """An MPEG program stream (ISO/IEC 13818-1, 2.5.3): packs and packets, each behind a start code."""
    place = 0
    while place < end:
        head = read_at(file, place, 14)
        if head[:3] != b"\0\0\1" or len(head) < 6:
            return
        if head[3] == 0xBA:
            place += 14 + (head[13] & 7) if head[4] & 0xC0 == 0x40 and len(head) == 14 else 12
        elif head[3] == 0xB9:
            place += 4
        else:
            place += 6 + int.from_bytes(head[4:6], "big")
        yield place


def _isobmff(file: ByteStream, end: int) -> Iterator[int]:
    """MP4 and MOV: of two that were joined, the second one is never heard."""
    place, indexes, fragments = 0, 0, False
    while place < end and is_name((head := read_at(file, place, 16))[4:8] + bytes(4)):
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8:  # 0: to the end of the file
            break
        indexes += head[4:8] == b"moov"
        fragments |= head[4:8] == b"moof"
        place += size
        yield min(place, end)  # what is missing, the index tells
    if indexes > 1 and not fragments:
        raise Fault("another file begins in it")
    yield end


_WALKS = {
    "wav": chunks.iff, "aiff": chunks.iff, "iff": chunks.iff, "w64": chunks.w64_or_caf, "caf": chunks.w64_or_caf,
    "avi": chunks.avi, "flv": _flv, "mpegts": _transport, "voc": _voc, "wv": _wavpack, "tta": _tta, "au": _au,
    "asf": asf.units, "sox": _sox, "rm": _real_media, "mpeg": _program, "mov,mp4,m4a,3gp,3g2,mj2": _isobmff,
    "matroska,webm": matroska.units,
}  # fmt: skip
_UNITS = {
    "mpegts": "a packet", "mpeg": "a packet", "rm": "a packet", "flv": "a tag", "voc": "a block", "wv": "a block",
    "asf": "a packet", "matroska,webm": "an element", "tta": "a frame", "au": "its samples", "sox": "its samples",
}  # fmt: skip

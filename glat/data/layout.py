"""The units that a container is made of, walked from its beginning to its end: whether all are there and nothing else is.

FFmpeg skips what it does not understand, and takes the end of a file for that of the sound.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

from glat.data.tags import id3_bytes, sound_end, zeros_at_end

TRAILER = 512  # bytes behind the end that nobody has to explain: padding, a player's mark
_TS = ((188, 0), (192, 4), (204, 0))  # bytes of a packet of a transport stream, and where its sync byte is
_ASF_INDEXES = tuple(
    map(bytes.fromhex, ("90080033b1e5cf11", "d329e2d6da35d111", "f803b1fead12644c", "d03fb73c4a0c0348"))
)
_ASF_HEADER, _ASF_DATA = bytes.fromhex("3026b2758e66cf11"), bytes.fromhex("3626b2758e66cf11")


_SEGMENT, _CLUSTER, _INFO = 0x18538067, 0x1F43B675, 0x1549A966
_EBML = frozenset((
    0x1A45DFA3, _SEGMENT, _CLUSTER, _INFO, 0x114D9B74, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367, 0xEC,
    0xBF, 0xE7, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF, 0xA2, 0x5854, 0x1B538667,
))  # fmt: skip


class _Fault(Exception):
    """Why a container is not whole."""


def fault(file: BinaryIO, name: str, tick: Callable[[], None] = lambda: None) -> str:
    """What is wrong with the units of a container: "" if nothing, or if it is none of those that are known here.

    name: of FFmpeg's demuxer, or "sndfile" for what libsndfile reads; tick: called with each unit, to stop one who takes
    too long. A header that a pipe left without a size is no fault: the file ends where it ends.
    """
    walk = _WALKS.get(name)
    if walk is None:
        return ""
    try:
        end = place = sound_end(file)
        for place in walk(file, end):
            tick()
            if place > end + 1:
                return f"the file ends within {_UNITS.get(name, 'a chunk')}"
    except _Fault as error:
        return str(error)
    behind = end - place
    if behind > TRAILER and zeros_at_end(file) < file.seek(0, os.SEEK_END) - place:
        return f"{behind} bytes stand behind its end"
    return ""


def is_unknown(size: int) -> bool:
    """Whether a size of 32 bits is what a pipe writes, which can't know it: FFmpeg the greatest number, SoX the greatest
    with a sign, or some bytes less."""
    return size == 0 or size >= 0xFFFFFF00 or 0x7FFFF000 <= size < 2**31


def _at(file: BinaryIO, place: int, size: int) -> bytes:
    file.seek(place)
    return file.read(size)


def chunks(file: BinaryIO, form: bytes, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, place of the content, and bytes of each chunk of a RIFF or an IFF file; none if it is not of this form.

    Any of them may stand before the samples, so they are walked.
    """
    place = id3_bytes(file)
    if _at(file, place, 4) != form:
        return
    place += 12
    while _is_name(chunk := _at(file, place, 8)):
        size = int.from_bytes(chunk[4:], order)
        yield chunk[:4], place + 8, size
        place += 8 + size
        # A chunk of odd size is followed by a zero, which some leave out.
        place += size % 2 and not (_is_name(_at(file, place, 8)) and not _is_name(_at(file, place + 1, 8)))


def _is_name(chunk: bytes) -> bool:
    """Whether a chunk's head begins with a name, which is text, and damage is not."""
    return len(chunk) == 8 and all(32 <= byte < 127 for byte in chunk[:4])


def _iff(file: BinaryIO, end: int) -> Iterator[int]:
    """The samples' chunk and all behind it, of RIFF, RF64 or IFF."""
    head, place = _at(file, id3_bytes(file), 12), end
    order, big = "big" if head[:4] == b"FORM" else "little", None
    for name, content, size in chunks(file, head[:4], order):
        if name == b"ds64":
            big = int.from_bytes(_at(file, content + 8, 8), "little")
        if name in (b"data", b"SSND", b"BODY"):
            if big is None and is_unknown(size):
                yield end
                return
            place = content + (size if big is None else big)
            yield place if place > end + 8 else min(place, end)  # some count too many by a sample
            if big is not None:
                return
            place += size % 2
        elif name in (b"RIFF", b"RF64", b"FORM"):
            break
        elif place < end and content + size <= end:
            place = content + size + size % 2
            yield min(place, end)
    yield place


def _w64_or_caf(file: BinaryIO, end: int) -> Iterator[int]:
    w64 = _at(file, 0, 4) == b"riff"
    place = 40 if w64 else 8
    while place < end and len(head := _at(file, place, 24)) >= 12:
        if not all(32 <= byte < 127 for byte in head[:4]) or head[:4] in (b"riff", b"caff"):
            return
        if w64:  # a name of 16 bytes, and the length of all of the chunk
            size = int.from_bytes(head[16:24], "little", signed=True)
            unknown = head[:4] == b"data" and not 24 < size < 2**62
            size += -size % 8 if head[:4] != b"data" else 0
        else:
            size = int.from_bytes(head[4:12], "big", signed=True)
            unknown = head[:4] == b"data" and size <= 0
            size += 12
        if unknown:
            yield end
            return
        if size < 12:
            raise _Fault("a chunk has no size")
        place += size
        yield place
        if w64 and head[:4] == b"data":
            place += -size % 8
            yield min(place, end)


def _avi(file: BinaryIO, end: int) -> Iterator[int]:
    place = 0
    while place < end and _is_name((chunk := _at(file, place, 12))[:8]):
        if chunk[:4] == b"RIFF" or (chunk[:4] == b"LIST" and chunk[8:12] in (b"movi", b"rec ")):
            place += 12
        else:
            place += 8 + (size := int.from_bytes(chunk[4:8], "little"))
            place += size % 2
        yield place


def _flv(file: BinaryIO, end: int) -> Iterator[int]:
    place = int.from_bytes(_at(file, 5, 4), "big") + 4
    while place < end:
        tag = _at(file, place, 11)
        if len(tag) == 11 and (tag[0] & 0x1F not in (8, 9, 18) or any(tag[8:])):
            return
        place += 11 + int.from_bytes(tag[1:4], "big")
        yield place
        place = min(place + 4, end)
        yield place


def _transport(file: BinaryIO, end: int) -> Iterator[int]:
    head = _at(file, 0, 2**12)
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
        content = np.frombuffer(_at(file, place, step), np.uint8)
        wrong += int((content[::length] != 0x47).sum())
        yield place
    if wrong:
        raise _Fault(f"{wrong} of its {(size - first) // length} packets are none")
    yield end


def _voc(file: BinaryIO, end: int) -> Iterator[int]:
    place = int.from_bytes(_at(file, 20, 2), "little")
    while place < end:
        block = _at(file, place, 4)
        if block[0] == 0:
            yield place + 1
            return
        if block[0] > 9:
            raise _Fault("a block is none")
        place += 4 + int.from_bytes(block[1:], "little")
        yield place


def _wavpack(file: BinaryIO, end: int) -> Iterator[int]:
    """https://www.wavpack.com/WavPack5FileFormat.pdf, 2.0: each block has the number of its first sample."""
    place, following = id3_bytes(file), None
    while place < end:
        head = _at(file, place, 32)
        if head[:4] != b"wvpk" or len(head) < 32:
            return
        first, samples, flags = (int.from_bytes(head[at : at + 4], "little") for at in (16, 20, 24))
        if samples and flags & 0x800:  # the first block of several channels
            if following is not None and first != following:
                raise _Fault("blocks are missing" if first else "another file begins in it")
            following = first + samples
        place += 8 + int.from_bytes(head[4:8], "little")
        yield place


def _tta(file: BinaryIO, end: int) -> Iterator[int]:
    place = id3_bytes(file)
    head = _at(file, place, 22)
    rate, samples = int.from_bytes(head[10:14], "little"), int.from_bytes(head[14:18], "little")
    if head[:4] != b"TTA1" or not rate:
        yield end
        return
    frames = -(-samples // (256 * rate // 245))
    table = _at(file, place + 22, 4 * frames)
    sizes = np.frombuffer(table, "<u4", len(table) // 4)
    yield place + 22 + 4 * frames + 4 + int(sizes.sum())


def _au(file: BinaryIO, end: int) -> Iterator[int]:
    head = _at(file, 0, 12)
    begin, size = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
    yield end if is_unknown(size) else begin + size


def _sox(file: BinaryIO, end: int) -> Iterator[int]:
    """soxformat(7): 32 bits a sample."""
    head = _at(file, 0, 16)
    order = "little" if head[:4] == b".SoX" else "big"
    samples = int.from_bytes(head[8:16], order)
    yield 4 + int.from_bytes(head[4:8], order) + 4 * samples if samples else end


def _asf(file: BinaryIO, end: int) -> Iterator[int]:
    place, packet = 0, asf_fields(file)[1]
    while place < end:
        head = _at(file, place, 24)
        size = int.from_bytes(head[16:24], "little")
        if len(head) < 24 or (place and head[:8] == _ASF_HEADER):
            return
        if head[:8] == _ASF_DATA and not 50 < size < 2**62:  # of unknown length
            place += 50
            first = _at(file, place, 3)  # flags, which all packets share
            while packet and place < end and _at(file, place, 3) == first:
                place += packet
                yield place
            if place < end and _at(file, place, 8) not in _ASF_INDEXES and _at(file, place, 2) != b"$E":  # a mark
                raise _Fault(f"what stands at byte {place} is no packet")
            yield end
            return
        if size < 24 or (place + size > end and head[:8] not in (_ASF_HEADER, _ASF_DATA)):
            return
        place += size
        yield place


def asf_fields(file: BinaryIO) -> tuple[int, int]:
    """The duration in 100 ns that an ASF's header declares, 0 if it does not know it, and the bytes of a packet."""
    head = _at(file, 0, 2**13)
    place = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if place < 0:
        return 0, 0
    live = head[place + 88] & 1
    return 0 if live else int.from_bytes(head[place + 64 : place + 72], "little"), int.from_bytes(
        head[place + 92 : place + 96], "little"
    )


def _isobmff(file: BinaryIO, end: int) -> Iterator[int]:
    """MP4 and MOV: of two that were joined, the second one is never heard."""
    place, indexes, fragments = 0, 0, False
    while place < end and _is_name((head := _at(file, place, 16))[4:8] + bytes(4)):
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
        raise _Fault("another file begins in it")
    yield end


def elements(file: BinaryIO, end: int) -> Iterator[tuple[int, int, int]]:
    """Identifier, place of the content, and bytes of each element of a Matroska file (RFC 8794), those within a Segment,
    a Cluster and Info too; -1 for bytes where the file ends when it ends."""
    place = 0
    while place < end:
        head = _at(file, place, 12)
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


def _matroska(file: BinaryIO, end: int) -> Iterator[int]:
    info = 0  # the end of Info, whose elements are of no interest
    place = 0
    for number, content, size in elements(file, end):
        if number == _INFO:
            info = content + size
        if content > info and number not in _EBML:
            raise _Fault(f"{end - place} bytes behind {place} belong to nothing")
        place = content if number in (_SEGMENT, _CLUSTER, _INFO) else content + size
        yield place


def matroska_declares(file: BinaryIO) -> bool:
    """Whether the header of a Matroska file holds a duration, of the whole or of a stream."""
    for number, _, _ in elements(file, file.seek(0, os.SEEK_END)):
        if number == 0x4489:
            return True
        if number == _CLUSTER:
            return False
    return False


_WALKS = {
    "wav": _iff, "aiff": _iff, "iff": _iff, "w64": _w64_or_caf, "caf": _w64_or_caf, "avi": _avi, "flv": _flv,
    "mpegts": _transport, "voc": _voc, "wv": _wavpack, "tta": _tta, "au": _au, "asf": _asf, "sox": _sox,
    "mov,mp4,m4a,3gp,3g2,mj2": _isobmff, "matroska,webm": _matroska,
}  # fmt: skip
_UNITS = {
    "mpegts": "a packet", "flv": "a tag", "voc": "a block", "wv": "a block", "asf": "a packet",
    "matroska,webm": "an element", "tta": "a frame", "au": "its samples", "sox": "its samples",
}  # fmt: skip

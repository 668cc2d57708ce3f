"""Files that are made of named chunks (RIFF, IFF, W64, CAF, AVI), walked from the first to the last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from ..kinds import Kind
from .stream import ByteStream
from .tags import id3_bytes

MOST_CHUNKS = 100_000  # a recorder writes a dozen


class Fault(Exception):
    """Why a container is not whole; kind: what that makes of the sound."""

    def __init__(self, why: str, kind: Kind = Kind.DAMAGED):
        super().__init__(why)
        self.kind = kind


def read_at(file: ByteStream, place: int, size: int) -> bytes:
    file.seek(place)
    return file.read(size)


@contextmanager
def keep_place(file: ByteStream) -> Iterator[None]:
    """The file stands afterwards where it stood: a decoder reads on from there."""
    place = file.tell()
    try:
        yield
    finally:
        file.seek(place)


def is_unknown(size: int) -> bool:
    """Whether a size of 32 bits is what a pipe writes, which can't know it: FFmpeg the greatest number, SoX the greatest
    with a sign, or some bytes less."""
    return size == 0 or size >= 0xFFFFFF00 or 0x7FFFF000 <= size < 2**31


def chunks(file: ByteStream, form: bytes, order: Literal["little", "big"]) -> Iterator[tuple[bytes, int, int]]:
    """Name, place of the content, and bytes of each chunk of a RIFF or an IFF file; none if it is not of this form.

    Any of them may stand before the samples, so they are walked.
    """
    place = id3_bytes(file)
    if read_at(file, place, 4) != form:
        return
    place += 12
    for _ in range(MOST_CHUNKS):
        if not is_name(chunk := read_at(file, place, 8)):
            break
        size = int.from_bytes(chunk[4:], order)
        yield chunk[:4], place + 8, size
        place += 8 + size
        # A chunk of odd size is followed by a zero, which some leave out.
        place += size % 2 and not (is_name(read_at(file, place, 8)) and not is_name(read_at(file, place + 1, 8)))


def is_name(chunk: bytes) -> bool:
    """Whether a chunk's head begins with a name, which is text, and damage is not."""
    return len(chunk) == 8 and all(32 <= byte < 127 for byte in chunk[:4])


def iff(file: ByteStream, end: int) -> Iterator[int]:
    """The samples' chunk and all behind it, of RIFF, RF64 or IFF."""
    head, place = read_at(file, id3_bytes(file), 12), end
    big = None
    for name, content, size in chunks(file, head[:4], "big" if head[:4] == b"FORM" else "little"):
        if name == b"ds64":
            big = int.from_bytes(read_at(file, content + 8, 8), "little")
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


def w64_or_caf(file: ByteStream, end: int) -> Iterator[int]:
    """Where each chunk ends."""
    w64 = read_at(file, 0, 4) == b"riff"
    place = 40 if w64 else 8
    while place < end and len(head := read_at(file, place, 24)) >= 12:
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
            raise Fault("a chunk has no size")
        place += size
        yield place
        if w64 and head[:4] == b"data":
            place += -size % 8
            yield min(place, end)


def avi(file: ByteStream, end: int) -> Iterator[int]:
    """Where each chunk ends, or the head of a list of packets."""
    place = 0
    while place < end and is_name((chunk := read_at(file, place, 12))[:8]):
        if chunk[:4] == b"RIFF" or (chunk[:4] == b"LIST" and chunk[8:12] in (b"movi", b"rec ")):
            place += 12
        else:
            place += 8 + (size := int.from_bytes(chunk[4:8], "little"))
            place += size % 2
        yield place

"""The objects and packets of an ASF file (WMA, WMV)."""

from __future__ import annotations

from collections.abc import Iterator

from .chunks import Fault, read_at
from .stream import ByteStream

_HEADER, _DATA = bytes.fromhex("3026b2758e66cf11"), bytes.fromhex("3626b2758e66cf11")
_INDEXES = tuple(map(bytes.fromhex, ("90080033b1e5cf11", "d329e2d6da35d111", "f803b1fead12644c", "d03fb73c4a0c0348")))


def units(file: ByteStream, end: int) -> Iterator[int]:
    """Where each object ends, and each packet where a pipe could not write how many there are."""
    place, packet = 0, fields(file)[1]
    while place < end:
        head = read_at(file, place, 24)
        size = int.from_bytes(head[16:24], "little")
        if len(head) < 24 or (place and head[:8] == _HEADER):
            return
        if head[:8] == _DATA and not 50 < size < 2**62:  # of unknown length
            place += 50
            first = read_at(file, place, 3)  # flags, which all packets share
            while packet and place < end and read_at(file, place, 3) == first:
                place += packet
                yield place
            if place < end and read_at(file, place, 8) not in _INDEXES and read_at(file, place, 2) != b"$E":  # a mark
                raise Fault(f"what stands at byte {place} is no packet")
            yield end
            return
        if size < 24 or (place + size > end and head[:8] not in (_HEADER, _DATA)):
            return
        place += size
        yield place


def fields(file: ByteStream) -> tuple[int, int]:
    """The duration in 100 ns that an ASF's header declares, 0 if it does not know it, and the bytes of a packet."""
    head = read_at(file, 0, 2**13)
    place = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if place < 0:
        return 0, 0
    live = head[place + 88] & 1
    return 0 if live else int.from_bytes(head[place + 64 : place + 72], "little"), int.from_bytes(
        head[place + 92 : place + 96], "little"
    )

"""Tags of MP3 players before, between and behind the sound, which is none: ID3, APE, Lyrics3."""

from __future__ import annotations

import os

from .stream import ByteStream

MOST_TAGS = 100  # that stand one behind the other


def is_tag(start: bytes) -> bool:
    """Whether bytes between two packets begin a tag, which is no lost sound."""
    return start.startswith((b"ID3", b"TAG", b"APETAGEX", b"LYRICS"))


def id3_bytes(file: ByteStream, place: int = 0) -> int:
    """Bytes of the ID3v2 tag at a place; 0 if there is none."""
    file.seek(place)
    head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + _synchsafe(head[6:])


def _synchsafe(number: bytes) -> int:
    """A number of four bytes with seven bits each (ID3v2.4, 6.2)."""
    return sum((byte & 0x7F) << shift for byte, shift in zip(number, (21, 14, 7, 0), strict=True))


def sound_end(file: ByteStream) -> int:
    """Where the tags begin that a file ends with: ID3v1, Lyrics3, APE, ID3v2 with a footer."""
    place = before = file.seek(0, os.SEEK_END)
    for _ in range(MOST_TAGS):
        before = place
        file.seek(max(0, place - 160))
        tail = file.read(min(160, place))
        if tail[-128:-125] == b"TAG":
            place -= 128
            file.seek(max(0, place - 227))
            place -= 227 if file.read(4) == b"TAG+" else 0
        elif tail[-9:] == b"LYRICS200" and tail[-15:-9].isdigit():
            place -= 15 + int(tail[-15:-9])
        elif tail[-9:] == b"LYRICSEND":
            file.seek(max(0, place - 5120))
            place = max(0, place - 5120) + max(0, file.read(min(5120, place)).rfind(b"LYRICSBEGIN"))
        elif tail[-32:-24] == b"APETAGEX":
            header = 32 if tail[-9] & 0x80 else 0  # the flag that there is one
            place -= int.from_bytes(tail[-20:-16], "little") + header
        elif tail[-10:-7] == b"3DI":
            place -= 20 + _synchsafe(tail[-4:])
        if place == before or place < 0:
            break
    return before


def zeros_at_end(file: ByteStream) -> int:
    """How many zero bytes a file ends in: what a download left empty of a file that has its full size already."""
    place = size = file.seek(0, os.SEEK_END)
    while place:
        begin = max(0, place - 2**16)
        file.seek(begin)
        if content := file.read(place - begin).rstrip(b"\0"):
            return size - begin - len(content)
        place = begin
    return size

"""What the header and the end of an audio file say: how long it is meant to be, and whether all of it is there."""

from __future__ import annotations

import os
import re
from typing import BinaryIO

import av


def promised_seconds(
    container: av.container.InputContainer, stream: av.AudioStream, file: BinaryIO, head: bytes
) -> float | None:
    """Seconds of audio that the file's header declares, None where FFmpeg can only guess from the bit rate.

    head: of the file, as `read_head` gives it.
    """
    name = container.format.name
    xing = b"Xing" in head or b"Info" in head or b"VBRI" in head
    if name in ("aac", "ogg") or (name == "mp3" and not xing):
        return None
    if name == "wav":
        # FFmpeg takes the duration of a cut WAV from what is there.
        found = wav_seconds(file)
        if found is not None:
            return found
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    clock = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
    if clock:  # FFmpeg counts it from the beginning of the recording
        end = int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
        return end - seconds_late(container, stream)
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def seconds_late(container: av.container.InputContainer, stream: av.AudioStream) -> float:
    """Seconds by which the audio begins behind the picture, that is: behind the zero of a player's time."""
    if len(container.streams) == 1 or stream.start_time is None or container.start_time is None:
        return 0.0
    return max(0.0, float(stream.start_time * stream.time_base) - container.start_time / av.time_base)


def read_head(file: BinaryIO) -> bytes:
    """The first 4 KiB behind an ID3v2 tag, if there is one; the file is left at its beginning."""
    file.seek(_tag_bytes(file))
    head = file.read(4096)
    file.seek(0)
    if not head:  # the tag is cut off, or its size is wrong
        head = file.read(4096)
        file.seek(0)
    return head


def _tag_bytes(file: BinaryIO) -> int:
    """Bytes of the ID3v2 tag that a file begins with."""
    file.seek(0)
    head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0)))


def wav_seconds(file: BinaryIO) -> float | None:
    """Seconds that a WAV header declares; None if it does not say (a streamed file declares 0 or the maximum).

    The chunks are walked, since any of them may stand before the samples. The file is left where it was.
    """
    before, bytes_a_second = file.tell(), 0
    try:
        place = _tag_bytes(file)
        file.seek(place)
        if file.read(12)[:4] != b"RIFF":
            return None
        place += 12
        while len(chunk := file.read(8)) == 8 and min(chunk[:4]) >= ord(" "):  # a name is text, and damage is not
            size = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"fmt ":
                bytes_a_second = int.from_bytes(file.read(12)[8:], "little")
            if chunk[:4] == b"data":
                return size / bytes_a_second if bytes_a_second and 0 < size < 0xFFFFFF00 else None
            place += 8 + size + size % 2
            file.seek(place)
        return None
    finally:
        file.seek(before)


def ogg_ends(file: BinaryIO) -> bool:
    """Whether the last page of an Ogg file carries the end-of-stream flag."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2**17))
    tail = file.read()
    page = tail.rfind(b"OggS")
    return 0 <= page < len(tail) - 5 and bool(tail[page + 5] & 4)

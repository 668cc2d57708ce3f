"""What the header and the end of an audio file say: how long it is meant to be, and whether all of it is there."""

from __future__ import annotations

import os
import re
from typing import BinaryIO

import av


def promised_seconds(container: av.container.InputContainer, stream: av.AudioStream, head: bytes) -> float | None:
    """Seconds of audio that the file's header declares, None where FFmpeg can only guess from the bit rate."""
    name = container.format.name
    xing = b"Xing" in head or b"Info" in head or b"VBRI" in head
    if name in ("aac", "ogg") or (name == "mp3" and not xing):
        return None
    if name == "wav":
        # FFmpeg takes the duration of a cut WAV from what is there.
        found = wav_seconds(head)
        if found is not None:
            return found
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    clock = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
    if clock:
        return int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def read_head(file: BinaryIO) -> bytes:
    """The first 4 KiB behind an ID3v2 tag, if there is one; the file is left at its beginning."""
    file.seek(0)
    head = file.read(4096)
    if head[:3] == b"ID3" and len(head) >= 10:
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0)))
        file.seek(10 + size)
        head = file.read(4096) or head
    file.seek(0)
    return head


def wav_seconds(head: bytes) -> float | None:
    """Seconds that a WAV header declares; None if it does not say (a streamed file declares 0 or the maximum)."""
    format_at, data_at = head.find(b"fmt "), head.find(b"data")
    if not 0 < format_at < data_at <= len(head) - 8:
        return None
    bytes_a_second = int.from_bytes(head[format_at + 16 : format_at + 20], "little")
    size = int.from_bytes(head[data_at + 4 : data_at + 8], "little")
    return size / bytes_a_second if bytes_a_second and 0 < size < 0xFFFFFF00 else None


def ogg_ends(file: BinaryIO) -> bool:
    """Whether the last page of an Ogg file carries the end-of-stream flag."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2**17))
    tail = file.read()
    page = tail.rfind(b"OggS")
    return 0 <= page < len(tail) - 5 and bool(tail[page + 5] & 4)

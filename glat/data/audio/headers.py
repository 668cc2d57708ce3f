"""What the header and the end of an audio file say: how long it is meant to be, and whether all of it is there."""

from __future__ import annotations

import math
import re

import av

from . import asf, matroska
from .chunks import chunks, is_unknown, keep_place
from .formats import DECLARE_LENGTH, PLAIN
from .packets import mpeg_rate
from .stream import ByteStream
from .tags import id3_bytes

_PCM = (1, 3, 6, 7)  # kinds of a WAV: integers, floats, A-law, mu-law


def promised_seconds(
    container: av.container.InputContainer, stream: av.AudioStream, file: ByteStream, head: bytes
) -> float | None:
    """Seconds of audio that the file's header declares; None where it can't know or FFmpeg only guesses.

    head: of the file, as `read_head` gives it. Of an MP3 with a Xing header it is the least there should be: that of
    the first of several joined ones knows nothing of the others.
    """
    name = container.format.name
    if name in PLAIN and not is_plain(stream.codec_context):
        return None
    if name == "mp3":
        if not (b"Xing" in head or b"Info" in head or b"VBRI" in head):
            return None
    elif name not in DECLARE_LENGTH:
        return None
    if name == "wav":
        # FFmpeg takes the duration of a cut WAV from what is there.
        found = wav_seconds(file)
        if found is not None:
            return found
    declared = _declares(name, file, head)
    if stream.duration is not None and stream.time_base and declared:
        seconds = float(stream.duration * stream.time_base)
        return min(seconds, _xing_seconds(head)) if name == "mp3" else seconds
    clock = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
    if clock:  # FFmpeg counts it from the beginning of the recording
        end = int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
        return end - seconds_late(container, stream)
    if declared and container.duration is not None and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def _declares(name: str, file: ByteStream, head: bytes) -> bool:
    """Whether a header of this container holds a length, and not only may: where a pipe left none, FFmpeg gives a guess by
    the bit rate, and does not say so."""
    if name in ("matroska,webm", "asf"):
        with keep_place(file):
            return matroska.declares_a_duration(file) if name != "asf" else asf.fields(file)[0] > 0
    if name == "rm":
        return head[18:22] == b"PROP" and any(head[48:52])
    if name == "wv":
        return head[12:16] not in (bytes(4), b"\xff" * 4)
    return True


def is_plain(codec: av.AudioCodecContext) -> bool:
    """Whether sound in a WAV, W64 or AIFF is PCM of the right bit rate, which FFmpeg reckons by. Of compressed sound, bit
    rates and counts of samples are often wrong, and nothing needs them: the size of the samples tells where they end."""
    if not codec.name.startswith("pcm"):
        return False
    bits = re.search(r"\d+", codec.name)  # A-law and mu-law, which have no number, have 8
    return codec.bit_rate in (None, 0, int(bits[0] if bits else 8) * codec.channels * codec.sample_rate)


def _xing_seconds(head: bytes) -> float:
    """Seconds of the frames that an MP3's first one counts; infinity if it counts none.

    Where its count does not fit the file's size, as of joined files, FFmpeg goes back to guessing.
    """
    place = max(head.find(b"Xing"), head.find(b"Info"))
    rate = head[2] >> 2 & 3 if len(head) > 2 else 3
    if place < 0 or not head[place + 7] & 1 or rate == 3:
        return math.inf
    version = head[1] >> 3 & 3
    frames = int.from_bytes(head[place + 8 : place + 12], "big")
    return frames * (1152 if version == 3 else 576) / mpeg_rate(version, rate)


def seconds_late(container: av.container.InputContainer, stream: av.AudioStream) -> float:
    """Seconds by which the audio begins behind the picture, that is: behind the zero of a player's time."""
    if len(container.streams) == 1 or stream.start_time is None or container.start_time is None or not stream.time_base:
        return 0.0
    return max(0.0, float(stream.start_time * stream.time_base) - container.start_time / av.time_base)


def read_head(file: ByteStream) -> bytes:
    """The first 4 KiB behind an ID3v2 tag, if there is one; the file is left at its beginning."""
    file.seek(id3_bytes(file))
    head = file.read(4096)
    file.seek(0)
    if not head:  # the tag is cut off, or its size is wrong
        head = file.read(4096)
        file.seek(0)
    return head


def wav_seconds(file: ByteStream) -> float | None:
    """Seconds of PCM that a WAV header declares; None if it does not say (a streamed file declares 0 or the maximum) or
    the sound is compressed. The file is left where it was."""
    with keep_place(file):
        kind, bytes_a_second = 0, 0
        for name, place, size in chunks(file, b"RIFF", "little"):
            if name == b"fmt ":
                file.seek(place)
                fields = file.read(26)
                kind, channels, rate = (int.from_bytes(fields[a:b], "little") for a, b in ((0, 2), (2, 4), (4, 8)))
                if kind == 0xFFFE:  # extensible: the kind is the beginning of a GUID
                    kind = int.from_bytes(fields[24:26], "little")
                bytes_a_second = rate * channels * -(-int.from_bytes(fields[14:16], "little") // 8)
            if name == b"data":
                return size / bytes_a_second if kind in _PCM and bytes_a_second and not is_unknown(size) else None
        return None


def flac_md5(head: bytes) -> bytes | None:
    """The MD5 of all samples that a FLAC file's first block declares; None where it declares none."""
    digest = head[26:42]  # "fLaC", four bytes of the block's header, and 18 of the block
    return digest if head[:4] == b"fLaC" and head[4] & 0x7F == 0 and len(digest) == 16 and any(digest) else None

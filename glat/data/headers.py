"""What the header and the end of an audio file say: how long it is meant to be, and whether all of it is there."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from typing import BinaryIO

import av

from glat.data.formats import DECLARE_LENGTH, PLAIN

# Bit rates of MPEG audio in kbit/s by the header's four bits: of MPEG-1's layers 1 to 3, of MPEG-2's layer 1 and 2 or 3.
_BIT_RATES = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_PCM = (1, 3, 6, 7)  # kinds of a WAV: integers, floats, A-law, mu-law
_RATES = (44100, 48000, 32000)


def promised_seconds(container: av.container.InputContainer, stream: av.AudioStream, file: BinaryIO, head: bytes):
    """Seconds of audio that the file's header declares: float, or None where it can't know or FFmpeg only guesses.

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
    if stream.duration is not None:
        seconds = float(stream.duration * stream.time_base)
        return min(seconds, _xing_seconds(head)) if name == "mp3" else seconds
    clock = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
    if clock:  # FFmpeg counts it from the beginning of the recording
        end = int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
        return end - seconds_late(container, stream)
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


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
    return frames * (1152 if version == 3 else 576) / (_RATES[rate] >> {3: 0, 2: 1, 0: 2}.get(version, 0))


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
    """Seconds of PCM that a WAV header declares; None if it does not say (a streamed file declares 0 or the maximum) or
    the sound is compressed. The file is left where it was."""
    before = file.tell()
    try:
        kind, bytes_a_second = 0, 0
        for name, place, size in _chunks(file, b"RIFF", "little"):
            if name == b"fmt ":
                file.seek(place)
                fields = file.read(26)
                kind, channels, rate = (int.from_bytes(fields[a:b], "little") for a, b in ((0, 2), (2, 4), (4, 8)))
                if kind == 0xFFFE:  # extensible: the kind is the beginning of a GUID
                    kind = int.from_bytes(fields[24:26], "little")
                bytes_a_second = rate * channels * -(-int.from_bytes(fields[14:16], "little") // 8)
            if name == b"data":
                return size / bytes_a_second if kind in _PCM and bytes_a_second and 0 < size < 0xFFFFFF00 else None
        return None
    finally:
        file.seek(before)


def _chunks(file: BinaryIO, form: bytes, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, place of the content, and bytes of each chunk of a RIFF or an IFF file; none if it is not of this form.

    Any of them may stand before the samples, so they are walked.
    """
    place = _tag_bytes(file)
    file.seek(place)
    if file.read(12)[:4] != form:
        return
    place += 12
    while True:
        file.seek(place)
        chunk = file.read(8)
        if len(chunk) < 8 or min(chunk[:4]) < ord(" "):  # a name is text, and damage is not
            return
        size = int.from_bytes(chunk[4:], order)
        yield chunk[:4], place + 8, size
        place += 8 + size + size % 2


def flac_md5(head: bytes) -> bytes | None:
    """The MD5 of all samples that a FLAC file's first block declares; None where it declares none."""
    digest = head[26:42]  # "fLaC", four bytes of the block's header, and 18 of the block
    return digest if head[:4] == b"fLaC" and head[4] & 0x7F == 0 and len(digest) == 16 and any(digest) else None


def packet_bytes(packet: bytes) -> int:
    """How long an MPEG audio or ADTS packet says that it is, in bytes; 0 if it is neither or does not say.

    ISO/IEC 11172-3, 2.4.2.3, and 13818-7, 6.2.
    """
    if len(packet) < 7 or packet[0] != 0xFF or packet[1] & 0xE0 != 0xE0:
        return 0
    layer = 4 - (packet[1] >> 1 & 3)
    if layer == 4:
        return (packet[3] & 3) << 11 | packet[4] << 3 | packet[5] >> 5 if packet[1] & 0xF0 == 0xF0 else 0
    version, rate = packet[1] >> 3 & 3, packet[2] >> 2 & 3  # 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
    if version == 1 or rate == 3 or packet[2] >> 4 in (0, 15):
        return 0
    hertz = _RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bits = 1000 * _BIT_RATES[1 if version == 3 else 2, layer][packet[2] >> 4]
    padding = packet[2] >> 1 & 1
    if layer == 1:
        return 4 * (12 * bits // hertz + padding)
    return (144 if layer == 2 or version == 3 else 72) * bits // hertz + padding


def is_tag(start: bytes) -> bool:
    """Whether bytes between two MP3 or ADTS packets begin a tag (ID3, APE, Lyrics3), which is no lost sound."""
    return start.startswith((b"ID3", b"TAG", b"APETAGEX", b"LYRICS"))


def sound_bytes(file: BinaryIO) -> int:
    """Bytes of an MP3 or ADTS file but for the tags at its ends (ID3v2; ID3v1 and APE, where all behind is a tag)."""
    first, size = _tag_bytes(file), file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2**17))
    tail = file.read()
    tags = [place for name in (b"APETAGEX", b"TAG", b"LYRICSBEGIN") if (place := tail.rfind(name)) >= 0]
    if tail[-128:-125] != b"TAG" and b"APETAGEX" not in tail[-160:]:
        return size - first
    return size - first - (len(tail) - min(tags))


def zeros_at_end(file: BinaryIO) -> int:
    """How many zero bytes a file ends in: what a download left empty of a file that has its full size already."""
    place = size = file.seek(0, os.SEEK_END)
    while place:
        begin = max(0, place - 2**16)
        file.seek(begin)
        if content := file.read(place - begin).rstrip(b"\0"):
            return size - begin - len(content)
        place = begin
    return size


def missing_end(file: BinaryIO, name: str) -> str:
    """Why an FLV, a VOC or an MPEG transport stream is not whole, by the units that it is made of; "" if nothing says so.

    name: of FFmpeg's demuxer.
    """
    size, place = file.seek(0, os.SEEK_END), 0
    file.seek(0)
    head = file.read(2**12)
    if name == "mpegts":
        for length, first in ((188, 0), (192, 4), (204, 0)):  # bytes of a packet, and where its sync byte is
            for begin in range(length):
                if set(head[begin + first :: length][:5]) == {0x47} and len(head) >= begin + 5 * length:
                    return "the file ends within a packet" if (size - begin) % length else ""
        return ""
    if name == "flv":
        place = int.from_bytes(head[5:9], "big") + 4
        while place < size:
            file.seek(place)
            tag = file.read(11)
            if len(tag) < 11 or tag[0] & 0x1F not in (8, 9, 18):
                return ""
            place += 11 + int.from_bytes(tag[1:4], "big") + 4
        return "the file ends within a tag" if place - 4 > size else ""
    if name == "voc":
        place = int.from_bytes(head[20:22], "little")
        while place < size:
            file.seek(place)
            block = file.read(4)
            if block[0] == 0:
                return "" if size - place < 512 else "there is more behind its end"
            place += 4 + int.from_bytes(block[1:], "little")
    return ""


def declared_bytes(file: BinaryIO) -> int | None:
    """How long a WAV, AIFF, W64, CAF or AVI file says that it is, in bytes; None where it is none or does not say.

    FFmpeg takes the duration of a cut one from what is there. Of a WAV or AIFF it is where its samples end.
    """
    file.seek(_tag_bytes(file))
    head = file.read(40)
    for form, sound, order in ((b"RIFF", b"data", "little"), (b"FORM", b"SSND", "big")):
        if head[:4] == form and head[8:12] in (b"WAVE", b"AIFF", b"AIFC"):
            ends = [place + size for name, place, size in _chunks(file, form, order) if name == sound]
            return ends[0] if ends and 0 < ends[0] < 0xFFFFFF00 else None
    if head[:4] == b"RIFF":
        size = int.from_bytes(head[4:8], "little")
        return 8 + size if head[8:12] == b"AVI " and 0 < size < 0xFFFFFF00 else None
    w64, size = head[:4] == b"riff", file.seek(0, os.SEEK_END)
    if not w64 and head[:4] != b"caff":
        return None
    place = 40 if w64 else 8
    while place < size:
        file.seek(place)
        chunk = file.read(24)
        if len(chunk) < 12:  # what fills up behind the last one
            return place
        if w64:  # a name of 16 bytes, and the length of all of the chunk
            length = int.from_bytes(chunk[16:24], "little", signed=True)
            length += -length % 8 if chunk[:4] != b"data" else 0
        else:
            length = 12 + int.from_bytes(chunk[4:12], "big", signed=True)
        if length < 12:
            return None
        place += length
    return place

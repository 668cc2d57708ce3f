"""Audio files of any format to samples, block by block: a whole file, its beginning, or a piece of a long recording.

FFmpeg (through PyAV) decodes, libsndfile the formats in which it is the quicker of the two and those that FFmpeg does
not know (`glat.data.formats`); both skip the priming samples that AAC, MP3 and Opus encoders put in front. A piece is
sought, not decoded up to, where the container has times to seek by.

No estimate of a length is believed: where a header does not know how long the sound is (MP3, ADTS, joined files), it is
decoded to its end. Where one does know, less than that is an error, as is sound lost in the middle.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import numpy as np
import soundfile

from glat.data.formats import CONTAINERS, LOSSLESS, PLAIN, UNTIMED
from glat.data.headers import (
    declared_bytes,
    flac_md5,
    is_plain,
    is_tag,
    missing_end,
    ogg_damage,
    ogg_end,
    ogg_is_chained,
    packet_bytes,
    promised_seconds,
    read_head,
    seconds_late,
    sound_bytes,
    wav_seconds,
    zeros_at_end,
)
from glat.errors import GlatError

PREROLL = 0.5  # seconds decoded before a piece: a decoder needs some of its past to give the right samples
OVERHANG = 1.0  # seconds by which a clip may be longer than its segment
LOST = 0.1  # seconds of sound that may be lost: a frame or two, which a decoder drops where MP3s were joined
BLOCK = 2**18  # samples of a block, about, in all channels
RATES = (
    1_000,
    1_500_000,
)  # Hz, of any sound that is one: a rate costs memory where it is resampled or held for seconds
_FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}

_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}

av.logging.set_level(None)
av.logging.set_libav_level(av.logging.PANIC)


class AudioError(GlatError):
    """Why a file gives no clip: `<reason>` or `<reason>: <detail>`, short enough for a ledger."""


class Limits(NamedTuple):
    """What one sound may cost: bytes of its file, seconds of sound decoded, seconds that decoding may take; names: of the
    settings that say so, for who goes beyond one."""

    bytes: float = math.inf
    seconds: float = math.inf
    time: float = math.inf
    names: tuple[str, str, str] = ("audio.limits.bytes", "audio.limits.seconds", "audio.limits.time")


UNLIMITED = Limits()


class Cut(NamedTuple):
    """`seconds` of a longer recording, from `start` seconds on.

    or_whole: a file that is at most `OVERHANG` longer than the piece is the piece itself, cut by somebody before.
    last: where the last of several pieces of the recording ends: a file that is too short for that, and no longer than a
    piece, may be any of them.
    """

    file: Path
    start: float
    seconds: float
    or_whole: bool = False
    last: float | None = None


class Block(NamedTuple):
    """samples: (channels, samples) float32, full scale 1; rate: Hz."""

    samples: np.ndarray
    rate: int


class _Piece(NamedTuple):
    """What is wanted of a recording, in seconds: from `start` to `end`, which is exact or a place to stop soon after.
    `whole_up_to`: a recording that is not longer than this is wanted whole, or (`last`) is ambiguous."""

    start: float
    end: float
    exact: bool = False
    whole_up_to: float = 0.0
    last: float | None = None

    def of(self, length: float) -> _Piece:
        """The same, once the length of the recording is known. One that just holds the piece at its end is no cut clip."""
        known = self._replace(whole_up_to=0.0, last=None)
        if length > self.whole_up_to:
            return known
        if self.last is not None:
            if length >= self.last - 0.05:
                return known
            raise AudioError(
                f"ambiguous: the list has several segments of this recording, up to {self.last:g} s, and a file of "
                f"{length:.2f} s may be any of them; name it <id>_<start>"
            )
        holds = 0 < self.start and self.end <= length + 0.05
        return known if holds else _Piece(0.0, self.whole_up_to)

    def earlier(self, seconds: float) -> _Piece:
        """The same in the time of audio that begins so much later than its recording."""
        return self._replace(start=self.start - seconds, end=self.end - seconds) if self.exact else self

    def samples(self, rate: int) -> float:
        """How many samples it has at most."""
        return round(self.end * rate) - round(self.start * rate) if self.exact else math.inf

    def ends_before(self, found: float, promised: float | None) -> AudioError:
        """Why there is nothing of the piece in a recording of which `found` seconds could be decoded."""
        if promised is not None and promised > max(self.start, found + 0.5):
            return AudioError(
                f"truncated: {found:.2f} of {promised:.2f} s decoded, the clip starts at {self.start:g} s"
            )
        return AudioError(f"too short: {found:.2f} s, the clip starts at {self.start:g} s")


class _Meter:
    """Stops a decoding that goes beyond its limits."""

    def __init__(self, limits: Limits):
        self.limits, self.deadline = limits, time.monotonic() + limits.time

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While others work on what was decoded, no time is counted."""
        began = time.monotonic()
        yield
        self.deadline += time.monotonic() - began

    def check(self, seconds: float) -> None:
        if seconds > self.limits.seconds:
            raise AudioError(f"too long: over {self.limits.seconds:g} s to decode, the limit ({self.limits.names[1]})")
        self.check_time()

    def check_time(self) -> None:
        if time.monotonic() > self.deadline:
            raise AudioError(f"too slow: decoding took over {self.limits.time:g} s, the limit ({self.limits.names[2]})")


def blocks(
    source: str | Path | BinaryIO | bytes | Cut, max_seconds: float = math.inf, limits: Limits = UNLIMITED
) -> Iterator[Block]:
    """The best audio stream of a file (`glat.data.formats`), of its bytes, of an open binary stream or of a piece of a
    longer recording, in blocks of a few seconds, so that memory does not grow with its length.

    Decoding stops soon after `max_seconds`. A `Cut` is exact to the sample (WebM: to 1 ms, as its times are), and less
    of it where the recording ends before. Its times are those of a player: where the sound begins later than the
    picture, there is silence before it.

    Raises AudioError: missing, unreadable (and no regular file), empty file, undecodable, no audio stream; truncated
    (less than the header declares, or an end in mid-packet), damaged (sound lost in the middle, a wrong checksum), both
    perhaps after some blocks; too short, or ambiguous, of a `Cut`; too big, too long, too slow, by the limits.
    """
    if isinstance(source, Cut):
        end = source.start + source.seconds
        may_be_whole = source.or_whole or source.last is not None
        piece = _Piece(source.start, end, True, source.seconds + OVERHANG if may_be_whole else 0.0, source.last)
        source = source.file
    else:
        piece = _Piece(0.0, max_seconds)
    meter = _Meter(limits)
    with opened(source, limits) as file:
        place = os.fsencode(source) if isinstance(source, str | Path) else file
        fast = _by_sndfile(file, place, piece, meter)
        block = None
        for block in _by_ffmpeg(file, piece, meter) if fast is None else fast:
            if not RATES[0] <= block.rate <= RATES[1]:
                raise AudioError(f"undecodable: a sample rate of {block.rate} Hz, not of {RATES[0]} to {RATES[1]}")
            with meter.waiting():
                yield block
        if block is None:
            raise AudioError("undecodable: no audio in it")


def decode(
    source: str | Path | BinaryIO | bytes | Cut, max_seconds: float = math.inf, limits: Limits = UNLIMITED
) -> Block:
    """All `blocks` as one. Raises AudioError as `blocks` does."""
    parts = list(blocks(source, max_seconds, limits))
    return Block(np.concatenate([part.samples for part in parts], axis=1), parts[0].rate)


@contextmanager
def opened(source: str | Path | BinaryIO | bytes, limits: Limits = UNLIMITED) -> Iterator[BinaryIO]:
    """A sound as an open binary stream. Raises AudioError for what is missing, unreadable, too big, or no regular file:
    a pipe would be waited for without end."""
    if not isinstance(source, str | Path):
        file = io.BytesIO(source) if isinstance(source, bytes | bytearray | memoryview) else source
        _check_size(file.seek(0, os.SEEK_END), limits)
        file.seek(0)
        yield file
        return
    try:
        # FFmpeg would read some names as protocols or patterns ("a:b.wav", "%03d.wav"): it gets the open file.
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise AudioError("missing: no such file") from None
    except OSError as error:
        raise AudioError(f"unreadable: {error.strerror or error}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise AudioError(f"unreadable: {_KINDS.get(stat.S_IFMT(status.st_mode), 'a device')}, not a file")
    with open(descriptor, "rb") as file:
        _check_size(status.st_size, limits)
        try:
            yield file
        except OSError as error:
            if isinstance(error, av.error.FFmpegError):
                raise
            raise AudioError(f"unreadable: {error.strerror or error}") from None


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.bytes:
        raise AudioError(f"too big: {size} bytes, over the limit of {limits.bytes:.0f} ({limits.names[0]})")


def _by_sndfile(file: BinaryIO, place: bytes | BinaryIO, piece: _Piece, meter: _Meter) -> Iterator[Block] | None:
    """A clean WAV or FLAC by libsndfile, which takes about half of FFmpeg's time for them.

    None for all else, and for any file that is not what its header says: FFmpeg then finds out what it is.
    """
    head = read_head(file)
    if head[:4] not in (b"RIFF", b"fLaC"):
        return None
    try:
        sound = soundfile.SoundFile(place)
    except (OSError, soundfile.LibsndfileError):
        return None
    rate, whole = sound.samplerate, sound.frames
    # libsndfile takes the length of a cut WAV from what is there, and a FLAC's unknown length for an endless one.
    promised = wav_seconds(file) if head[:4] == b"RIFF" else whole / rate if whole < 2**48 else None
    if promised is None or not whole or abs(promised - whole / rate) > 1e-3:
        sound.close()
        return None
    piece = piece.of(whole / rate)
    first = round(piece.start * rate)
    end = whole if math.isinf(piece.end) else math.floor(piece.end * rate) + 1
    end = min(whole, first + piece.samples(rate) if piece.exact else end)
    if end <= first:
        sound.close()
        return None
    try:
        sound.seek(first)
    except soundfile.LibsndfileError:
        sound.close()
        return None
    md5 = flac_md5(head) if first == 0 and end == whole else None
    return _read(sound, file, first, end, md5, meter)


def _read(
    sound: soundfile.SoundFile, file: BinaryIO | None, first: int, end: int, md5: bytes | None, meter: _Meter
) -> Iterator[Block]:
    """Samples `first`, where the file stands, to `end`; file: for FFmpeg, if it knows the format; md5: what the samples
    must have."""
    kind, width = {"PCM_S8": ("int16", 1), "PCM_16": ("int16", 2), "PCM_24": ("int32", 3)}.get(
        sound.subtype, ("float32", 4)
    )
    digest = hashlib.md5(usedforsecurity=False)
    step = max(1, BLOCK // sound.channels)
    with sound:
        for begin in range(first, end, step):
            wanted = min(step, end - begin)
            try:
                samples = sound.read(wanted, dtype=kind, always_2d=True)  # (samples, channels)
            except soundfile.LibsndfileError:
                samples = np.empty((0, 1))
            if len(samples) != wanted:
                # libsndfile stops at what FFmpeg would patch up: it may tell how much is there.
                for _ in _by_ffmpeg(file, _Piece(0.0, math.inf), meter) if file else ():
                    pass
                raise AudioError(f"damaged: samples between {begin / sound.samplerate:.2f} and "
                                 f"{(begin + wanted) / sound.samplerate:.2f} s are not what was written")  # fmt: skip
            meter.check((begin - first + wanted) / sound.samplerate)
            if md5 is not None:  # of little-endian integers, in as many bytes as they need
                whole = samples if kind == "int16" and width == 2 else samples >> 8
                raw = np.ascontiguousarray(whole, "<i4").view(np.uint8).reshape(-1, 4)
                digest.update(np.ascontiguousarray(raw[:, :width]))
            planar = samples.T.astype(np.float32, order="C")
            if kind != "float32":
                planar *= np.float32(2**-31 if kind == "int32" else 2**-15)
            yield Block(planar, sound.samplerate)
    if md5 is not None and digest.digest() != md5:
        raise AudioError("damaged: the samples do not have the MD5 that the FLAC header declares")


def _by_any_sndfile(file: BinaryIO, piece: _Piece, meter: _Meter) -> Iterator[Block]:
    """A format that libsndfile knows and FFmpeg does not. Raises LibsndfileError if it is none."""
    file.seek(0)
    sound = soundfile.SoundFile(file)
    whole, rate = sound.frames, sound.samplerate
    if not 0 < whole < 2**48:
        raise AudioError("undecodable: no audio in it")
    piece = piece.of(whole / rate)
    first = round(piece.start * rate)
    end = min(whole, first + piece.samples(rate) if piece.exact else piece.end * rate + 1)
    if end <= first:
        raise piece.ends_before(whole / rate, None)
    sound.seek(first)
    return _read(sound, None, first, int(end), None, meter)


def _by_ffmpeg(file: BinaryIO, asked: _Piece, meter: _Meter, may_seek: bool = True) -> Iterator[Block]:
    head = read_head(file)
    if not head:
        raise AudioError("empty file")
    options = {"format_whitelist": CONTAINERS}
    if head[:4] in (b"RIFF", b"fLaC"):
        # The header says all; FFmpeg would decode megabytes of it to see whether PCM hides another codec.
        options["probesize"] = "32768"
    try:
        container = av.open(file, options=options, metadata_errors="ignore")
    except av.error.FFmpegError as error:
        try:
            other = _by_any_sndfile(file, asked, meter)
        except (OSError, soundfile.LibsndfileError):
            page = head.lstrip()[:1] == b"<"
            raise AudioError("undecodable: a web page, not audio" if page else _undecodable(error)) from None
        yield from other
        return
    again = None
    try:
        with container:
            stream = container.streams.best("audio")
            if stream is None:
                raise AudioError("no audio stream")
            if stream.codec_context is None:
                raise AudioError("undecodable: a codec that FFmpeg does not know")
            decoding = _Decoding(container, stream, file, head)
            piece = asked
            if piece.whole_up_to:
                if (length := decoding.length()) is None:
                    again = _of_unknown_length(file, piece, meter)
                else:
                    piece = piece.of(length)
            if again is None:
                piece = piece.earlier(decoding.late)
                sought = may_seek and piece.start > 2 * PREROLL
                began = False
                try:
                    sought = sought and decoding.seek(piece.start - PREROLL)
                    for block in decoding.blocks(piece, asked, meter):
                        began = True
                        yield block
                except (_NotThere, av.error.FFmpegError):
                    if began or not sought:
                        raise
                    again = _by_ffmpeg(file, asked, meter, may_seek=False)
    except av.error.FFmpegError as error:
        raise AudioError(_undecodable(error)) from None
    if again is not None:
        yield from again


def _undecodable(error: av.error.FFmpegError) -> str:
    return f"undecodable: {error.strerror}"


class _NotThere(Exception):
    """A seek did not lead to a place before the piece, or nobody knows where it led."""


class _Decoding:
    """The audio stream of an open container, decoded from its beginning or from a place that was sought.

    late: seconds by which the sound begins behind the recording; promised: seconds of sound that there must be.
    """

    def __init__(self, container: av.container.InputContainer, stream: av.AudioStream, file: BinaryIO, head: bytes):
        self.container, self.stream, self.file = container, stream, file
        self.name, self.sought = container.format.name, False
        stream.codec_context.thread_count = 1
        self.codec = stream.codec_context.name
        self.lossless = self.codec in LOSSLESS or self.codec.startswith("pcm")
        if self.codec in LOSSLESS or self.codec in ("ac3", "eac3", "dca"):  # FFmpeg knows checksums, and does not look
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
        self.timed = self.name not in UNTIMED and (self.name not in PLAIN or is_plain(stream.codec_context))
        self.promised = promised_seconds(container, stream, file, head)
        self.late = seconds_late(container, stream)
        self.rate, self.channels, self.kind = 0, 0, ""
        self.first = self.end = 0.0  # of the first and the last frame, in samples of the recording
        self.lost = 0.0  # seconds that should be between the frames and are not
        self.bytes = 0  # of all packets
        self.holes: list[tuple[int, int, float]] = []  # between packets: place, bytes, and about how many seconds
        self.last: av.Packet | None = None
        self.last_fails = False
        self.good, self.good_bytes, self.last_good, self.smallest = (
            0,
            0,
            0,
            math.inf,
        )  # packets that decode, their bytes
        self.corrupt = -math.inf  # where FFmpeg marked the last packet that lacks something, in samples

    def length(self) -> float | None:
        """Seconds of the recording by its header; None if only decoding tells."""
        if not self.timed:
            return None
        if self.name == "ogg":
            place = self.file.tell()
            chained = ogg_is_chained(self.file)
            self.file.seek(place)
            known = self.container.duration and not chained
            return self.container.duration / av.time_base if known else None
        return None if self.promised is None else self.promised + self.late

    def seek(self, seconds: float) -> bool:
        """Go on from a place before `seconds`; False where the container has no times to seek by."""
        if not self.timed or (self.name == "ogg" and self.length() is None):
            return False
        try:
            place = int(seconds / self.stream.time_base) + (self.stream.start_time or 0)
            self.container.seek(place, stream=self.stream)
        except av.error.FFmpegError:
            raise _NotThere from None
        self.sought = True
        return True

    def blocks(self, piece: _Piece, asked: _Piece, meter: _Meter) -> Iterator[Block]:
        """Raises AudioError as `glat.data.decoding.blocks` does, and _NotThere if what was sought is not there."""
        frames: list[np.ndarray] = []
        waiting = given = 0  # samples
        begun, most = False, math.inf
        for frame in self._frames(meter):
            begin, self.end = self.end, self.end + frame.samples
            if self.end <= piece.start * self.rate:
                continue
            array = self._planar(frame)
            if not begun:
                if self.sought and begin > piece.start * self.rate:
                    raise _NotThere
                begun, most = True, piece.samples(self.rate)
                skip = round(piece.start * self.rate - begin)
                array = np.pad(array, ((0, 0), (-skip, 0))) if skip < 0 else array[:, skip:]
            frames.append(array)
            waiting += array.shape[1]
            if waiting * self.channels >= BLOCK:
                yield self._block(frames, most - given)
                given, waiting, frames = given + waiting, 0, []
            if self.end > piece.end * self.rate:
                break
        else:
            self._check_end(piece, asked, begun)
        if frames and given < most:
            yield self._block(frames, most - given)
        self._check_lost(piece, meter)

    def _planar(self, frame: av.AudioFrame) -> np.ndarray:
        array = frame.to_ndarray()
        return array if self.kind.endswith("p") else array.reshape(-1, self.channels).T

    def _block(self, frames: list[np.ndarray], most: float) -> Block:
        # In C order: over interleaved samples the mean would take longer than the decoder.
        samples = np.concatenate(frames, axis=1).astype(np.float32, order="C", copy=False)
        if samples.shape[1] > most:
            samples = samples[:, : int(most)]
        kind = self.kind.removesuffix("p")
        if kind == "u8":
            samples -= np.float32(128)
        if _FULL_SCALE[kind] != 1:
            samples *= np.float32(1 / _FULL_SCALE[kind])
        return Block(samples, self.rate)

    def _frames(self, meter: _Meter) -> Iterator[av.AudioFrame]:
        """Every frame that decodes. What is lost between two of them is counted."""
        failed = 0.0  # seconds of packets that did not decode since the last frame
        before = math.nan  # where the last frame ends, by the container's times
        after = None  # the byte behind the last packet
        for packet in self._packets():
            if packet.size:
                self.last, self.bytes = packet, self.bytes + packet.size
                if self.name in UNTIMED and packet.pos is not None:
                    if self.rate and after is not None and packet.pos > after:
                        seconds = (packet.pos - after) * float((packet.duration or 0) * packet.time_base) / packet.size
                        self.holes.append((after, packet.pos - after, seconds))
                    after = packet.pos + packet.size
            if packet.is_corrupt:
                self.corrupt = self.end
            try:
                decoded = packet.decode()
                self.last_fails = False
            except av.error.FFmpegError:
                self.last_fails = True
                failed += self._seconds(packet) if self.rate else 0.0
                continue
            if packet.size and self.last_good:
                self.smallest = min(self.smallest, self.last_good)
            self.last_good = packet.size
            self.good, self.good_bytes = self.good + 1, self.good_bytes + packet.size
            for frame in decoded:
                layout = (frame.sample_rate, frame.layout.nb_channels, frame.format.name)
                at = self._time(frame)
                if not self.rate:
                    self.rate, self.channels, self.kind = layout
                    if self.sought:
                        if math.isnan(at):
                            raise _NotThere
                        self.first = self.end = at * self.rate
                elif layout != (self.rate, self.channels, self.kind):
                    raise AudioError("undecodable: sample rate, channels or format change within the file")
                gap = at - before if self.timed and not math.isnan(at - before) else 0.0
                self.lost += max(failed, gap if gap > LOST else 0.0)
                failed, before = 0.0, at + frame.samples / self.rate
                yield frame
            if self.rate:
                meter.check((self.end - self.first) / self.rate)

    def _seconds(self, packet: av.Packet) -> float:
        """About how much sound is lost with a packet that does not decode. In formats that are packets and nothing else,
        it is all bytes between two good ones, tags perhaps."""
        seconds = float((packet.duration or 0) * packet.time_base)
        if self.name not in UNTIMED or not self.good:
            return seconds
        return 0.0 if is_tag(bytes(packet)[:8]) else seconds * max(1.0, packet.size * self.good / self.good_bytes)

    def _packets(self) -> Iterator[av.Packet]:
        # A file cut in mid-packet ends the stream; how much is missing is told by the promised duration.
        packets = self.container.demux(self.stream)
        while True:
            try:
                yield next(packets)
            except (StopIteration, av.error.InvalidDataError, av.error.EOFError, av.error.BlockingIOError):
                return

    def _time(self, frame: av.AudioFrame) -> float:
        """Seconds from the stream's first sample; NaN where the container does not say."""
        if frame.pts is None:
            return math.nan
        return float((frame.pts - (self.stream.start_time or 0)) * self.stream.time_base)

    def _check_end(self, piece: _Piece, asked: _Piece, begun: bool) -> None:
        """Whether the sound may end where it does."""
        if not self.end:
            if self.sought:
                raise _NotThere
            raise AudioError("undecodable: no audio in it")
        found = self.end / self.rate
        if self.name == "ogg" and (why := ogg_end(self.file)):
            raise AudioError(f"truncated: {found:.2f} s decoded, and {why}")
        if not begun:
            if self.sought:
                raise _NotThere
            promised = None if self.promised is None else self.promised + self.late
            raise asked.ends_before(found + self.late, promised)
        if self.name == "aac" and self.good:  # FFmpeg skips what is no packet, and tells nobody where
            skipped = sound_bytes(self.file) - self.bytes
            self.lost = max(self.lost, skipped / self.good_bytes * self.end / self.rate)
        if found < piece.end:
            if self._ends_within():
                raise AudioError(f"truncated: {found:.2f} s decoded, and the file ends within a packet")
            if self.promised is None:
                self._check_tail(found)
        if self.promised is None:
            return
        # A header may count a frame too many, or round to milliseconds.
        slack = 0.1
        if self.lossless:
            slack = 0.02 if "matroska" in self.name else 0.5 / self.rate if self.name == "flac" else 1e-3
        elif self.name in ("mp3", "rm"):
            slack = 1728 / self.rate if self.name == "mp3" else 0.5
        there = min(piece.end, self.promised) - piece.start
        if there - (found - piece.start) > slack:
            raise AudioError(f"truncated: {found - piece.start:.2f} of {there:.2f} s decoded")

    def _check_tail(self, found: float) -> None:
        """Of formats that do not know their length: whether what is behind the last packet should have been sound."""
        size, zeros = self.file.seek(0, os.SEEK_END), zeros_at_end(self.file)
        # Zeros in PCM are silence, but for an AVI's, behind which its index stands.
        empty = zeros * found / max(1, size - zeros) if self.name == "avi" or not self.codec.startswith("pcm") else 0.0
        if empty > LOST and zeros > 512:  # a tag may be filled up with fewer
            raise AudioError(f"truncated: {found:.2f} s decoded, and the file ends in {zeros} zero bytes")
        if (zeros < 188 or self.name == "voc") and (why := missing_end(self.file, self.name)):
            raise AudioError(f"truncated: {found:.2f} s decoded, and {why}")
        if self.name == "avi" and not self.sought:
            listed = sum(entry.size for entry in self.stream.index_entries)
            if (listed - self.bytes) / max(1, self.bytes) * found > LOST:
                raise AudioError(f"damaged: {self.bytes} of {listed} bytes of sound found that the index lists")

    def _ends_within(self) -> bool:
        """Whether the file is cut off within a packet, or before the end that it declares."""
        if self.name in ("w64", "caf", "avi") or (self.name in PLAIN and not self.timed):
            declared = declared_bytes(self.file)
            return declared is not None and declared > self.file.seek(0, os.SEEK_END) + 1
        if self.promised is not None:
            return False
        if self.name in ("mp3", "aac"):
            packet = bytes(self.last)
            return len(packet) < packet_bytes(packet[:7])
        if self.name in UNTIMED and self.last.size < self.smallest:
            return True
        return self.last_fails or self.corrupt > self.end - LOST * self.rate

    def _check_lost(self, piece: _Piece, meter: _Meter) -> None:
        for place, size, seconds in self.holes:
            self.file.seek(place)
            if not is_tag(self.file.read(min(size, 8))):
                self.lost += seconds
        if self.lost > (0 if self.lossless else LOST):
            raise AudioError(f"damaged: {self.lost:.2f} s of the sound are lost")
        if self.name == "ogg" and not piece.exact and (why := ogg_damage(self.file, meter.check_time)):
            raise AudioError(f"damaged: {why}")


def _of_unknown_length(file: BinaryIO, piece: _Piece, meter: _Meter) -> Iterator[Block]:
    """A piece of a recording whose length only decoding tells, or all of it if it is short."""
    beginning = list(_by_ffmpeg(file, _Piece(0.0, piece.whole_up_to), meter))
    length = sum(block.samples.shape[1] for block in beginning) / beginning[0].rate
    wanted = piece.of(length)
    yield from _by_ffmpeg(file, wanted, meter) if wanted.exact else beginning

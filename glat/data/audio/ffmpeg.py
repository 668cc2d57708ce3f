"""FFmpeg (through PyAV): nearly all formats, and whether all of the sound was there."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator
from typing import BinaryIO

import av
import numpy as np
import soundfile
from av.audio.plane import AudioPlane

from ..kinds import Kind
from . import layout, ogg
from .chunks import place_kept
from .formats import CONTAINERS, FLAT, LOSSLESS, PLAIN, UNTIMED
from .guard import LARGEST
from .headers import is_plain, promised_seconds, read_head, seconds_late
from .losses import LOST, Losses
from .pieces import BLOCK, AudioError, Block, Meter, NoSound, Piece
from .sndfile import any_format
from .tags import zeros_at_end

PREROLL = 0.5  # seconds decoded before a piece: a decoder needs some of its past to give the right samples
_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
_FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}

av.logging.set_level(None)
av.logging.set_libav_level(av.logging.PANIC)


def read(file: BinaryIO, asked: Piece, meter: Meter, may_seek: bool = True) -> Iterator[Block]:
    """The blocks of a piece; of what FFmpeg does not know, those of libsndfile. Raises AudioError as `decoding.blocks`."""
    head = read_head(file)
    if not head:
        raise AudioError(Kind.EMPTY)
    options = {"format_whitelist": CONTAINERS}
    if head[:4] in (b"RIFF", b"fLaC"):
        # The header says all; FFmpeg would decode megabytes of it to see whether PCM hides another codec.
        options["probesize"] = "32768"
    try:
        container = av.open(file, options=options, metadata_errors="ignore")
    except av.error.FFmpegError as error:
        try:
            other = any_format(file, asked, meter)
        except soundfile.LibsndfileError:
            page = head.lstrip()[:1] == b"<"
            raise AudioError(Kind.UNDECODABLE, "a web page, not audio") if page else _refused(error) from None
        yield from other
        return
    again = None
    try:
        with container:
            stream = container.streams.best("audio")
            if stream is None:
                raise AudioError(Kind.NO_AUDIO_STREAM)
            if stream.codec_context is None:
                raise AudioError(Kind.UNDECODABLE, "a codec that FFmpeg does not know")
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
                    again = read(file, asked, meter, may_seek=False)
    except av.error.FFmpegError as error:
        raise _refused(error) from None
    if again is not None:
        yield from again


def _refused(error: av.error.FFmpegError) -> AudioError:
    if error.errno == errno.ENOMEM:
        needs = f"it needs over {LARGEST} bytes at once, for a packet or for the tables that its header declares"
        return AudioError(Kind.TOO_BIG, needs)
    kind = NoSound if isinstance(error, av.error.EOFError) else AudioError
    return kind(Kind.UNDECODABLE, error.strerror)


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
        self.tick = stream.time_base.as_integer_ratio()  # as a Fraction it would take longer than the decoder
        self.rate, self.channels, self.kind = 0, 0, ""
        self.first = self.end = 0.0  # of the first and the last frame, in samples of the recording
        self.losses = Losses(file, self.name, stream.codec_context.codec.canonical_name, self.timed)
        self.bytes = 0  # of all packets
        self.corrupt = -math.inf  # where FFmpeg marked the last packet that lacks something, in samples

    def length(self) -> float | None:
        """Seconds of the recording by its header; None if only decoding tells."""
        if not self.timed:
            return None
        if self.name == "ogg":
            with place_kept(self.file):
                chained = ogg.is_chained(self.file)
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

    def blocks(self, piece: Piece, asked: Piece, meter: Meter) -> Iterator[Block]:
        """Raises AudioError as `decoding.blocks` does, and _NotThere if what was sought is not there."""
        frames: list[np.ndarray] = []
        waiting = given = 0  # samples
        begun, ended, most = False, False, math.inf
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
            self._check_end(piece, asked, begun, meter)
            ended = True
        if frames and given < most:
            yield self._block(frames, most - given)
        self._check_lost(piece, ended and self.end < piece.end * self.rate, meter)

    def _planar(self, frame: av.AudioFrame) -> np.ndarray:
        if not self.kind.endswith("p"):
            return frame.to_ndarray().reshape(-1, self.channels).T
        # PyAV's own `planes` go on to the first null pointer, and behind the eighth channel there need be none.
        array = np.empty((self.channels, frame.samples), _TYPES[self.kind.removesuffix("p")])
        for channel, row in enumerate(array):
            row[:] = np.frombuffer(AudioPlane(frame, channel), array.dtype, frame.samples)
        return array

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

    def _frames(self, meter: Meter) -> Iterator[av.AudioFrame]:
        """Every frame that decodes."""
        for packet in self._packets():
            self.bytes += packet.size
            if packet.is_corrupt and self.name not in PLAIN:  # there, the last one may be a short one
                self.corrupt = self.end
            try:
                decoded = packet.decode()
            except av.error.FFmpegError:
                self.losses.failed(packet)
                continue
            self.losses.decoded(packet)
            for frame in decoded:
                kind = (frame.sample_rate, frame.layout.nb_channels, frame.format.name)
                at = self._time(frame)
                if not self.rate:
                    self.rate, self.channels, self.kind = kind
                    if self.sought:
                        if math.isnan(at):
                            raise _NotThere
                        self.first = self.end = at * self.rate
                elif kind != (self.rate, self.channels, self.kind):
                    raise AudioError(Kind.UNDECODABLE, "sample rate, channels or format change within the file")
                self.losses.frame(packet, at, frame.samples, self.rate)
                yield frame
            if self.rate:
                meter.check((self.end - self.first) / self.rate)

    def _packets(self) -> Iterator[av.Packet]:
        # A file cut in mid-packet ends the stream; how much is missing is told by the promised duration.
        packets = self.container.demux(self.stream)
        while True:
            try:
                yield next(packets)
            except (StopIteration, av.error.InvalidDataError, av.error.EOFError, av.error.BlockingIOError):
                return
            except IndexError:  # at the end, PyAV looks for streams that FFmpeg has found only meanwhile
                return

    def _time(self, frame: av.AudioFrame) -> float:
        """Seconds from the stream's first sample; NaN where the container does not say."""
        if frame.pts is None:
            return math.nan
        return (frame.pts - (self.stream.start_time or 0)) * self.tick[0] / self.tick[1]

    def _check_end(self, piece: Piece, asked: Piece, begun: bool, meter: Meter) -> None:
        """Whether the sound may end where it does."""
        if not self.end:
            if self.sought:
                raise _NotThere
            raise NoSound(Kind.UNDECODABLE, "no audio in it")
        found = self.end / self.rate
        if self.name == "ogg" and (why := ogg.end(self.file)):
            raise AudioError(Kind.TRUNCATED, f"{found:.2f} s decoded, and {why}")
        if not begun:
            if self.sought:
                raise _NotThere
            promised = None if self.promised is None else self.promised + self.late
            raise asked.ends_before(found + self.late, promised)
        whole = found >= piece.end
        if not whole and self.promised is None:
            if self.losses.last_fails or self.losses.cut or self.corrupt > self.end - LOST * self.rate:
                raise AudioError(Kind.TRUNCATED, f"{found:.2f} s decoded, and the file ends within a packet")
            self._check_tail(found)
        if self.promised is not None:
            self._check_promise(piece, found)
        if not whole and (fault := layout.fault(self.file, self.name, meter.check_time)):
            raise AudioError(fault.kind, f"{found:.2f} s decoded, and {fault}")

    def _check_promise(self, piece: Piece, found: float) -> None:
        """Whether there is what the header declares."""
        # A header may count a frame too many, or round to milliseconds.
        slack = 0.1
        if self.lossless:
            slack = 0.02 if "matroska" in self.name else 0.5 / self.rate if self.name == "flac" else 1e-3
        elif self.name in ("mp3", "rm"):
            slack = 1728 / self.rate if self.name == "mp3" else 0.5
        there = min(piece.end, self.promised) - piece.start
        if there - (found - piece.start) > slack:
            raise AudioError(Kind.TRUNCATED, f"{found - piece.start:.2f} of {there:.2f} s decoded")

    def _check_tail(self, found: float) -> None:
        """Of formats that do not know their length: whether what is behind the last packet should have been sound."""
        size, zeros = self.file.seek(0, os.SEEK_END), zeros_at_end(self.file)
        silence = self.codec.startswith("pcm") and self.name in FLAT
        empty = 0.0 if silence else zeros * found / max(1, size - zeros)
        if empty > LOST and zeros > 512:  # a tag may be filled up with fewer
            raise AudioError(Kind.TRUNCATED, f"{found:.2f} s decoded, and the file ends in {zeros} zero bytes")
        if self.name == "avi" and not self.sought:
            listed = sum(entry.size for entry in self.stream.index_entries)
            if (listed - self.bytes) / max(1, self.bytes) * found > LOST:
                raise AudioError(Kind.DAMAGED, f"{self.bytes} of {listed} bytes of sound found that the index lists")

    def _check_lost(self, piece: Piece, at_end: bool, meter: Meter) -> None:
        lost = self.losses.seconds((self.end - self.first) / self.rate, at_end)
        if lost > (0 if self.lossless else LOST):
            raise AudioError(Kind.DAMAGED, f"{lost:.2f} s of the sound are lost")
        if self.name == "ogg" and not piece.exact and (why := ogg.damage(self.file, meter.check_time)):
            raise AudioError(Kind.DAMAGED, f"{why}")


def _of_unknown_length(file: BinaryIO, piece: Piece, meter: Meter) -> Iterator[Block]:
    """A piece of a recording whose length only decoding tells, or all of it if it is short."""
    beginning = list(read(file, Piece(0.0, piece.whole_up_to), meter))
    length = sum(block.samples.shape[1] for block in beginning) / beginning[0].rate
    wanted = piece.of(length)
    yield from read(file, wanted, meter) if wanted.exact else beginning

"""From an open container to samples: an audio stream's packets, their frames, and blocks of what is wanted of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from av.audio.plane import AudioPlane

from ..kinds import Kind
from . import ends, ogg
from .chunks import keep_place
from .formats import LOSSLESS, PLAIN, UNTIMED
from .headers import is_plain, promised_seconds, seconds_late
from .losses import LOST, Losses
from .pieces import BLOCK, AudioError, Block, Meter, Piece
from .stream import ByteStream

_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
_FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}


class NotThere(Exception):
    """A seek did not lead to a place before the piece, or nobody knows where it led."""


class Decoding:
    """The audio stream of an open container, decoded from its beginning or from a place that was sought.

    late: seconds by which the sound begins behind the recording; promised: seconds of sound that there must be.
    """

    def __init__(self, container: av.container.InputContainer, stream: av.AudioStream, file: ByteStream, head: bytes):
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
        assert stream.time_base is not None  # FFmpeg sets it of each stream that it opens
        self.tick = stream.time_base.as_integer_ratio()  # as a Fraction it would take longer than the decoder
        self.rate, self.channels, self.kind = 0, 0, ""
        self.first = self.end = 0.0  # of the first and the last frame, in samples of the recording
        self.losses = Losses(file, self.name, stream.codec_context.codec.canonical_name, self.timed)
        self.bytes = 0  # of all packets
        self.corrupt = -math.inf  # where FFmpeg marked the last packet that lacks something, in samples
        self.gap, self.silence = 0.0, 0  # seconds lost for which no silence was given; samples of silence that was
        self.failure: AudioError | None = None  # why nothing is decoded behind the last frame
        self.holes: list[float] = []  # where sound is lost, in seconds of the recording

    def length(self) -> float | None:
        """Seconds of the recording by its header; None if only decoding tells."""
        if not self.timed:
            return None
        if self.name == "ogg":
            with keep_place(self.file):
                chained = ogg.is_chained(self.file)
            duration = self.container.duration
            return duration / av.time_base if duration and not chained else None
        return None if self.promised is None else self.promised + self.late

    def seek(self, seconds: float) -> bool:
        """Go on from a place before `seconds`; False where the container has no times to seek by."""
        if not self.timed or (self.name == "ogg" and self.length() is None):
            return False
        try:
            place = int(seconds / Fraction(*self.tick)) + (self.stream.start_time or 0)
            self.container.seek(place, stream=self.stream)
        except av.error.FFmpegError:
            raise NotThere from None
        self.sought = True
        return True

    def blocks(self, piece: Piece, asked: Piece, meter: Meter) -> Iterator[Block]:
        """Raises AudioError as `decoding.blocks` does, and NotThere if what was sought is not there."""
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
                    raise NotThere
                begun, most = True, piece.samples(self.rate)
                skip = round(piece.start * self.rate - begin)
                array = np.pad(array, ((0, 0), (-skip, 0))) if skip < 0 else array[:, skip:]
            if self.gap > (0 if self.lossless else LOST) and math.isinf(piece.end):
                yield from self._fill(frames, begin, meter)
                given, waiting, frames = given + waiting, 0, []
            frames.append(array)
            waiting += array.shape[1]
            if waiting * self.channels >= BLOCK:
                yield self._block(frames, most - given)
                given, waiting, frames = given + waiting, 0, []
            if self.end > piece.end * self.rate:
                break
        else:
            if self.sought and not begun:
                raise NotThere
            ended = self.failure is None
        if frames and given < most:
            yield self._block(frames, most - given)
        if self.failure:
            raise self.failure
        if ended:
            ends.check_end(self, piece, asked, begun, meter)
        ends.check_lost(self, piece, ended and self.end < piece.end * self.rate, meter)

    def _fill(self, frames: list[np.ndarray], place: float, meter: Meter) -> Iterator[Block]:
        """The frames that wait, and silence in the place of what is lost behind them, at sample `place`: so what comes later
        keeps its time. The sound is refused at its end (`ends.check_lost`)."""
        if frames:
            yield self._block(frames, math.inf)
        self.holes.append((place + self.silence) / self.rate)
        left, self.gap = round(self.gap * self.rate), 0.0
        while left:
            step = min(left, max(1, BLOCK // self.channels))
            left, self.silence = left - step, self.silence + step
            meter.check((self.end + self.silence) / self.rate)
            yield Block(np.zeros((self.channels, step), np.float32), self.rate)

    def _planar(self, frame: av.AudioFrame) -> np.ndarray:
        if not self.kind.endswith("p"):
            return frame.to_ndarray().reshape(-1, self.channels).T
        # PyAV's own `planes` go on to the first null pointer, and behind the eighth channel there need be none.
        array = np.empty((self.channels, frame.samples), _TYPES[self.kind.removesuffix("p")])
        for channel, row in enumerate(array):
            row[:] = np.frombuffer(memoryview(AudioPlane(frame, channel)), array.dtype, frame.samples)
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
                self.losses.count_failed(packet)
                continue
            self.losses.count_decoded(packet)
            for frame in decoded:
                kind = (frame.sample_rate, frame.layout.nb_channels, frame.format.name)
                at = self._time(frame)
                if not self.rate:
                    self.rate, self.channels, self.kind = kind
                    if self.sought:
                        if math.isnan(at):
                            raise NotThere
                        self.first = self.end = at * self.rate
                elif kind != (self.rate, self.channels, self.kind):
                    behind = f"{kind[0]} Hz and {kind[1]} channels"
                    self._end_with(f"it has {behind}, not {self.rate} Hz and {self.channels} as before")
                    return
                self.gap += self.losses.frame(packet, at, frame.samples, self.rate)
                yield frame
            if self.rate:
                meter.check((self.end - self.first) / self.rate)

    def _end_with(self, why: str) -> None:
        """Decode no more, for a change within the sound. Raises AudioError where there is nothing that could be given first."""
        place = f"from {self.end / self.rate:.1f} s on " if self.rate else ""
        self.failure = AudioError(Kind.UNDECODABLE, f"{place}{why}; convert it to one format first")
        if not self.end:
            raise self.failure

    def _packets(self) -> Iterator[av.Packet[av.AudioStream]]:
        # A file cut in mid-packet ends the stream; the promised duration shows how much is missing.
        packets = self.container.demux(self.stream)
        while True:
            try:
                yield next(packets)
            except (StopIteration, av.error.InvalidDataError, av.error.EOFError, av.error.BlockingIOError):
                return
            except av.error.PatchWelcomeError:
                self._end_with("FFmpeg cannot go on, as where the sample rate changes")
                return
            except IndexError:  # at the end, PyAV looks for streams that FFmpeg has found only meanwhile
                return

    def _time(self, frame: av.AudioFrame) -> float:
        """Seconds from the stream's first sample; NaN where the container does not say."""
        if frame.pts is None:
            return math.nan
        return (frame.pts - (self.stream.start_time or 0)) * self.tick[0] / self.tick[1]

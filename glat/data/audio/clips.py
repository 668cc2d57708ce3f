"""Audio of any kind to mono int16 of at least a clip's length, with a reason for all that cannot be one.

soxr resamples. Mono is the plain mean of the channels, whatever their number or layout, as in librosa: 5.1 surround is
not weighted. Where the channels cancel each other, as of a recording with one plug the wrong way round, it is the first
channel that sounds (`Mono`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soxr

from ..kinds import Kind
from .decoding import blocks, decode
from .pieces import OVERHANG, UNLIMITED, AudioError, Block, Cut, Limits

__all__ = [
    "OVERHANG", "UNLIMITED", "AudioError", "Clip", "Cut", "Limits", "Mono", "Samples", "Statistics", "blocks",
    "count_wraps", "decode", "prepare", "statistics", "to_int16",
]  # fmt: skip

SILENCE = 10 ** (-90 / 20)  # peak, relative to full scale: about one step of int16
FULL = 1 - 2**-15  # the largest int16
CANCELS = 0.01  # share that is left of the power that the mean of unrelated channels has
LONG = 300.0  # seconds; of a longer clip, nothing but int16 samples is held in memory
CHUNK = 2**22  # samples that statistics take at a time


class Samples(NamedTuple):
    """Audio that is decoded already: samples (samples,) int16 or float32 of full scale 1, mono; rate: Hz."""

    samples: np.ndarray
    rate: int


class Clip(NamedTuple):
    """samples: (samples,) int16, mono; of its source, rate: Hz, seconds: how much was found, wraps: `count_wraps`."""

    samples: np.ndarray
    rate: int
    seconds: float
    wraps: int


class Statistics(NamedTuple):
    """Of a clip's int16 samples: peak, mean and root mean square relative to full scale; clipped: share of samples at
    full scale; jumps: places where integers wrapped around, of the source's samples, per sample of the clip."""

    peak: float
    mean: float
    rms: float
    clipped: float
    jumps: float


class Mono:
    """Mixes the channels of a clip, block by block, in the memory of two of them.

    The mean of C channels of equal power P has the power P / C if they have nothing in common, and P if they are equal.
    Where less than `CANCELS` of P / C is left, the channels cancel each other (of two: a correlation under -0.99), and
    the first channel that sounds is taken instead.
    """

    def __init__(self) -> None:
        self._means: list[np.ndarray] = []
        self._single: list[np.ndarray] = []
        self._channel: int | None = None
        self._power = 0.0  # of the channels, summed over them and time
        self._mean_power = 0.0
        self.samples, self.wraps = 0, 0
        self.holds = True  # whether blocks are kept, for `mix`

    def add(self, block: np.ndarray) -> None:
        """(channels, samples) float32, full scale 1."""
        self.samples += block.shape[1]
        self.wraps = max(self.wraps, 0) + max(map(count_wraps, block), default=0)
        if len(block) == 1:
            self._keep(self._means, block[0])
            return
        mean = block.mean(axis=0)
        self._mean_power += float(np.dot(mean, mean))
        self._keep(self._means, mean)
        if self._channel is None:
            peaks = np.abs(block).max(axis=1)
            if peaks.max(initial=0) >= SILENCE:
                self._channel = int(peaks.argmax())
        self._power += float(sum(np.dot(channel, channel) for channel in block)) / len(block) ** 2
        self._keep(self._single, block[self._channel or 0].copy())  # a view would keep the block

    def _keep(self, blocks: list[np.ndarray], samples: np.ndarray) -> None:
        if self.holds:
            blocks.append(samples)

    def forget(self) -> None:
        """Drop the blocks and keep no more of them: what was learnt of the channels remains, for `of`."""
        self.holds = False
        self._means.clear()
        self._single.clear()

    def of(self, block: np.ndarray) -> np.ndarray:
        """(samples,) of one block of a clip that was added whole, mixed as `mix` would have mixed it."""
        cancels = self._channel is not None and self._mean_power < CANCELS * self._power
        return block[self._channel] if cancels else block.mean(axis=0)

    def mix(self) -> np.ndarray:
        """(samples,) float32 of all blocks."""
        mean = np.concatenate(self._means) if self._means else np.zeros(0, np.float32)
        # NaN is no less than anything: the mean tells it.
        if self._channel is not None and np.dot(mean, mean) < CANCELS * self._power:
            return np.concatenate(self._single)
        return mean


def prepare(
    source: Path | BinaryIO | bytes | Cut | Samples | AudioError,
    rate: int = 32000,
    seconds: float = 10.0,
    min_seconds: float = 0.5,
    limits: Limits = UNLIMITED,
    longest: float = 0.0,
) -> Clip:
    """One clip for the pack.

    source: an audio file, its bytes or an open stream, a piece of a longer file, samples, or the reason why there are
    none. The clip has (rate * seconds,) samples, zero-padded at the end; or more, up to `longest` seconds, where that is
    more. What is longer is cut there. Float is rounded and clipped, never wrapped. No more than the clip is held in
    memory, mono; of one over `LONG` seconds, which is decoded twice for that, no more than its int16 samples.

    Raises AudioError for what `blocks` raises, and: not finite (NaN or infinity), silent (peak under -90 dB of full
    scale), constant (every sample the same), too short (under `min_seconds`), too long (more than 1 s over what is kept:
    an uncut recording, to which the labels would not fit).
    """
    if isinstance(source, AudioError):
        raise source
    longest = max(seconds, longest)
    mono, source_rate = Mono(), 0
    if isinstance(source, Samples):
        if len(source.samples) > (longest + OVERHANG) * source.rate:
            raise AudioError(Kind.TOO_LONG, _too_long(source, longest))
        samples, source_rate = _as_block(source)
        mono.add(samples)
    else:
        for _, source_rate in blocks(source, longest + OVERHANG, limits, mono.add):
            if mono.samples > (longest + OVERHANG) * source_rate:
                raise AudioError(Kind.TOO_LONG, _too_long(source, longest))
            if mono.samples > LONG * source_rate and mono.holds:
                mono.forget()
    found = mono.samples / source_rate
    if found < min_seconds:
        raise AudioError(Kind.TOO_SHORT, f"{found:.2f} s, at least {min_seconds:g} s needed (audio.min_seconds)")
    if not mono.holds:
        samples = _stream(source, mono, source_rate, rate, longest, limits)
        samples = np.pad(samples, (0, max(0, round(rate * seconds) - len(samples))))
        return Clip(samples, source_rate, found, mono.wraps)
    mixed = mono.mix()
    _check_extremes(mixed.min(), mixed.max())
    if source_rate != rate:
        mixed = soxr.resample(mixed, source_rate, rate, quality="HQ")
    length = len(mixed) if longest == math.inf else min(len(mixed), round(rate * longest))
    return Clip(to_int16(mixed, max(length, round(rate * seconds))), source_rate, found, mono.wraps)


def _stream(
    source: Path | BinaryIO | bytes | Cut | Samples,
    mono: Mono,
    source_rate: int,
    rate: int,
    longest: float,
    limits: Limits,
) -> np.ndarray:
    """(samples,) int16 of a long clip, decoded a second time and resampled block by block."""
    stream = soxr.ResampleStream(source_rate, rate, 1, dtype="float32", quality="HQ") if source_rate != rate else None
    parts: list[np.ndarray] = []
    low, high = math.inf, -math.inf
    again = [_as_block(source)] if isinstance(source, Samples) else blocks(source, longest + OVERHANG, limits)
    for block, _ in again:
        samples = mono.of(block)
        # NaN is no less than anything, and stays where it comes first.
        low, high = float(np.minimum(low, samples.min())), float(np.maximum(high, samples.max()))
        samples = stream.resample_chunk(samples) if stream else samples
        parts.append(to_int16(samples, len(samples)))
    if stream:
        samples = stream.resample_chunk(np.zeros(0, np.float32), last=True)
        parts.append(to_int16(samples, len(samples)))
    _check_extremes(low, high)
    whole = np.concatenate(parts)
    return whole if longest == math.inf else whole[: round(rate * longest)]


def _check_extremes(low: float, high: float) -> None:
    """Raise AudioError unless the lowest and the highest sample are those of a sound."""
    if not (np.isfinite(low) and np.isfinite(high)):
        raise AudioError(Kind.NOT_FINITE, "NaN or infinite samples")
    if max(high, -low) < SILENCE:
        raise AudioError(Kind.SILENT, "peak under -90 dB of full scale")
    if high == low:
        raise AudioError(Kind.CONSTANT, f"every sample is {low:.3g} of full scale")


def _too_long(source: object, seconds: float) -> str:
    """Why a clip of over `seconds` is none, and the settings that would keep it."""
    message = f"over {seconds + OVERHANG:g} s, and a clip has {seconds:g} s; set audio.clip_seconds to its length"
    if isinstance(source, Path | Cut):
        return f"{message}, or source.full_videos to true if it is a whole recording that the clip is to be cut from"
    return message


def _as_block(source: Samples) -> Block:
    scale = np.float32(2**-15 if source.samples.dtype == np.int16 else 1)
    return Block(source.samples[None].astype(np.float32) * scale, source.rate)


def count_wraps(samples: np.ndarray) -> int:
    """How often integers wrapped around in (samples,) float32 of full scale 1, out and back counted both.

    A step of more than full scale is one if the signal goes on behind it as it came, once two full scales are added or
    taken off: it leads on in the direction of the three samples to both sides or, in noise, is no larger than their steps.
    A square wave's steps, a sawtooth's and a clipped wave's are not: theirs lead from one level to another, in one direction
    alone, or from full scale.
    """
    steps = np.diff(samples)
    sizes = np.abs(steps)
    large = np.flatnonzero(sizes > 1)
    large = large[(large >= 3) & (large < len(steps) - 3)]
    if len(large) < 2 or 10 * np.count_nonzero(np.abs(samples) >= FULL) > len(large):
        return 0
    outward = steps[large] < 0
    around = steps[large[:, None] + np.arange(-3, 4)]  # (steps, 7)
    if not np.isfinite(around).all():
        return 0
    around = (around + 1) % 2 - 1
    ahead = np.where(outward, 1, -1) * around.sum(axis=1)
    wraps = (ahead > 3 * np.abs(around[:, 3])) & (np.abs(around).max(axis=1) < 0.5)
    size, beside = (np.sqrt(np.square(part).mean()) for part in (around[:, 3], np.delete(around, 3, axis=1)))
    if size < min(0.5, 1.6 * beside):
        wraps[:] = True
    out, back = int(np.count_nonzero(wraps & outward)), int(np.count_nonzero(wraps & ~outward))
    return 2 * min(out, back) if 4 * (out + back) >= len(large) else 0


def statistics(samples: np.ndarray, wraps: int | None = None) -> Statistics:
    """`Statistics` of (samples,) int16. wraps: those of the source, where it had other samples."""
    if len(samples) > CHUNK:
        parts = [samples[first : first + CHUNK] for first in range(0, len(samples), CHUNK)]
        weights = np.array([len(part) for part in parts]) / len(samples)
        found = np.array([statistics(part, wraps) for part in parts])
        mean, clipped, square = (weights @ column for column in (found[:, 1], found[:, 3], found[:, 2] ** 2))
        jumps = weights @ found[:, 4] if wraps is None else wraps / len(samples)
        return Statistics(*map(float, (found[:, 0].max(), mean, square**0.5, clipped, jumps)))
    wide = samples.astype(np.int32)
    peak = int(np.abs(wide).max())
    clipped = np.count_nonzero((wide >= 2**15 - 1) | (wide <= -(2**15))) / len(wide)
    scaled = samples.astype(np.float32) * np.float32(2**-15)
    mean, rms = float(scaled.mean()), float(np.sqrt(np.dot(scaled, scaled) / len(scaled)))
    wraps = count_wraps(scaled) if wraps is None else wraps
    return Statistics(peak / 2**15, mean, rms, clipped, wraps / len(wide))


def to_int16(samples: np.ndarray, length: int) -> np.ndarray:
    """(samples,) float32 of full scale 1 to (length,) int16: rounded, clipped, cut or zero-padded at the end."""
    scaled = samples[:length] * np.float32(2**15)
    np.rint(scaled, out=scaled)
    np.clip(scaled, -(2**15), 2**15 - 1, out=scaled)
    out = np.zeros(length, np.int16)
    out[: len(scaled)] = scaled
    return out

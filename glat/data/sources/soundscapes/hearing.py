"""Where a recording sounds, and a piece of it: energy alone decides, frame by frame."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soxr

from ...audio.clips import Cut, Limits, Mono, Samples
from ...audio.decoding import blocks
from ...audio.pieces import AudioError, Block
from ...kinds import Kind

FRAME = 0.02  # seconds
SILENT = 1e-8  # power of the loudest frame: -80 dB of full scale
QUIET = 1e-3  # power of a frame that is no sound, relative to the loudest: -30 dB
PAUSE = 0.25  # seconds; a shorter gap does not end a sound
LIMITS = Limits(16e9, 12 * 3600.0, 600.0, ("of one recording",) * 3)


class Span(NamedTuple):
    """An unbroken sound: start and end in seconds from the beginning of the recording; energy: its share of all that
    the recording's spans have."""

    start: float
    end: float
    energy: float


class Heard(NamedTuple):
    """What was heard in a recording: its spans in order, its length in seconds, and a hash of its samples."""

    spans: tuple[Span, ...]
    seconds: float
    digest: str


def listen(source: Any) -> Heard:
    """Find the spans of a recording, given as `Source.read` gives it.

    A frame sounds if its power is within 30 dB of the loudest frame's; power is that around the frame's mean, so that an
    offset is silence.

    Raises:
        AudioError: it cannot be decoded, holds NaN or infinity, or is silent.
    """
    powers, rest, size, rate, length = list[np.ndarray](), np.zeros((0, 0), np.float32), 1, 1, 0
    digest = hashlib.blake2b(digest_size=16)
    for samples, rate in _blocks(source):
        if not np.isfinite(samples).all():
            raise AudioError(Kind.NOT_FINITE, "NaN or infinite samples")
        digest.update(np.ascontiguousarray(samples).data)
        size, length = max(1, round(FRAME * rate)), length + samples.shape[1]
        samples = np.concatenate([rest, samples], axis=1) if rest.size else samples
        frames = samples.shape[1] // size
        powers.append(samples[:, : frames * size].reshape(len(samples), frames, size).var(axis=2).mean(axis=0))
        rest = samples[:, frames * size :]
    if rest.size:
        powers.append(rest.var(axis=1).mean(keepdims=True) * (rest.shape[1] / size))
    power = np.concatenate(powers).astype(np.float64)
    if power.max() < SILENT:
        raise AudioError(Kind.SILENT, "its loudest moment is under -80 dB of full scale")
    return Heard(_spans(power, size / rate, length / rate), round(length / rate, 3), digest.hexdigest())


def _spans(power: np.ndarray, frame: float, seconds: float) -> tuple[Span, ...]:
    """power: (frames,), each of `frame` seconds; the recording may end within the last one."""
    sounds = power >= QUIET * power.max()
    begins, ends = np.flatnonzero(np.diff(sounds, prepend=False, append=False)).reshape(-1, 2).T
    apart = (begins[1:] - ends[:-1]) * frame >= PAUSE
    begins, ends = begins[np.append(True, apart)], ends[np.append(apart, True)]
    energies = np.array([power[begin:end].sum() for begin, end in zip(begins, ends, strict=True)])
    return tuple(
        Span(begin * frame, min(end * frame, seconds), float(energy))
        for begin, end, energy in zip(begins.tolist(), ends.tolist(), energies / energies.sum(), strict=True)
    )


def read_piece(source: Any, begin: float, seconds: float, rate: int) -> np.ndarray:
    """`seconds` of a recording from `begin` on, (round(seconds * rate),) float32, mono, its mean taken off.

    Raises:
        AudioError: it cannot be decoded, ends before, or is silent there.
    """
    source, skip = (
        (Cut(source, begin, seconds), 0.0) if isinstance(source, Path) else (source, begin)
    )  # sought in a file
    mono, at, own = Mono(), 0, rate
    for samples, own in _blocks(source, skip + seconds):
        first, last = round(skip * own), round((skip + seconds) * own)
        if (wanted := samples[:, max(0, first - at) : max(0, last - at)]).size:
            mono.add(wanted)
        at += samples.shape[1]
    found = mono.mix()
    if not len(found):
        raise AudioError(Kind.TOO_SHORT, f"{at / own:.2f} s, a sound in it began at {begin:g} s")
    found = found if own == rate else soxr.resample(found, own, rate, quality="HQ")
    piece = np.zeros(round(seconds * rate), np.float32)
    piece[: len(found)] = found[: len(piece)]
    piece -= piece.mean()
    if not np.mean(piece**2) >= SILENT * QUIET:  # NaN is not
        raise AudioError(Kind.SILENT, f"nothing sounds in it from {begin:g} s on any more")
    return piece


def _blocks(source: Any, seconds: float = np.inf) -> Any:
    """The samples of a recording, as `audio.decoding.blocks` gives them."""
    if isinstance(source, AudioError):
        raise source
    if isinstance(source, Samples):
        scale = np.float32(2**-15 if source.samples.dtype == np.int16 else 1)
        return iter([Block(source.samples[None].astype(np.float32) * scale, source.rate)])
    return blocks(source, seconds, LIMITS)

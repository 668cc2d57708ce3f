"""Audio of any kind to fixed-length mono int16, with a reason for all that cannot be one.

soxr resamples. Mono is the plain mean of the channels, whatever their number or layout, as in librosa: 5.1 surround is
not weighted.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soxr

from glat.data.decoding import CONTAINERS, OVERHANG, AudioError, Cut, Decoded, decode, decode_cut

__all__ = [
    "CONTAINERS",
    "AudioError",
    "Cut",
    "Decoded",
    "Samples",
    "Statistics",
    "decode",
    "decode_cut",
    "prepare",
    "statistics",
    "to_int16",
]

SILENCE = 10 ** (-90 / 20)  # peak, relative to full scale: about one step of int16


class Samples(NamedTuple):
    """Audio that is decoded already: samples (samples,) int16 or float32 of full scale 1, mono; rate: Hz."""

    samples: np.ndarray
    rate: int


class Statistics(NamedTuple):
    """Of a clip's int16 samples: peak, mean and root mean square relative to full scale; clipped: share of samples at
    full scale; jumps: share of steps between neighbours of more than full scale, which wrapped integers leave."""

    peak: float
    mean: float
    rms: float
    clipped: float
    jumps: float


def prepare(
    source: str | Path | BinaryIO | bytes | Cut | Samples | AudioError,
    rate: int = 32000,
    seconds: float = 10.0,
    min_seconds: float = 0.5,
) -> tuple[np.ndarray, int, float]:
    """One clip for the pack: (samples, source rate in Hz, seconds found in the source).

    source: an audio file, its bytes or an open stream, a piece of a longer file, samples, or the reason why there are
    none. samples: (rate * seconds,) int16, mono, zero-padded or cut at the end; float is rounded and clipped, never
    wrapped.

    Raises AudioError for what `decode` raises, and: truncated (over 5 % and 0.5 s less than the header
    declares), not finite (NaN or infinity), silent (peak under -90 dB of full scale), constant (every sample the same),
    too short (under `min_seconds`), too long (more than 1 s over `seconds`: an uncut video, to which the labels would
    not fit).
    """
    if isinstance(source, AudioError):
        raise source
    if isinstance(source, Samples):
        decoded = _as_decoded(source)
    elif isinstance(source, Cut):
        decoded = decode_cut(source)
    else:
        decoded = decode(source, max_seconds=seconds + OVERHANG)
    mono = decoded.samples[0] if len(decoded.samples) == 1 else decoded.samples.mean(axis=0)
    found = len(mono) / decoded.rate
    if found > seconds + OVERHANG:
        raise AudioError(f"too long: over {seconds + OVERHANG:g} s, an uncut recording that the labels do not fit")
    if decoded.promised is not None and decoded.promised - found > max(0.5, 0.05 * decoded.promised):
        raise AudioError(f"truncated: {found:.2f} of {decoded.promised:.2f} s decoded")
    if found < min_seconds:
        raise AudioError(f"too short: {found:.2f} s, at least {min_seconds:g} s needed")
    if not np.isfinite(mono).all():
        raise AudioError("not finite: NaN or infinite samples")
    if max(mono.max(), -mono.min()) < SILENCE:
        raise AudioError("silent: peak under -90 dB of full scale")
    if mono.max() == mono.min():
        raise AudioError(f"constant: every sample is {mono[0]:.3g} of full scale")
    if decoded.rate != rate:
        mono = soxr.resample(mono, decoded.rate, rate, quality="HQ")
    return to_int16(mono, round(rate * seconds)), decoded.rate, found


def _as_decoded(source: Samples) -> Decoded:
    scale = np.float32(2**-15 if source.samples.dtype == np.int16 else 1)
    return Decoded(source.samples[None].astype(np.float32) * scale, source.rate, None)


def statistics(samples: np.ndarray) -> Statistics:
    """`Statistics` of (samples,) int16."""
    wide = samples.astype(np.int32)
    peak = int(np.abs(wide).max())
    jumps = np.count_nonzero(np.abs(np.diff(wide)) > 2**15) / len(wide)
    clipped = np.count_nonzero((wide >= 2**15 - 1) | (wide <= -(2**15))) / len(wide)
    scaled = samples.astype(np.float32) * np.float32(2**-15)
    mean, rms = float(scaled.mean()), float(np.sqrt(np.dot(scaled, scaled) / len(scaled)))
    return Statistics(peak / 2**15, mean, rms, clipped, jumps)


def to_int16(samples: np.ndarray, length: int) -> np.ndarray:
    """(samples,) float32 of full scale 1 to (length,) int16: rounded, clipped, cut or zero-padded at the end."""
    scaled = samples[:length] * np.float32(2**15)
    np.rint(scaled, out=scaled)
    np.clip(scaled, -(2**15), 2**15 - 1, out=scaled)
    out = np.zeros(length, np.int16)
    out[: len(scaled)] = scaled
    return out

"""What synthesised sounds are built of: tones, damped modes, bursts, shaped noise. All audio is float32 at 44.1 kHz."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy

RATE = 44_100
TAU = np.float32(2 * np.pi)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def shaped_noise(
    rng: np.random.Generator, samples: int, gain: Callable[[np.ndarray], np.ndarray], channels: int = 1
) -> np.ndarray:
    """Independent channels of Gaussian noise, (channels, samples) float32, of the amplitude spectrum `gain(hertz)`.

    The noise is drawn as a spectrum, so that shaping costs one inverse FFT and no filter.
    """
    size = scipy.fft.next_fast_len(samples, real=True)
    bins = size // 2 + 1
    hertz = np.arange(bins, dtype=np.float32) * np.float32(RATE / size)
    spectrum = rng.standard_normal((channels, 2 * bins), dtype=np.float32).view(np.complex64)
    return scipy.fft.irfft(spectrum * gain(hertz).astype(np.float32), size)[:, :samples]


def band(low: float, high: float, slope: float = 0.0) -> Callable[[np.ndarray], np.ndarray]:
    """Amplitude response of a gentle band from `low` to `high` Hz; `slope` tilts it as hertz ** slope."""

    def gain(hertz: np.ndarray) -> np.ndarray:
        hertz = np.maximum(hertz, 1.0)
        response = 1 / ((1 + (low / hertz) ** 4) * (1 + (hertz / high) ** 4))
        return response * (hertz / 1000) ** slope if slope else response

    return gain


def timeline(samples: int) -> np.ndarray:
    """Seconds, (samples,) float32."""
    return np.arange(samples, dtype=np.float32) / np.float32(RATE)


def sine(hertz: float | np.ndarray, samples: int, phase: float = 0.0) -> np.ndarray:
    """Sine of constant or varying (samples,) frequency, (samples,) float32."""
    if np.ndim(hertz) == 0:
        # Phase in cycles is wrapped in double precision: ten seconds of float32 phase would add noise.
        cycles = np.arange(samples) * (float(hertz) / RATE) + phase
    else:
        cycles = np.cumsum(hertz, dtype=np.float64) / RATE + phase
    return np.sin(TAU * (cycles - np.floor(cycles)).astype(np.float32))


def modes(
    rng: np.random.Generator, samples: int, hertz: np.ndarray, decays: np.ndarray, gains: np.ndarray
) -> np.ndarray:
    """Sum of damped sines, (samples,) float32; `decays` are the seconds in which each falls to 1/e."""
    t = timeline(samples)
    total = np.zeros(samples, np.float32)
    for frequency, decay, gain in zip(hertz, decays, gains, strict=True):
        total += np.float32(gain) * np.exp(-t / np.float32(decay)) * sine(frequency, samples, rng.random())
    return total


def burst(rng: np.random.Generator, samples: int, decay: float) -> np.ndarray:
    """White noise that falls to 1/e in `decay` seconds, (samples,) float32."""
    return rng.standard_normal(samples, dtype=np.float32) * np.exp(-timeline(samples) / np.float32(decay))


def ramp(x: np.ndarray, seconds: float = 0.004) -> np.ndarray:
    """Fade in and out over `seconds`, so that cutting a tone makes no click of its own; changes and returns `x`."""
    size = min(len(x) // 2, max(int(seconds * RATE), 1))
    edge = np.sin(np.linspace(0, np.pi / 2, size, dtype=np.float32)) ** 2
    x[:size] *= edge
    x[len(x) - size :] *= edge[::-1]
    return x


def place(samples: int, starts: list[int], pieces: list[np.ndarray]) -> np.ndarray:
    """Add each piece at its start, cut at the end, (samples,) float32."""
    total = np.zeros(samples, np.float32)
    for start, piece in zip(starts, pieces, strict=True):
        piece = piece[: max(samples - start, 0)]
        total[start : start + len(piece)] += piece
    return total

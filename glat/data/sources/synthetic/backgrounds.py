"""What the events of the synthetic corpus are heard over: none of these is a class of its own.

Each background takes a random generator and a length in samples, and returns stereo float32 (2, samples) at 44.1 kHz.
"""

from __future__ import annotations

import numpy as np

from .waves import RATE, band, log_uniform, shaped_noise, sine, timeline


def _widen(rng: np.random.Generator, pair: np.ndarray) -> np.ndarray:
    """Two independent channels, (2, samples), mixed to a width between nearly mono and fully open."""
    width = np.float32(rng.uniform(0.2, 1.0))
    common = pair[0]
    return np.stack([common, np.sqrt(1 - width**2) * common + width * pair[1]])


def coloured_noise(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Noise of any colour from white (slope 0) over pink (-0.5) to brown (-1), as from wind, traffic or a tape."""
    return _widen(rng, shaped_noise(rng, samples, band(40, 18_000, rng.uniform(-1.0, 0.0)), channels=2))


def hum(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Mains hum of 50 or 60 Hz with its harmonics, over the hiss of a recorder."""
    mains, fall = rng.choice([50, 60]), rng.uniform(0.6, 1.5)
    # Tones of whole hertz repeat every second: one second is made, and repeated.
    loop = sum(sine(mains * k, RATE, rng.random()) * np.float32(rng.random() / k**fall) for k in range(1, 9))
    tones = np.resize(loop, samples)
    hiss = shaped_noise(rng, samples, band(60, 16_000, rng.uniform(-0.6, 0.0)), channels=2)
    return tones / tones.std() + hiss / hiss.std() * np.float32(log_uniform(rng, 0.1, 0.7))


def babble(rng: np.random.Generator, samples: int) -> np.ndarray:
    """A room full of people, too many to follow: noise in the band of speech that swells at the rate of syllables."""
    noise = shaped_noise(rng, samples, band(rng.uniform(150, 300), rng.uniform(900, 2500), -0.5), channels=2)
    points = max(int(samples / RATE * rng.uniform(3, 6)), 2)
    swell = np.interp(np.linspace(0, points - 1, samples), np.arange(points), rng.uniform(0.4, 1.0, points))
    return _widen(rng, noise * swell.astype(np.float32))


def drone(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Faint music from elsewhere: a held chord whose notes swell one by one, over a little noise."""
    chord = np.round(log_uniform(rng, 90, 220) * np.array([1.0, 1.5, 2.0, rng.choice([2.4, 2.52]), 3.0]))
    t, left, right = timeline(samples), np.float32(0), np.float32(0)
    for hertz in chord:
        swell = 0.6 + np.float32(0.4) * np.sin(np.float32(rng.uniform(0.6, 3)) * t + np.float32(rng.uniform(0, 6)))
        note = np.resize(sine(hertz, RATE) + np.float32(0.4) * sine(2 * hertz + 1, RATE), samples) * swell
        side = np.float32(rng.uniform(0.3, 0.7))
        left, right = left + side * note, right + (1 - side) * note
    music = np.stack([left, right])
    noise = shaped_noise(rng, samples, band(60, 12_000, rng.uniform(-1.0, -0.3)), channels=2)
    return music / music.std() + noise / noise.std() * np.float32(log_uniform(rng, 0.15, 0.8))


# Coloured noise stands twice: it covers what would otherwise be white, pink and brown apart.
BACKGROUNDS = (coloured_noise, coloured_noise, hum, babble, drone)

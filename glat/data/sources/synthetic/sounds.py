"""The sounds of the synthetic corpus: sixteen AudioSet classes, each a procedure that a listener would name.

A synthesiser takes a random generator and a length in samples, and returns mono float32 (samples,) at 44.1 kHz that
starts at its first sample and lasts to its last one, at any level. What varies between two instances of a class
(pitch, rate, timbre, decay) is drawn inside it; how long it lasts is drawn before, from `Sound.seconds`, so that the
onset and offset of an event are known without making its audio.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy  # its parts are imported at their first use: every command reads the settings, few make a sound

from .waves import RATE, TAU, band, burst, log_uniform, modes, place, ramp, shaped_noise, sine, timeline

Synthesiser = Callable[[np.random.Generator, int], np.ndarray]


class Sound(NamedTuple):
    """One class: AudioSet's id and display name, its rank in frequency (1 = most clips), shortest and longest
    duration of an event in seconds (drawn log-uniformly between them), and its synthesiser."""

    mid: str
    name: str
    rank: int
    seconds: tuple[float, float]
    make: Synthesiser


def clicking(rng: np.random.Generator, samples: int) -> np.ndarray:
    """A switch: a noise burst of a millisecond that rings in two small resonances."""
    hertz = rng.uniform(1500, 6500, 2)
    ring = modes(rng, samples, hertz, samples / RATE / rng.uniform(3.5, 6, 2), rng.uniform(0.3, 1.0, 2))
    return ramp(ring + burst(rng, samples, rng.uniform(0.0008, 0.002)), 0.0003)


def knock(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Knuckles on a door: even, wooden, low thuds with a short attack."""
    length = int(rng.uniform(0.09, 0.16) * RATE)
    count = 1 + max(1, round((samples - length) / RATE / rng.uniform(0.14, 0.3)))
    starts = np.linspace(0, max(samples - length, 0), count)
    starts[1:-1] += rng.normal(0, 0.008 * RATE, max(count - 2, 0))
    hertz = rng.uniform(110, 260) * np.array([1.0, 1.6, 2.4, 3.9]) * rng.uniform(0.93, 1.07, 4)
    decays = rng.uniform(0.012, 0.035) * np.array([1.4, 1.0, 0.8, 0.5])
    pieces = []
    for _ in range(count):
        thud = modes(rng, length, hertz, decays, rng.uniform(0.4, 1.0, 4)) + 0.5 * burst(rng, length, 0.003)
        pieces.append(np.float32(rng.uniform(0.7, 1.0)) * thud)
    return ramp(place(samples, [max(int(s), 0) for s in starts], pieces), 0.0005)


def snare_drum(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Two modes of the skin under the rattle of the wires."""
    decay = samples / RATE / rng.uniform(3.5, 5.5)
    base = rng.uniform(160, 260)
    skin = modes(rng, samples, base * np.array([1.0, 1.6]), decay * np.array([0.5, 0.4]), np.array([1.0, 0.6]))
    sos = scipy.signal.butter(2, rng.uniform(900, 2500), "highpass", fs=RATE, output="sos")
    wires = scipy.signal.sosfilt(sos, burst(rng, samples, decay)).astype(np.float32)
    return ramp(np.float32(rng.uniform(0.4, 1.0)) * skin + wires, 0.001)


def gunshot(rng: np.random.Generator, samples: int) -> np.ndarray:
    """A blast of a few milliseconds, a low boom, and the dull tail that comes back from around."""
    seconds = samples / RATE
    blast = burst(rng, samples, rng.uniform(0.004, 0.012))
    sos = scipy.signal.butter(2, rng.uniform(500, 2200), "lowpass", fs=RATE, output="sos")
    tail = scipy.signal.sosfilt(sos, burst(rng, samples, seconds / rng.uniform(4, 6))).astype(np.float32)
    boom = modes(rng, samples, rng.uniform(55, 130, 1), np.array([rng.uniform(0.03, 0.09)]), np.array([0.8]))
    tail *= np.float32(rng.uniform(0.3, 0.8)) * np.abs(blast).max() / np.abs(tail).max()
    return ramp(blast + tail + boom, 0.0005)


def beep(rng: np.random.Generator, samples: int) -> np.ndarray:
    """One electronic beep: a flat tone, from a sine to nearly a square wave."""
    hertz, edge = log_uniform(rng, 600, 3200), rng.uniform(0.0, 1.0)
    tone = sine(hertz, samples)
    for harmonic in (3, 5):
        tone += np.float32(edge / harmonic) * sine(harmonic * hertz, samples)
    return ramp(tone, rng.uniform(0.002, 0.008))


def chirp(rng: np.random.Generator, samples: int) -> np.ndarray:
    """A small bird: one to a dozen fast sweeps of one kind, with gaps between them."""
    length = min(int(rng.uniform(0.04, 0.12) * RATE), samples)
    count = 1 + round((samples - length) / (length * rng.uniform(1.3, 2.5)))
    starts = np.linspace(0, samples - length, count).astype(int)
    centre, depth = rng.uniform(2400, 6500), rng.uniform(0.1, 0.35) * rng.choice([-1, 1])
    shape = rng.integers(3)
    x = np.linspace(-1, 1, length, dtype=np.float32)
    curve = (x, 1 - 2 * x**2, np.sin(TAU * np.float32(rng.uniform(1, 3)) * x))[shape]
    window = np.hanning(length + 2)[1:-1].astype(np.float32) ** np.float32(0.6)
    pieces = []
    for _ in range(count):
        sweep = sine(centre * rng.uniform(0.96, 1.04) * (1 + depth * curve), length)
        pieces.append(sweep * window * np.float32(rng.uniform(0.7, 1.0)))
    return place(samples, list(starts), pieces)


def plucked_string(rng: np.random.Generator, samples: int) -> np.ndarray:
    """A guitar or harp string: harmonics set by where it is plucked, the higher ones gone first."""
    base, where = log_uniform(rng, 82, 500), rng.uniform(0.1, 0.35)
    k = np.arange(1, min(20, int(9000 / base)) + 1)
    gains = np.abs(np.sin(np.pi * k * where)) / k ** rng.uniform(0.8, 1.4)
    decays = samples / RATE / rng.uniform(3.5, 5) / (1 + rng.uniform(0.08, 0.25) * (k - 1))
    string = modes(rng, samples, base * k * np.sqrt(1 + 1e-4 * k**2), decays, gains)
    return ramp(string + 0.3 * burst(rng, samples, 0.004), 0.001)


def whistle(rng: np.random.Generator, samples: int) -> np.ndarray:
    """A referee's whistle: a high tone that the pea breaks up, or a steady one, with breath around it."""
    hertz, trill = rng.uniform(2000, 3800), rng.uniform(22, 45)
    depth = rng.uniform(0.25, 0.5) if rng.random() < 0.75 else 0.0
    pea = np.sin(TAU * np.float32(trill) * timeline(samples))
    onset = 1 - 0.08 * np.exp(-timeline(samples) / np.float32(0.03))
    tone = sine(hertz * onset * (1 + np.float32(0.06 * depth) * pea), samples) * (1 - np.float32(depth) * (1 + pea))
    sos = scipy.signal.butter(1, [0.8 * hertz, 1.25 * hertz], "bandpass", fs=RATE, output="sos")
    breath = scipy.signal.sosfilt(sos, rng.standard_normal(samples, dtype=np.float32)).astype(np.float32)
    return ramp(tone + np.float32(rng.uniform(0.05, 0.3)) * breath, 0.006)


def church_bell(rng: np.random.Generator, samples: int) -> np.ndarray:
    """One stroke: hum, prime, minor third, fifth, nominal and above, slightly out of tune, the low ones last."""
    ratios = np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 2.67, 3.0, 4.0, 5.3]) * rng.uniform(0.985, 1.015, 10)
    decays = samples / RATE / rng.uniform(3, 4.5) / ratios ** rng.uniform(0.3, 0.8)
    stroke = modes(rng, samples, log_uniform(rng, 220, 700) * ratios, decays, rng.uniform(0.2, 1.0, 10))
    return ramp(stroke + 0.5 * burst(rng, samples, 0.005), 0.001)


def _line(rng: np.random.Generator, samples: int, pairs: list[tuple[float, ...]]) -> np.ndarray:
    """The tones of a telephone exchange: one of `pairs` in Hz, as a line and a handset leave them."""
    chosen = pairs[rng.integers(len(pairs))]
    line = np.sum([sine(hertz * rng.uniform(0.985, 1.015), samples, rng.random()) for hertz in chosen], axis=0)
    return np.tanh(np.float32(rng.uniform(0.3, 1.5)) * line)


def dial_tone(rng: np.random.Generator, samples: int) -> np.ndarray:
    """One unbroken tone: North American, British or continental."""
    return ramp(_line(rng, samples, [(350, 440), (350, 450), (425,)]))


def busy_signal(rng: np.random.Generator, samples: int) -> np.ndarray:
    """The tone of an engaged line, as long on as off, two or four times a second or a little slower."""
    tone = _line(rng, samples, [(480, 620), (400,), (425,)])
    half = rng.choice([0.25, 0.375, 0.5]) * rng.uniform(0.95, 1.05)
    gate = ((timeline(samples) / half).astype(np.int32) % 2 == 0).astype(np.float32)
    return ramp(tone * np.convolve(gate, np.full(132, 1 / 132, np.float32))[:samples])


def tick_tock(rng: np.random.Generator, samples: int) -> np.ndarray:
    """A clock: two clicks of different pitch in turn."""
    length = int(0.05 * RATE)
    starts = np.arange(0, max(samples - length, 1), RATE / rng.uniform(1.8, 4.5)).astype(int)
    hertz, ratio = rng.uniform(1500, 4000, 3), rng.uniform(0.6, 0.85)
    decays, gains = rng.uniform(0.003, 0.009, 3), rng.uniform(0.3, 1.0, 3)
    pair = [modes(rng, length, hertz * r, decays, gains) + 0.4 * burst(rng, length, 0.001) for r in (1.0, ratio)]
    pieces = [pair[i % 2] * np.float32(rng.uniform(0.85, 1.0)) for i in range(len(starts))]
    return ramp(place(samples, list(starts), pieces), 0.0005)


def cricket(rng: np.random.Generator, samples: int) -> np.ndarray:
    """A field cricket: groups of three to five pulses of one pure high tone, over and over."""
    pulses, rate, period = rng.integers(3, 6), rng.uniform(25, 40), rng.uniform(0.3, 0.6)
    t = timeline(samples)
    within = (t % np.float32(max(period, (pulses + 1) / rate))) * np.float32(rate)
    envelope = np.where(within < pulses, np.sin(np.float32(np.pi) * within) ** 2, np.float32(0))
    droop = 1 - np.float32(rng.uniform(0.0, 0.03)) * (within % 1)
    return ramp(sine(rng.uniform(3800, 5400) * droop, samples) * envelope)


def siren(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Wail, yelp or two-tone: a rich tone that climbs and falls between two pitches."""
    low, high = rng.uniform(400, 750), rng.uniform(950, 1600)
    kind, t = rng.integers(3), timeline(samples)
    period = (rng.uniform(2.5, 5), rng.uniform(0.22, 0.4), rng.uniform(0.8, 1.3))[kind]
    cycle = (t / np.float32(period) + np.float32(rng.random())) % 1
    if kind == 2:
        position, high = (cycle < 0.5).astype(np.float32), low * rng.uniform(1.25, 1.4)
    else:
        position = np.minimum(cycle / 0.6, (1 - cycle) / 0.4)
    hertz = low * np.exp(np.float32(np.log(high / low)) * position)
    cycles = np.cumsum(hertz, dtype=np.float64) / RATE
    phase = TAU * (cycles - np.floor(cycles)).astype(np.float32)
    fall = rng.uniform(0.8, 1.8)
    return ramp(sum((np.sin(k * phase) / np.float32(k**fall) for k in range(1, 6)), np.zeros_like(phase)), 0.03)


def rain(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Hiss of many far drops, and near ones that can be told apart."""
    hiss = shaped_noise(rng, samples, band(rng.uniform(300, 1500), rng.uniform(6000, 14000), rng.uniform(-0.4, 0.2)))[0]
    drops = np.zeros(samples, np.float32)
    count = int(samples / RATE * rng.uniform(30, 150))
    drops[rng.integers(0, samples, count)] = rng.exponential(1.0, count)
    drop = modes(rng, 500, rng.uniform(1500, 7000, 4), rng.uniform(0.0008, 0.003, 4), np.ones(4))
    near = scipy.signal.oaconvolve(drops, drop)[:samples].astype(np.float32)
    return ramp(hiss / hiss.std() + near / near.std() * np.float32(rng.uniform(0.3, 1.0)), 0.02)


def idling(rng: np.random.Generator, samples: int) -> np.ndarray:
    """A piston engine at rest: firings that differ by cylinder, each a low thump and a puff of noise."""
    firing, cylinders = rng.uniform(14, 38), rng.integers(2, 7)
    count = int(samples / RATE * firing) + 2
    times = (np.arange(count) + rng.normal(0, 0.03, count)) / firing
    hunting = 1 + 0.03 * np.sin(2 * np.pi * rng.uniform(0.2, 0.8) * times + rng.uniform(0, 6))
    times = (times * hunting * RATE).astype(int)
    times[0] = 0
    keep = (times >= 0) & (times < samples)
    pulses = np.zeros(samples, np.float32)
    pulses[times[keep]] = (rng.uniform(0.4, 1.0, cylinders)[np.arange(count) % cylinders])[keep]
    length = int(0.08 * RATE)
    hertz = np.array([rng.uniform(45, 90), rng.uniform(90, 220), rng.uniform(220, 600), rng.uniform(600, 1500)])
    thump = modes(rng, length, hertz, np.array([0.03, 0.02, 0.01, 0.005]), np.array([1.0, 0.8, 0.5, 0.35]))
    puff = burst(rng, length, rng.uniform(0.006, 0.015)) * np.float32(rng.uniform(0.05, 0.25))
    return ramp(scipy.signal.oaconvolve(pulses, thump + puff)[:samples].astype(np.float32), 0.02)


# In AudioSet's own order (its class_labels_indices.csv). Ranks mix long and short, tonal and noisy classes, so that
# how often a class occurs says nothing of how long it lasts.
SOUNDS = (
    Sound("/m/07pggtn", "Chirp, tweet", 1, (0.12, 1.2), chirp),
    Sound("/m/09xqv", "Cricket", 12, (1.5, 6.0), cricket),
    Sound("/m/0fx80y", "Plucked string instrument", 2, (0.6, 2.0), plucked_string),
    Sound("/m/06rvn", "Snare drum", 13, (0.12, 0.35), snare_drum),
    Sound("/m/03w41f", "Church bell", 10, (1.8, 5.0), church_bell),
    Sound("/m/06mb1", "Rain", 3, (4.0, 10.0), rain),
    Sound("/m/07pb8fc", "Idling", 6, (5.0, 10.0), idling),
    Sound("/m/07r4wb8", "Knock", 5, (0.3, 1.2), knock),
    Sound("/m/015jpf", "Dial tone", 15, (1.0, 6.0), dial_tone),
    Sound("/m/01z47d", "Busy signal", 16, (2.0, 6.0), busy_signal),
    Sound("/m/03kmc9", "Siren", 4, (3.0, 9.0), siren),
    Sound("/m/0l156k", "Whistle", 7, (0.3, 1.2), whistle),
    Sound("/m/07qjznl", "Tick-tock", 14, (2.5, 8.0), tick_tock),
    Sound("/m/032s66", "Gunshot, gunfire", 9, (0.3, 1.0), gunshot),
    Sound("/m/02fs_r", "Beep, bleep", 8, (0.08, 0.4), beep),
    Sound("/m/07qc9xj", "Clicking", 11, (0.015, 0.03), clicking),
)

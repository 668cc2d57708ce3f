"""How clips are mixed by the sources that make them (`synthetic`, `soundscapes`): what is drawn for a clip, and the sum of
its sounds.

All that is drawn is a function of (seed, split, index in the split, purpose), so any clip can be made alone, in any order, by
any process. Audio is float32, (channels, samples); levels are ratios of mean power.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from ...config.types import Natural, Settings, Share
from ...lib.files import whole

MOST_EVENTS = 64  # in one clip
# A class whose events can last longer than this occurs once in a clip: two rains are one rain.
REPEATABLE_SECONDS = 2.0


def _pair(kind: type) -> BeforeValidator:
    def check(value: Any) -> tuple[Any, Any]:
        try:
            low, high = (kind(number) for number in value)
            if [low, high] == list(value) and low <= high:
                return low, high
        except (TypeError, ValueError):
            pass
        raise ValueError(f"{value!r}: give [lowest, highest]")

    return BeforeValidator(check)


def _events(value: tuple[int, int]) -> tuple[int, int]:
    if not value[0] >= 1 or value[1] > MOST_EVENTS:
        raise ValueError(f"{list(value)}: give [fewest, most] per clip, from 1 to {MOST_EVENTS}")
    return value


class Mixture(Settings):
    """What a user may choose of clips that are mixed, whatever they are mixed from.

    seed: of all that is drawn. skew: the class of rank r is drawn with a probability proportional to r^-skew; at 1.25 the
    most frequent of sixteen is in some 20 times as many clips as the rarest, since a clip holds a class once however often
    it is drawn. missing: share of events that are labelled and not there. snr_db: lowest and highest ratio, in dB, of an
    event's mean power over its duration to the background's over the clip, drawn uniformly. events: fewest and most events
    in a clip. short_clips: share of clips that last 30 to 95 % of the others' length.
    """

    seed: Natural
    skew: Annotated[float, Field(ge=0, le=3)] = 1.25
    missing: Share = 0.0
    snr_db: Annotated[tuple[float, float], _pair(float)] = (-15.0, 15.0)
    events: Annotated[tuple[int, int], _pair(int), AfterValidator(_events)] = (1, 4)
    short_clips: Share = 0.08

    def draw_seconds(self, rng: np.random.Generator, longest: float) -> float:
        """The length of one clip, in seconds."""
        short = rng.random() < self.short_clips
        return float(rng.integers(6, 20)) * longest / 20 if short else longest


class Event(NamedTuple):
    """One sound in a clip: class id, start and end in seconds from the start of the clip, to the millisecond; sound: which
    one it is, where the class does not say it."""

    mid: str
    start: float
    end: float
    sound: Any = None


def generator(*key: object) -> np.random.Generator:
    """The random generator of a key such as (seed, split, index, purpose): equal keys, equal numbers."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def draw_labels(split: str, count: int, mids: Sequence[str], ranks: np.ndarray, settings: Mixture) -> list[list[str]]:
    """Class ids of each clip of a split, sorted: `count` lists of 1 to `settings.events[1]` ids. ranks: (classes,), from 1.

    Each class is in at least max(5, 1 %) clips, or as near to it as a split of few clips allows: where the draw left
    a class short, it takes the place of the most frequent class of a clip.
    """
    shares = ranks**-settings.skew
    clips = []
    for index in range(count):
        rng = generator(settings.seed, split, index, "labels")
        size = _event_count(split, index, settings)
        clips.append({mids[i] for i in rng.choice(len(mids), size, p=shares / shares.sum())})
    held = {mid: sum(mid in clip for clip in clips) for mid in mids}
    order = generator(settings.seed, split, "order").permutation(count)
    # Level by level, so that in a split too small for the full minimum no class is left without a clip for another.
    for level in range(1, max(5, -(-count // 100)) + 1):
        for mid in mids:
            for index in order:
                if held[mid] >= level:
                    break
                donor = max(clips[index], key=lambda other: (held[other], other))
                if mid not in clips[index] and held[donor] > level:
                    clips[index] = clips[index] - {donor} | {mid}
                    held[donor] -= 1
                    held[mid] += 1
    return [sorted(clip) for clip in clips]


def draw_events(
    split: str,
    index: int,
    labels: Iterable[str],
    seconds: float,
    draw: Callable[[np.random.Generator, str], tuple[float, Any]],
    repeatable: Collection[str],
    settings: Mixture,
) -> list[Event]:
    """Events of one clip of `seconds`, in order of start: each label at least once, the `repeatable` ones perhaps again.

    draw: the length in seconds of a sound of a class, and which one it is (`Event.sound`).
    """
    rng = generator(settings.seed, split, index, "events")
    mids = sorted(labels)
    again = [mid for mid in mids if mid in repeatable]
    extra = _event_count(split, index, settings) - len(mids)
    if again and extra > 0:
        mids += [again[i] for i in rng.integers(len(again), size=extra)]
    events = []
    for mid in mids:
        length, sound = draw(rng, mid)
        duration = round(min(length, seconds), 3)
        start = round(rng.uniform(0, seconds - duration), 3)
        events.append(Event(mid, start, min(round(start + duration, 3), seconds), sound))
    return sorted(events, key=lambda event: (event.start, event.mid, event.end))


def heard(split: str, index: int, events: list[Event], settings: Mixture) -> list[Event]:
    """The events of a clip without those that are missing."""
    there = generator(settings.seed, split, index, "heard").random(len(events)) >= settings.missing
    return [event for event, is_there in zip(events, there, strict=True) if is_there]


def _event_count(split: str, index: int, settings: Mixture) -> int:
    return int(generator(settings.seed, split, index, "count").integers(settings.events[0], settings.events[1] + 1))


def mix(
    rng: np.random.Generator,
    background: np.ndarray,
    sounds: Iterable[tuple[int, np.ndarray]],
    snr_db: tuple[float, float],
) -> np.ndarray:
    """A clip: a background, (1 or 2, samples) float32, and sounds, (samples,) float32, each from its first sample on. None of
    them may be silent.

    Each sound has a ratio to the background of its own, and in stereo a place between the loudspeakers; the peak lies
    between -18 and -3 dB of full scale. The sounds are taken one at a time, so they may be made with the same `rng`.
    """
    mixture = background / np.sqrt(np.mean(background**2))
    for start, sound in sounds:
        level = 10 ** (rng.uniform(*snr_db) / 20) / np.sqrt(np.mean(sound**2))
        gains = [level]
        if len(mixture) == 2:
            pan = np.pi / 4 * (1 + rng.uniform(-0.8, 0.8))  # constant power: 0 is hard left, pi / 2 hard right
            gains = [level * side * np.sqrt(2) for side in (np.cos(pan), np.sin(pan))]
        for channel, gain in enumerate(gains):
            mixture[channel, start : start + len(sound)] += np.float32(gain) * sound
    return mixture * np.float32(10 ** (rng.uniform(-18, -3) / 20) / np.abs(mixture).max())


def write_lines(path: Path, lines: list[str]) -> None:
    """A list of a dataset, whole or absent."""
    with whole(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")

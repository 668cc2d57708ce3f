"""Events from scores over time: a median filter, then a threshold to begin by and a lower one to go on by (hysteresis).

Scores come block by block, and an event is given out when no later score can change it, so memory grows neither with a
recording nor with the number of its events.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import median_filter

WIDE = 31  # steps of a median from which scipy is faster class by class: in one dimension its time hardly grows with the width


class Event(NamedTuple):
    """A class that sounds from step `onset` up to, and without, step `offset`; score: the highest that it has, filtered."""

    label: int
    onset: int
    offset: int
    score: float


def odd_steps(seconds: float, step: float) -> int:
    """The odd number of steps of `step` seconds that is nearest to `seconds`, at least 1.

    >>> odd_steps(0.5, 0.16), odd_steps(0.0, 0.16)
    (3, 1)
    """
    return max(1, 2 * round((seconds / step - 1) / 2) + 1)


class MedianFilter:
    """The median over `width` steps (odd) of scores over time that come in blocks; at both ends, the first and the last
    score stand for those that are missing."""

    def __init__(self, width: int):
        self.half = width // 2
        self._held: np.ndarray | None = None  # (n, L): what later medians need

    def add(self, scores: np.ndarray) -> np.ndarray:
        """(n, L) -> the medians that are certain now (m, L): all but those of the last width // 2 steps."""
        if not len(scores):
            return scores
        if self._held is None:
            scores = np.concatenate([scores[:1].repeat(self.half, 0), scores])
        held = scores if self._held is None else np.concatenate([self._held, scores])
        if (ready := len(held) - 2 * self.half) <= 0:
            self._held = held
            return held[:0]
        self._held = held[ready:]
        if not self.half:
            return held
        return _medians(held, 2 * self.half + 1)[self.half : self.half + ready]

    def end(self) -> np.ndarray:
        """The medians that are left."""
        if self._held is None or not self.half:
            return np.empty((0, 0), np.float32)
        return self.add(self._held[-1:].repeat(self.half, 0))


def _medians(scores: np.ndarray, width: int) -> np.ndarray:
    """(n, L) -> the medians over `width` steps (n, L)."""
    if width < WIDE:
        return median_filter(scores, (width, 1))
    return np.stack([median_filter(row, width) for row in np.ascontiguousarray(scores.T)], 1)


class Hysteresis:
    """An event of a class is a run of steps whose scores are all at least `low`, one of them at least `high`.

    high, low: (L,) thresholds; a class whose `high` is over 1 has no event.
    """

    def __init__(self, high: np.ndarray, low: np.ndarray):
        self.high, self.low = high, np.minimum(low, high)
        self._frame = 0
        self._onset = np.full(len(high), -1)  # of the run that goes on; -1: none
        self._peak = np.zeros(len(high))  # its highest score so far
        self._waiting: list[Event] = []  # over, and later than an event that goes on

    def add(self, scores: np.ndarray) -> list[Event]:
        """(n, L) scores -> the events that are over, by onset and class: none that comes later begins earlier."""
        if not len(scores):
            return []
        found, n = self._waiting, len(scores)
        above = np.zeros((scores.shape[1], n + 2), np.int8)
        above[:, 1:-1] = (scores >= self.low).T
        steps = np.diff(above, axis=1)  # (L, n + 1)
        labels, begins = np.nonzero(steps == 1)
        ends = np.nonzero(steps == -1)[1]  # in the same order: runs of a class take turns
        peaks = _peaks(scores, labels, begins, ends)
        onsets = begins + self._frame
        goes_on = (begins == 0) & (self._onset[labels] >= 0)
        onsets[goes_on] = self._onset[labels[goes_on]]
        peaks[goes_on] = np.maximum(peaks[goes_on], self._peak[labels[goes_on]])
        ended = (self._onset >= 0) & (scores[0] < self.low)  # with the block before
        for label in np.flatnonzero(ended):
            found += self._event(label, self._onset[label], self._frame, self._peak[label])
        self._onset[:] = -1
        for label, onset, end, peak in zip(labels, onsets, ends, peaks, strict=True):
            if end == n:
                self._onset[label], self._peak[label] = onset, peak
            else:
                found += self._event(label, onset, self._frame + end, peak)
        self._frame += n
        return self._ready(found)

    def end(self) -> list[Event]:
        """The events that last to the end."""
        found = self._waiting
        for label in np.flatnonzero(self._onset >= 0):
            found += self._event(label, self._onset[label], self._frame, self._peak[label])
        self._onset[:] = -1
        return self._ready(found)

    def _event(self, label: Any, onset: Any, offset: Any, peak: Any) -> list[Event]:
        return [Event(int(label), int(onset), int(offset), float(peak))] if peak >= self.high[label] else []

    def _ready(self, found: list[Event]) -> list[Event]:
        # Of the runs that go on, only one that is loud enough is an event yet, but any may become one.
        going = self._onset[self._onset >= 0]
        first = going.min() if len(going) else self._frame
        self._waiting = [event for event in found if event.onset >= first]
        return sorted((e for e in found if e.onset < first), key=lambda e: (e.onset, e.label))


def _peaks(scores: np.ndarray, labels: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(runs,) the highest of scores (n, L) in steps `begins` to `ends` of each run's class."""
    if not len(labels):
        return np.empty(0)
    n = len(scores)
    # One zero behind each class: an end is then a place, too.
    flat = np.pad(scores.T, ((0, 0), (0, 1))).ravel()
    places = np.stack([labels * (n + 1) + begins, labels * (n + 1) + ends], 1).ravel()
    return np.maximum.reduceat(flat, places)[::2].astype(float)

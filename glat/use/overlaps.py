"""Scores over time of a recording from those of its clips: on even steps of time, and the mean where clips overlap."""

from __future__ import annotations

import math

import numpy as np

FINEST = 8  # steps of a frame


class Steps:
    """Even steps of a recording's time. Frames rarely fill a clip, so that those of the next one begin between two of its own:
    a frame is divided into 1, 2, 4 or 8 steps, the fewest on which each clip begins, and 8 where none do. A clip is then put
    on the nearest step, a sixteenth of a frame away at most.

    frame: seconds of a frame; clip: of a clip; hop: from one clip's start to the next one's.
    """

    def __init__(self, frame: float, clip: float, hop: float):
        self.clip = clip
        self.of_frame = next(
            (n for n in (1, 2, 4) if _is_whole(n * clip / frame) and _is_whole(n * hop / frame)), FINEST
        )
        self.seconds = frame / self.of_frame

    def spread(self, scores: np.ndarray, start: float) -> tuple[int, np.ndarray]:
        """Frame scores (T, L) of a clip that begins at `start` seconds -> the step that it begins on, and the scores of each
        of its steps (n, L): the last frame lasts to the clip's end."""
        first, end = round(start / self.seconds), math.ceil((start + self.clip) / self.seconds - 1e-6)
        return first, scores[np.minimum(np.arange(end - first) // self.of_frame, len(scores) - 1)]


def _is_whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-6


class Overlaps:
    """Adds the scores of clips, in the order of their starts, and gives out each step's mean once no later clip adds to it:
    what is held is as long as a clip."""

    def __init__(self) -> None:
        self._first = 0  # the step that is held first
        self._sum: np.ndarray | None = None  # (m, L)
        self._count = np.zeros(0)  # (m,)

    def add(self, first: int, scores: np.ndarray) -> np.ndarray:
        """Scores (T, L) of a clip that begins at the step `first`, no earlier than the clip before -> the means of the steps
        before `first` (n, L)."""
        if self._sum is None:
            self._sum = np.zeros((0, scores.shape[1]), np.float32)
        done = min(max(0, first - self._first), len(self._sum))
        out = self._sum[:done] / self._count[:done, None]
        self._sum, self._count, self._first = self._sum[done:], self._count[done:], self._first + done
        begin, length = first - self._first, len(self._sum)
        more = max(0, begin + len(scores) - length)
        self._sum = np.concatenate([self._sum, np.zeros((more, scores.shape[1]), np.float32)])
        self._count = np.concatenate([self._count, np.zeros(more)])
        self._sum[begin : begin + len(scores)] += scores
        self._count[begin : begin + len(scores)] += 1
        return out.astype(np.float32)

    def end(self) -> np.ndarray:
        """The means of the steps that are left."""
        if self._sum is None:
            return np.empty((0, 0), np.float32)
        out = self._sum / self._count[:, None]
        self._sum = None
        return out.astype(np.float32)

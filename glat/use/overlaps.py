"""Scores over time of a recording from those of its clips: the mean, where clips overlap."""

from __future__ import annotations

import numpy as np


class Overlaps:
    """Adds the frame scores of clips, in the order of their starts, and gives out each frame's mean once no later clip adds to
    it: what is held is as long as a clip."""

    def __init__(self) -> None:
        self._first = 0  # the frame that is held first
        self._sum: np.ndarray | None = None  # (m, L)
        self._count = np.zeros(0)  # (m,)

    def add(self, first: int, scores: np.ndarray) -> np.ndarray:
        """Scores (T, L) of a clip whose frames begin at frame `first`, no earlier than those of the clip before -> the means of
        the frames before `first` (n, L)."""
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
        """The means of the frames that are left."""
        if self._sum is None:
            return np.empty((0, 0), np.float32)
        out = self._sum / self._count[:, None]
        self._sum = None
        return out.astype(np.float32)

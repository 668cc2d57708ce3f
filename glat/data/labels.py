"""Weak labels of many clips, kept sparse: 2 million clips carry 4 million labels, not a billion booleans."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Labels(NamedTuple):
    """Compressed sparse rows: the classes of clip i are `indices[indptr[i]:indptr[i + 1]]`, ascending.

    indptr: (clips + 1,) int64; indices: (labels,) int32 class indices; classes: number of classes.
    """

    indptr: np.ndarray
    indices: np.ndarray
    classes: int

    @property
    def clips(self) -> int:
        return len(self.indptr) - 1

    @classmethod
    def from_dense(cls, target: np.ndarray) -> Labels:
        """From (clips, classes) bool or 0/1."""
        clip, indices = np.nonzero(target)
        counts = np.bincount(clip, minlength=len(target))
        return cls(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), indices.astype(np.int32), target.shape[1])

    @classmethod
    def joined(cls, parts: list[Labels]) -> Labels:
        """The clips of several parts, one after the other."""
        counts = np.concatenate([np.diff(part.indptr) for part in parts])
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(indptr, np.concatenate([part.indices for part in parts]), parts[0].classes)

    def without(self, clips: np.ndarray) -> Labels:
        """The same, but the clips at these indices have no class."""
        counts = np.diff(self.indptr)
        held = np.zeros(self.clips, bool)
        held[clips] = True
        indptr = np.concatenate([[0], np.cumsum(np.where(held, 0, counts))]).astype(np.int64)
        return Labels(indptr, self.indices[~np.repeat(held, counts)], self.classes)

    def dense(self, clips: np.ndarray | None = None, dtype: type = bool) -> np.ndarray:
        """(clips, classes) 0/1 array, of all clips or of those at the given indices."""
        clips = np.arange(self.clips) if clips is None else np.asarray(clips)
        counts = self.indptr[clips + 1] - self.indptr[clips]
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        columns = self.indices[np.repeat(self.indptr[clips], counts) + offsets]
        target = np.zeros((len(clips), self.classes), dtype)
        target[np.repeat(np.arange(len(clips)), counts), columns] = 1
        return target

    def by_class(self) -> tuple[np.ndarray, np.ndarray]:
        """Transposed: (clip, start), the clips of class c being `clip[start[c]:start[c + 1]]`, int32, ascending."""
        clip = np.repeat(np.arange(self.clips, dtype=np.int32), np.diff(self.indptr))
        # Classes fit 16 bits, where numpy's stable sort is a radix sort, an order of magnitude faster.
        narrow = self.indices.astype(np.uint16) if self.classes < 2**16 else self.indices
        start = np.concatenate([[0], np.cumsum(np.bincount(self.indices, minlength=self.classes))])
        return clip[np.argsort(narrow, kind="stable")], start

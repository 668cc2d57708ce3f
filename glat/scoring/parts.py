"""Parts of a clip that is longer than a network hears at a time: their names, and their scores put together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def part_names(clips: Iterable[str], offset: np.ndarray) -> list[str]:
    """What random windows are drawn by: the name of each part's clip and, behind its first part, where the part begins.

    >>> part_names(["a", "a"], np.array([0, 64000]))
    ['a', 'a+64000']
    """
    return [f"{name}+{begin}" if begin else name for name, begin in zip(clips, offset.tolist(), strict=True)]


def pool_parts(scores: np.ndarray, clip: np.ndarray, pool: str = "mean") -> np.ndarray:
    """The mean or the maximum (`pool`) of the scores (P, L) of each clip's parts: (clips, L). clip: (P,) the index of the clip
    that each is a part of, those of one clip in a row (`Packs.parts`).

    >>> pool_parts(np.array([[0.25], [0.75], [0.5]]), np.array([7, 7, 3])).ravel().tolist()
    [0.5, 0.5]
    """
    first = np.flatnonzero(np.diff(clip, prepend=-1))
    if len(first) == len(scores):
        return scores
    if pool == "maximum":
        return np.maximum.reduceat(scores, first)
    return np.add.reduceat(scores, first) / np.diff(first, append=len(scores))[:, None].astype(scores.dtype)

"""The scores of a clip that is longer than a network hears at a time: those of its parts, put together."""

from __future__ import annotations

import numpy as np


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

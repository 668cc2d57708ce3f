"""AUC and d' on AudioSet's framed strong labels: pieces of 960 ms of which it is known that a class is heard in them, or that
it is not (`glat.data.lists.framed`).

A piece's score is the mean of the scores over its time. AUC is that of a class's own pieces; `framed_auroc` is the mean over
the classes that have both kinds, and `framed_d_prime` is d' of that mean, as in `glat.scoring.metrics`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from .detection import Points
from .frames import Clip
from .metrics import d_primes
from .resampled import auroc

MEASURES = ("framed_auroc", "framed_d_prime")


def mean_scores(clip: Clip, stream: str, starts: np.ndarray, ends: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(P,) the mean of one class's score, of column `columns[i]`, from `starts[i]` to `ends[i]` seconds; behind the clip's end
    there is nothing to average.

    >>> clip = Clip("x", np.array([0.0, 1.0, 2.0]), {"fused": np.array([[0.2], [0.8]])})
    >>> mean_scores(clip, "fused", np.array([0.5, 1.5]), np.array([1.5, 9.0]), np.array([0, 0])).round(6).tolist()
    [0.5, 0.8]
    """
    area = np.concatenate(
        [np.zeros((1, clip.scores[stream].shape[1])), np.cumsum(clip.scores[stream] * np.diff(clip.edges)[:, None], 0)]
    )
    last = clip.edges[-1]
    low, high = np.minimum(starts, last - 1e-6), np.minimum(ends, last)
    found = np.empty(len(starts))
    for column in np.unique(columns):
        at = columns == column
        of = [np.interp(times[at], clip.edges, area[:, column]) for times in (low, high)]
        found[at] = (of[1] - of[0]) / (high - low)[at]
    return found


def framed_points(
    clips: Iterable[Clip], numbers: dict[str, int], mids: list[str], framed: pd.DataFrame, stream: str
) -> list[Points]:
    """What one stream's scores say of the pieces of each class that has both kinds in these clips.

    numbers: by name, the number of each clip that counts; framed: clip, start, end, label, present.
    """
    column = {mid: index for index, mid in enumerate(mids)}
    framed = framed[framed["clip"].isin(numbers) & framed["label"].isin(mids)]
    of_clip, parts = dict(tuple(framed.groupby("clip"))), []
    for clip in clips:
        if (rows := of_clip.get(clip.name)) is not None:
            at = rows["label"].map(column).to_numpy()
            starts, ends = (rows[key].to_numpy(float) for key in ("start", "end"))
            scores = mean_scores(clip, stream, starts, ends, at)
            parts.append(pd.DataFrame({"column": at, "score": scores, "present": rows["present"].to_numpy(bool)}))
            parts[-1]["clip"] = numbers[clip.name]
    if not parts:
        return []
    every = pd.concat(parts).sort_values("score", ascending=False, kind="stable")
    found = []
    for _, of in every.groupby("column"):
        present = of["present"].to_numpy(np.int16)
        if len(set(present)) == 2:
            found.append(Points(of["score"].to_numpy(), of["clip"].to_numpy(), present, 1 - present))
    return found


def framed_measures(points: list[Points], weights: np.ndarray) -> dict[str, np.ndarray]:
    """`MEASURES` with the clips weighed by `weights` (R, clips): (R,) each."""
    if not points:
        return dict.fromkeys(MEASURES, np.full(len(weights), np.nan))
    mean = np.nanmean([auroc(of, weights) for of in points], axis=0)
    return {"framed_auroc": mean, "framed_d_prime": d_primes(mean)}

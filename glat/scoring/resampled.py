"""The measures of `glat.scoring.detection` and of framed labels in resamples of clips: the same counts, weighed by clip.

The true positive rate over false positives an hour is taken at `GRID` rates up to the highest, evenly spaced, where
sed_scores_eval integrates exactly: intervals need no more.
"""

from __future__ import annotations

import numpy as np

from .detection import MAX_EFPR, MAX_FPR, THRESHOLD, Detection, Points

GRID = 500  # false positive rates, in the middles of as many equal steps
CUT = 8  # times the highest rate, over all clips: what lies beyond it is left out of resamples
LARGEST = 4_000_000  # numbers in one array


def resample(found: Detection, weights: np.ndarray) -> dict[str, np.ndarray]:
    """`MEASURES` with the clips weighed by `weights` (R, clips): (R,) each. Without an event: NaN."""
    psds = _psds(found, weights)
    of_class: dict[str, list[np.ndarray]] = {"segment_auroc": [], "f1": [], "f1_best": []}
    events = weights @ found.events  # (R, classes)
    for label in range(len(found.classes)):
        of_class["segment_auroc"].append(auroc(found.segments[label], weights, MAX_FPR))
        f1 = _f1(found.collars[label], weights, events[:, label])
        for name, values in zip(("f1", "f1_best"), f1, strict=True):
            of_class[name].append(values)
    none = np.full(len(weights), np.nan)
    return psds | {name: np.nanmean(values, axis=0) if values else none for name, values in of_class.items()}


def _counts(points: Points, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives at each threshold, from none on: (R, thresholds + 1) each."""
    of, last = weights[:, points.clip], points.last + 1
    tp, fp = (np.cumsum(of * change, 1) for change in (points.tp, points.fp))
    return tuple(np.concatenate([np.zeros((len(weights), 1)), one[:, last - 1]], 1) for one in (tp, fp))  # type: ignore[return-value]


def _in_blocks(points: Points, weights: np.ndarray) -> list[slice]:
    height = max(1, LARGEST // max(len(points.score), GRID))
    return [slice(first, first + height) for first in range(0, len(weights), height)]


def _psds(found: Detection, weights: np.ndarray) -> dict[str, np.ndarray]:
    """PSDS1 and the mean without the penalty."""
    if not found.classes:
        return dict.fromkeys(("psds1", "psds1_macro"), np.full(len(weights), np.nan))
    total, squares = np.zeros((2, len(weights), GRID))
    hours = weights @ found.seconds / 3600  # (R,)
    events = weights @ found.events
    highest = MAX_EFPR * found.seconds.sum() / 3600
    for label, whole in enumerate(found.intersections):
        points = _cut(whole, CUT * highest)
        for block in _in_blocks(points, weights):
            tp, fp = _counts(points, weights[block])
            rate = tp / events[block, label, None]
            place = np.ceil(fp / hours[block, None] * (GRID / MAX_EFPR) - 0.5).clip(0, GRID).astype(np.int64)
            curve = np.zeros((len(rate), GRID + 1))  # the last: beyond the highest rate
            np.maximum.at(curve, (np.arange(len(rate))[:, None], place), rate)
            curve = np.maximum.accumulate(curve[:, :GRID], 1)
            total[block] += curve
            squares[block] += curve**2
    mean = total / len(found.classes)
    spread = np.sqrt(np.maximum(squares / len(found.classes) - mean**2, 0))
    return {"psds1": np.maximum(mean - spread, 0).mean(1), "psds1_macro": mean.mean(1)}


def _cut(points: Points, most: float) -> Points:
    """The points up to where there are `most` false positives, of many more."""
    if len(points.score) < LARGEST // 100:
        return points
    beyond = np.flatnonzero(np.cumsum(points.fp) > most)
    return Points(*(of[: beyond[0]] for of in points)) if len(beyond) else points


def auroc(points: Points, weights: np.ndarray, max_fpr: float | None = None) -> np.ndarray:
    """(R,) the area under the true over the false positive rate; NaN without both kinds.

    max_fpr: up to this rate, and divided by it, between thresholds as at the stricter one, as sed_scores_eval has it; None: all
    of it, straight between thresholds.
    """
    found = np.full(len(weights), np.nan)
    for block in _in_blocks(points, weights):
        tp, fp = _counts(points, weights[block])
        with np.errstate(invalid="ignore", divide="ignore"):
            tp, fp = tp / tp[:, -1:], fp / fp[:, -1:]
        if max_fpr is None:
            found[block] = np.sum((tp[:, 1:] + tp[:, :-1]) / 2 * np.diff(fp, axis=1), 1)
        else:
            fp = np.concatenate([np.minimum(fp, max_fpr), np.full((len(fp), 1), max_fpr)], 1)
            found[block] = np.sum(tp * np.diff(fp, axis=1), 1) / max_fpr
    return found


def _f1(points: Points, weights: np.ndarray, events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R,) F1 at `THRESHOLD`, and at the best threshold of each resample."""
    at, best = np.zeros((2, len(weights)))
    fixed = int(np.searchsorted(-points.score[points.last], -THRESHOLD, side="left"))  # scores above it
    for block in _in_blocks(points, weights):
        tp, fp = _counts(points, weights[block])
        f1 = 2 * tp / (tp + fp + events[block, None])
        at[block], best[block] = f1[:, fixed], f1.max(1)
    return at, best

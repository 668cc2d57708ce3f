"""Average precision, ROC AUC and d', per class and mean. `glat.scoring.jackknife` and `glat.scoring.intervals` give
their intervals.

Conventions
-----------
- `target` is (clips, classes), 0 or 1; `score` has the same shape, finite, higher for more likely. Scores may be
  probabilities or logits: only their order within a class counts.
- Average precision is the sum over thresholds of (recall step) x (precision), not interpolated; ROC AUC is
  P(positive > negative) + P(positive = negative) / 2. Clips with equal scores share one threshold. Both are what
  scikit-learn computes (`average_precision_score`, `roc_auc_score`), class by class.
- mAP and mAUC are means over the classes that have a value. A class without positives has neither and is left out,
  never scored 0; a class without negatives has an AP but no AUC.
- d' = sqrt(2) * Phi^-1(mAUC): of the mean AUC, not the mean of the classes' d'.

Sources: Gemmeke et al., "Audio Set", ICASSP 2017 (mAP, AUC, d' per class); Kong et al., "PANNs", TASLP 2020 (d' of
the mean AUC).

>>> target = [[1, 0], [0, 0], [1, 1], [0, 0]]
>>> score = [[0.9, 0.2], [0.8, 0.7], [0.7, 0.6], [0.1, 0.6]]
>>> found = summary(target, score)
>>> found.ap.round(3), found.auc.round(3)
(array([0.833, 0.333]), array([0.75, 0.5 ]))
>>> f"mAP {found.mAP:.3f}, mAUC {found.mAUC:.3f}, d' {found.d_prime:.3f}"
"mAP 0.583, mAUC 0.625, d' 0.451"

How it is computed
------------------
Both metrics need no more than two counts for each *level*, a distinct score among the class's positives: how many
negatives lie between it and the level above, and how many tie with it. The negatives are never sorted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from ..lib.errors import GlatError


@dataclass(frozen=True)
class Summary:
    """One system's scores on one set of clips; arrays are (classes,), NaN where a class has no value."""

    mAP: float
    mAUC: float
    d_prime: float
    ap: np.ndarray
    auc: np.ndarray
    positives: np.ndarray  # clips labelled with the class
    scored: np.ndarray  # indices of the classes with a positive
    left_out: np.ndarray  # indices of the classes without one


def check(target: ArrayLike, score: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return target as bool and score as floating point, both (clips, classes); raise GlatError if they aren't."""
    target, score = np.asarray(target), np.asarray(score)
    if target.ndim != 2 or target.shape != score.shape:
        shapes = f"target is {target.shape}, score is {score.shape}"
        raise GlatError(f"target and score must both be (clips, classes): {shapes}.")
    if target.size == 0:
        raise GlatError(f"there is nothing to score: {target.shape[0]} clips, {target.shape[1]} classes.")
    for name, array in (("target", target), ("score", score)):
        if array.dtype.kind not in "biuf":
            raise GlatError(f"{name} must hold real numbers, not {array.dtype}.")
    if target.dtype != bool:
        _refuse(~((target == 0) | (target == 1)), target, "target", "neither 0 nor 1")
    if score.dtype.kind != "f":
        score = score.astype(np.float64)
    _refuse(~np.isfinite(score), score, "score", "not finite")
    return target.astype(bool, copy=False), score


def _refuse(bad: np.ndarray, array: np.ndarray, name: str, fault: str) -> None:
    if count := np.count_nonzero(bad):
        clip, label = np.argwhere(bad)[0]
        raise GlatError(
            f"{name} has {count} of {bad.size} values that are {fault}: the first is {array[clip, label]}, "
            f"clip {clip}, class {label}."
        )


def average_precision(target: ArrayLike, score: ArrayLike) -> np.ndarray:
    """AP of each class, (classes,) float64, NaN for a class without positives: sum over levels of (R_k - R_k-1) P_k.

    target and score are (clips, classes). Raises GlatError for input that `check` refuses.

    >>> average_precision([[1, 0], [0, 0], [1, 0]], [[0.9, 0.5], [0.8, 0.1], [0.7, 0.2]])
    array([0.83333333,        nan])
    """
    return ap_and_auc(*check(target, score))[0]


def roc_auc(target: ArrayLike, score: ArrayLike) -> np.ndarray:
    """ROC AUC of each class, (classes,) float64, NaN for a class without positives or without negatives; a tie is 1/2.

    target and score are (clips, classes). Raises GlatError for input that `check` refuses.

    >>> roc_auc([[1], [0], [1]], [[0.9], [0.8], [0.7]])
    array([0.5])
    """
    return ap_and_auc(*check(target, score))[1]


def d_prime(mean_auc: float) -> float:
    """sqrt(2) * Phi^-1(mean_auc): -inf at 0, +inf at 1, NaN for NaN. Raises GlatError outside [0, 1].

    >>> d_prime(0.5), round(d_prime(0.965), 3), d_prime(1.0)
    (0.0, 2.562, inf)
    """
    if mean_auc < 0 or mean_auc > 1:
        raise GlatError(f"d' needs an AUC from 0 to 1, not {mean_auc}.")
    return float(d_primes(np.asarray(mean_auc)))


def d_primes(auc: np.ndarray) -> np.ndarray:
    """sqrt(2) * Phi^-1(auc) of each, of any shape."""
    return 2**0.5 * ndtri(np.asarray(auc, np.float64))


def summary(target: ArrayLike, score: ArrayLike) -> Summary:
    """All metrics of one system. target and score are (clips, classes); raises GlatError for what `check` refuses."""
    target, score = check(target, score)
    ap, auc = ap_and_auc(target, score)
    positives = np.count_nonzero(target, axis=0)
    scored, left_out = np.flatnonzero(positives), np.flatnonzero(positives == 0)
    return Summary(_mean(ap), _mean(auc), d_prime(_mean(auc)), ap, auc, positives, scored, left_out)


def columns(target: np.ndarray, score: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each class's target and score, (clips,), contiguous."""
    return zip(np.ascontiguousarray(target.T), np.ascontiguousarray(score.T), strict=True)


class Ranked(NamedTuple):
    """The clips of one class by level: what its metrics and their leave-one-out values are counted from."""

    positives: np.ndarray  # indices of the positive clips
    level: np.ndarray  # level of each, 0 for the highest score
    negatives: np.ndarray  # indices of the negative clips that score at least as high as the lowest positive
    place: np.ndarray  # place of each: 2k between levels k - 1 and k, 2k + 1 tied with level k
    levels: int


def rank(target: np.ndarray, score: np.ndarray) -> Ranked:
    """Group the clips of one class by its K levels, the distinct scores of its positives; both (clips,)."""
    below = -score
    positives, negatives = np.flatnonzero(target), np.flatnonzero(~target)
    levels, level = np.unique(below[positives], return_inverse=True)
    # No count needs the negatives under the last level: the class's total gives them.
    negatives = negatives[below[negatives] <= levels[-1]] if len(levels) else negatives[:0]
    left = np.searchsorted(levels, below[negatives])
    place = 2 * left + (levels[left] == below[negatives])
    return Ranked(positives, level, negatives, place, len(levels))


def ap_and_auc(target: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AP and AUC of each class, (classes,), NaN where there is no value, from what `check` returned."""
    ap, auc = np.full((2, target.shape[1]), np.nan)
    for label, column in enumerate(columns(target, score)):
        ranked = rank(*column)
        if ranked.levels:
            positive = np.bincount(ranked.level, minlength=ranked.levels)
            negative = np.bincount(ranked.place, minlength=2 * ranked.levels)
            ap[label], auc[label] = ap_and_auc_from_counts(positive, negative, len(target))
    return ap, auc


def ap_and_auc_from_counts(positive: np.ndarray, negative: np.ndarray, clips: int) -> tuple[float, float]:
    """AP and AUC from the positives at each level (K,), K > 0, and the negatives at each place (2K,).

    AP = sum_k p_k P_k / (P_k + N_k) / P and AUC = sum_k p_k (N - N_k + n_k / 2) / (P N), where p_k and n_k are the
    positives and negatives at level k, P_k and N_k those at level k or above, P and N all of them.
    """
    tied, true, false = negative[1::2], np.cumsum(positive), np.cumsum(negative)[1::2]  # (K,)
    positives = true[-1]
    negatives = clips - positives
    ap = (positive * (true / (true + false))).sum() / positives
    auc = (positive * (negatives - false + tied / 2)).sum() / (positives * negatives) if negatives else np.nan
    return float(ap), float(auc)


def _mean(values: np.ndarray) -> float:
    """Over the classes that have a value, NaN where none has."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")

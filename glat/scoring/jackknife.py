"""How far a metric would move with other clips: what each clip does to AP, AUC, mAP, mAUC and d', in closed form.

A class's AP and AUC are computed without each of its clips in turn, from the same counts as the metric itself. A clip
matters only by its place among the class's levels (`glat.scoring.metrics`), so all leave-one-out values of a class cost
two cumulative sums. They give

- the *influence* of clip i, u_i = n sqrt((m - 1) / m) (mean over its group - value without i), where its group is the m
  of n clips that have the class, or the others. The variance over sets of clips with these numbers of positives is
  sum_i u_i^2 / n^2; for AUC that is DeLong's variance. The influence on a mean over classes is the mean of their
  influences, which includes how classes vary together in a clip; that on the difference of two systems is the
  difference of theirs, which pairs them.
- the *centre*, AP without its lean. A positive counts itself among the positives that score as high, so AP on a few
  dozen positives is higher than on many: by 3 standard errors of mAP on AudioSet's evaluation set. In the centre, each
  positive's precision is that of the other clips ranked as high, where each other positive counts P / (P - 1); a
  positive ranked above all other clips gets the precision of the next. AUC has no lean: its centre is its value.
- the *doubt*, a variance where the jackknife sees none. m clips ranked without a mistake do not prove that there is
  none: by the rule of succession, the next clip is a mistake with probability 1 / (m + 2). Each mistake that was seen
  halves the doubt.

Sources: Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", 1982; DeLong et al., "Comparing the areas
under two or more correlated ROC curves", Biometrics 1988. The coverage of the resulting intervals
(`glat.scoring.intervals`) was simulated: docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .metrics import Ranked, ap_and_auc_from_counts, check, columns, d_primes, rank


class Estimate(NamedTuple):
    """A metric on one set of n clips, and how it varies over others."""

    value: float  # by the metric's definition
    centre: float  # without its lean on few positives
    influence: np.ndarray  # (n,) float64
    doubt: float = 0.0  # variance that the influences do not show
    spare: float = 0.0  # the part of the doubt in the variance of one clip, beside centre (1 - centre)
    freedom: float = np.inf  # upper bound on the degrees of freedom: positives less one, summed over classes
    folds: tuple[float, ...] = ()  # of a mean over folds, the centre of each: every fold has a network of its own


class Jackknife(NamedTuple):
    """The means over classes, for one system on one set of clips."""

    mAP: Estimate
    mAUC: Estimate
    d_prime: Estimate


def class_estimates(target: ArrayLike, score: ArrayLike) -> Iterator[tuple[Estimate, Estimate] | None]:
    """AP and AUC of each class in turn: None for a class without positives, an AUC of NaN for one without negatives.

    target and score are (clips, classes). Raises GlatError for input that `check` refuses.
    """
    yield from checked_estimates(*check(target, score))


def checked_estimates(target: np.ndarray, score: np.ndarray) -> Iterator[tuple[Estimate, Estimate] | None]:
    """`class_estimates` of what `check` returns: bool and floating point, all finite."""
    for y, s in columns(target, score):
        ranked = rank(y, s)
        yield _class_estimate(ranked, len(y)) if ranked.levels else None


def jackknife(target: ArrayLike, score: ArrayLike) -> Jackknife:
    """mAP, mAUC and d' of one system: NaN where no class has a value. Arguments and errors as `class_estimates`."""
    return over_classes(class_estimates(target, score), np.shape(target)[0])


def over_classes(classes: Iterable[tuple[Estimate, Estimate] | None], clips: int) -> Jackknife:
    """As `jackknife`, from the output of `class_estimates`; only one class at a time is in memory."""
    ap, auc = _Mean(clips), _Mean(clips)
    for found in classes:
        if found:
            ap.add(found[0])
            auc.add(found[1])
    return Jackknife(ap.mean(), auc.mean(), d_prime_of(auc.mean()))


class _Mean:
    """The mean over the classes that have a value, with one class at a time in memory."""

    def __init__(self, clips: int):
        self.sums, self.influence, self.freedom, self.classes = np.zeros(4), np.zeros(clips), 0.0, 0

    def add(self, one: Estimate) -> None:
        if not np.isnan(one.value):
            self.sums += [one.value, one.centre, one.spare, one.doubt]
            self.influence += one.influence
            self.freedom += one.freedom
            self.classes += 1

    def mean(self) -> Estimate:
        if not self.classes:
            return Estimate(np.nan, np.nan, self.influence)
        value, centre, spare, doubt = (float(total) for total in self.sums / self.classes)
        influence, doubt = self.influence / self.classes, doubt / self.classes
        return Estimate(value, centre, influence, doubt, spare, self.freedom)


def d_prime_of(auc: Estimate) -> Estimate:
    """d' of a mean AUC, by the delta method: d(d') / d(AUC) = sqrt(2) / phi(Phi^-1(AUC)) = 2 sqrt(pi) exp(d'^2 / 4)."""
    value, centre = (float(x) for x in d_primes(np.array([auc.value, auc.centre])))
    if not np.isfinite(value):
        return Estimate(value, centre, np.full_like(auc.influence, np.nan))
    slope = 2 * np.pi**0.5 * np.exp(value**2 / 4)
    folds = tuple(centre + slope * (one - auc.centre) for one in auc.folds)
    return Estimate(value, centre, slope * auc.influence, slope**2 * auc.doubt, np.nan, auc.freedom, folds)


def _class_estimate(ranked: Ranked, clips: int) -> tuple[Estimate, Estimate]:
    """AP and AUC of a class with K levels. p (K,): positives by level; q (2K + 1,): negatives by place, the last below
    all."""
    p = np.bincount(ranked.level, minlength=ranked.levels).astype(np.float64)
    q = np.bincount(ranked.place, minlength=2 * ranked.levels + 1).astype(np.float64)
    positives = len(ranked.positives)
    q[-1] = clips - positives - q.sum()
    ap, auc = ap_and_auc_from_counts(p, q[:-1], clips)
    known = float(max(min(p.sum(), q.sum()), 1))
    above = np.cumsum(q)[1::2]  # (K,): negatives tied with a positive or above it
    # Mistakes: the fewest of positives not above all negatives, negatives not below all positives, and the same two for
    # the reversed ranking.
    ahead = above - q[1::2]  # (K,): negatives above a positive
    mistakes = min(p @ (above > 0), above[-1], p @ (ahead < q.sum()), q.sum() - ahead[0])

    def estimate(value: float, centre: float, without: tuple[np.ndarray, np.ndarray]) -> Estimate:
        """without: the value without a positive of each level (K,), and without a negative of each place (2K + 1,)."""
        of_positives, of_negatives = (_influence(*group, clips) for group in zip(without, (p, q), strict=True))
        influence = np.full(clips, of_negatives[-1])
        influence[ranked.negatives] = of_negatives[ranked.place]
        influence[ranked.positives] = of_positives[ranked.level]
        seen = float(mistakes) if known > 1 and np.ptp(influence) > 1e-9 else 0.0  # all tied: nothing is known
        spare = unseen_variance(value, known, seen)
        return Estimate(value, centre, influence, spare / known, spare, known - 1)

    return estimate(ap, _ap_centre(ap, p, q), _without_ap(ap, p, q)), estimate(auc, auc, _without_auc(auc, p, q))


def _influence(without: np.ndarray, count: np.ndarray, clips: int) -> np.ndarray:
    """u of a clip at each level or place, which has `count` clips, from the value without one of them."""
    size = max(count.sum(), 1)
    return clips * ((size - 1) / size) ** 0.5 * (count @ without / size - without)


def _without_ap(ap: float, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AP without a positive of each level, (K,), and without a negative of each place, (2K + 1,)."""
    positives, true, false = p.sum(), np.cumsum(p), np.cumsum(q)[1::2]  # (K,): P_k and N_k
    # Without a negative, precision is higher at its level and all below: P_k / (P_k + N_k - 1).
    rise = p * true / ((true + false) * np.maximum(true + false - 1, 1)) / positives
    rise = np.append(np.cumsum(rise[::-1])[::-1], 0)  # (K + 1,)
    negative = ap + np.repeat(rise, 2)[:-1]
    if positives < 2:
        return np.full_like(p, ap), negative
    # Without a positive of level k, the levels above keep their precision, and level k and those below lose a true one.
    whole, less = p * true / (true + false), (true - 1) / np.maximum(true + false - 1, 1)
    above, below = np.cumsum(whole) - whole, np.cumsum((p * less)[::-1])[::-1] - p * less
    return (above + (p - 1) * less + below) / (positives - 1), negative


def _without_auc(auc: float, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC without a positive of each level, (K,), and without a negative of each place, (2K + 1,)."""
    positives, negatives, true = p.sum(), q.sum(), np.cumsum(p)
    beaten = negatives - np.cumsum(q)[1::2] + q[1::2] / 2  # (K,): negatives below a positive, a tie being a half
    ahead = np.empty_like(q)  # (2K + 1,): positives above a negative
    ahead[0::2], ahead[1::2] = np.append(0, true), true - p / 2
    pairs = auc * positives * negatives
    positive = (pairs - beaten) / (max(positives - 1, 1) * negatives) if negatives else np.full_like(p, np.nan)
    return positive, (pairs - ahead) / (positives * max(negatives - 1, 1))


def _ap_centre(ap: float, p: np.ndarray, q: np.ndarray) -> float:
    """AP with each positive's precision computed from the other clips at its level or above, or at the next below."""
    positives = p.sum()
    if positives < 2:
        return ap
    true, false = (np.cumsum(p) - 1) * positives / (positives - 1), np.cumsum(q)[1::2]  # (K,)
    precision = true / np.maximum(true + false, 1)
    if true[0] + false[0] == 0:  # a single positive at the top
        precision[0] = 0 if q[2] else p[1] / (p[1] + q[3])
    return float(p @ precision / positives)


def accuracy(target: np.ndarray, score: np.ndarray) -> Estimate | None:
    """The share of clips whose highest score is that of their label; None unless each clip has one label. Its interval is
    Wilson's.

    target (clips, L) bool, score (clips, L) finite.
    """
    if target.shape[1] < 2 or not len(target) or not (target.sum(1) == 1).all():
        return None
    right = target[np.arange(len(target)), score.argmax(1)].astype(np.float64)
    value, clips = float(right.mean()), len(right)
    spare = unseen_variance(value, clips, float(min(right.sum(), clips - right.sum())))
    return Estimate(value, value, right - value, spare / clips, spare, clips - 1)


def unseen_variance(value: float, known: float, mistakes: float) -> float:
    """The variance that one more clip would add to a value from `known` clips with `mistakes` seen: see `doubt`
    above."""
    likely = (known * value + 1) / (known + 2)
    return likely * (1 - likely) * 0.5**mistakes

"""How far a metric would move with other clips: what each clip does to AP, AUC, mAP, mAUC and d', in closed form.

A class's AP and AUC are computed without each of its clips in turn, from the same counts as the metric itself: a clip
matters only by its place among the class's levels (`glat.scoring.metrics`), so all leave-one-out values of a class cost
two cumulative sums. From them

- the *influence* of clip i, u_i = n sqrt((m - 1) / m) (mean over its group - value without i), where its group are the
  m clips of n that have the class, or the others; the variance over sets of clips with these numbers of positives is
  sum_i u_i^2 / n^2. For AUC that is DeLong's variance. A mean over classes has the mean of their influences, which
  holds how classes vary together in a clip; the difference of two systems has the difference of theirs, which pairs
  them.
- the *centre*, AP without its lean. A positive counts itself among the positives that score as high, so that AP on a
  few dozen positives is higher than on many: by 3 standard errors of mAP on AudioSet's evaluation set. In the centre
  each positive's precision is that of the clips ranked as high apart from itself, P / (P - 1) to each other positive;
  the first clip of all has the precision of the next. AUC has no lean: its centre is its value.
- the *doubt*, a variance where the jackknife can see none. m clips ranked without a mistake don't prove that there is
  none: the rule of succession gives the next clip a mistake with a chance of 1 / (m + 2). Each mistake seen halves the
  doubt.

Sources: Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", 1982; DeLong et al., "Comparing the areas
under two or more correlated ROC curves", Biometrics 1988. What the intervals of `glat.scoring.intervals` then hold was
found by simulation: docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .metrics import Ranked, ap_and_auc_from_counts, check, columns, d_primes, rank


class Estimate(NamedTuple):
    """A metric on one set of n clips, and what it would be on others."""

    value: float  # as the metric is defined
    centre: float  # without its lean on few positives
    influence: np.ndarray  # (n,) float64
    doubt: float = 0.0  # variance that the influences don't show
    spare: float = 0.0  # what doubt adds to centre (1 - centre), the variance of one clip of which nothing is known
    freedom: float = np.inf  # at most so many degrees of freedom: positives less one, summed over classes


class Jackknife(NamedTuple):
    """One system on one set of clips: the means over classes."""

    mAP: Estimate
    mAUC: Estimate
    d_prime: Estimate


def class_estimates(target: ArrayLike, score: ArrayLike) -> Iterator[tuple[Estimate, Estimate] | None]:
    """AP and AUC of each class in turn; None for a class without a positive, and an AUC of NaN without a negative.

    target and score are (clips, classes). Raises GlatError for input that `check` refuses.
    """
    for y, s in columns(*check(target, score)):
        ranked = rank(y, s)
        yield _of_class(ranked, len(y)) if ranked.levels else None


def jackknife(target: ArrayLike, score: ArrayLike) -> Jackknife:
    """mAP, mAUC and d' of one system: NaN where no class has a value. Arguments and errors as `class_estimates`."""
    return over_classes(class_estimates(target, score), np.shape(target)[0])


def over_classes(classes: Iterable[tuple[Estimate, Estimate] | None], clips: int) -> Jackknife:
    """The same of what `class_estimates` gives, of which one class at a time is held."""
    ap, auc = _Mean(clips), _Mean(clips)
    for found in classes:
        if found:
            ap.add(found[0])
            auc.add(found[1])
    return Jackknife(ap.mean(), auc.mean(), _d_prime(auc.mean()))


class _Mean:
    """The mean over the classes that have a value, of which one at a time is held."""

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


def _d_prime(auc: Estimate) -> Estimate:
    """d' of a mean AUC, by the delta method: d(d') / d(AUC) = sqrt(2) / phi(Phi^-1(AUC)) = 2 sqrt(pi) exp(d'^2 / 4)."""
    value, centre = (float(x) for x in d_primes(np.array([auc.value, auc.centre])))
    if not np.isfinite(value):
        return Estimate(value, centre, np.full_like(auc.influence, np.nan))
    slope = 2 * np.pi**0.5 * np.exp(value**2 / 4)
    return Estimate(value, centre, slope * auc.influence, slope**2 * auc.doubt, np.nan, auc.freedom)


def _of_class(ranked: Ranked, clips: int) -> tuple[Estimate, Estimate]:
    """AP and AUC of a class of K levels. p (K,) positives by level, q (2K + 1,) negatives by place, the last below
    all."""
    p = np.bincount(ranked.level, minlength=ranked.levels).astype(np.float64)
    q = np.bincount(ranked.place, minlength=2 * ranked.levels + 1).astype(np.float64)
    positives = len(ranked.positives)
    q[-1] = clips - positives - q.sum()
    ap, auc = ap_and_auc_from_counts(p, q[:-1], clips)
    known = float(max(min(p.sum(), q.sum()), 1))
    above = np.cumsum(q)[1::2]  # (K,): negatives tied with a positive or above it
    # Mistakes: positives that are not above all negatives, or negatives not below all positives; in a ranking that is
    # upside down, those that are not on the other side.
    ahead = above - q[1::2]  # (K,): negatives above a positive
    mistakes = min(p @ (above > 0), above[-1], p @ (ahead < q.sum()), q.sum() - ahead[0])

    def estimate(value: float, centre: float, without: tuple[np.ndarray, np.ndarray]) -> Estimate:
        """without: the value without a positive of each level, (K,), and a negative of each place, (2K + 1,)."""
        of_positives, of_negatives = (_influence(*group, clips) for group in zip(without, (p, q), strict=True))
        influence = np.full(clips, of_negatives[-1])
        influence[ranked.negatives] = of_negatives[ranked.place]
        influence[ranked.positives] = of_positives[ranked.level]
        seen = float(mistakes) if known > 1 and np.ptp(influence) > 1e-9 else 0.0  # all tied: nothing was seen
        spare = unseen(value, known, seen)
        return Estimate(value, centre, influence, spare / known, spare, known - 1)

    return estimate(ap, _ap_centre(ap, p, q), _without_ap(ap, p, q)), estimate(auc, auc, _without_auc(auc, p, q))


def _influence(without: np.ndarray, count: np.ndarray, clips: int) -> np.ndarray:
    """u of a clip at each level or place, of which `count` clips are there, from the value without one of them."""
    size = max(count.sum(), 1)
    return clips * ((size - 1) / size) ** 0.5 * (count @ without / size - without)


def _without_ap(ap: float, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AP without a positive of each level, (K,), and without a negative of each place, (2K + 1,)."""
    positives, true, false = p.sum(), np.cumsum(p), np.cumsum(q)[1::2]  # (K,): P_k and N_k
    # Without a negative, precision rises at its level and all below: P_k / (P_k + N_k - 1).
    rise = p * true / ((true + false) * np.maximum(true + false - 1, 1)) / positives
    rise = np.append(np.cumsum(rise[::-1])[::-1], 0)  # (K + 1,)
    negative = ap + np.repeat(rise, 2)[:-1]
    if positives < 2:
        return np.full_like(p, ap), negative
    # Without a positive of level k the levels above keep their precision, the others at k and below lose a true one.
    whole, less = p * true / (true + false), (true - 1) / np.maximum(true + false - 1, 1)
    above, below = np.cumsum(whole) - whole, np.cumsum((p * less)[::-1])[::-1] - p * less
    return (above + (p - 1) * less + below) / (positives - 1), negative


def _without_auc(auc: float, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC without a positive of each level, (K,), and without a negative of each place, (2K + 1,)."""
    positives, negatives, true = p.sum(), q.sum(), np.cumsum(p)
    beaten = negatives - np.cumsum(q)[1::2] + q[1::2] / 2  # (K,): negatives below a positive, a tie is half of one
    ahead = np.empty_like(q)  # (2K + 1,): positives above a negative
    ahead[0::2], ahead[1::2] = np.append(0, true), true - p / 2
    pairs = auc * positives * negatives
    positive = (pairs - beaten) / (max(positives - 1, 1) * negatives) if negatives else np.full_like(p, np.nan)
    return positive, (pairs - ahead) / (positives * max(negatives - 1, 1))


def _ap_centre(ap: float, p: np.ndarray, q: np.ndarray) -> float:
    """AP where each positive's precision is that of the other clips at its level or above, or of the next below."""
    positives = p.sum()
    if positives < 2:
        return ap
    true, false = (np.cumsum(p) - 1) * positives / (positives - 1), np.cumsum(q)[1::2]  # (K,)
    precision = true / np.maximum(true + false, 1)
    if true[0] + false[0] == 0:  # nothing but itself at the top
        precision[0] = 0 if q[2] else p[1] / (p[1] + q[3])
    return float(p @ precision / positives)


def unseen(value: float, known: float, mistakes: float) -> float:
    """The variance of one more clip's part in a value of `known` clips, of which `mistakes` were seen; see `doubt`
    above."""
    likely = (known * value + 1) / (known + 2)
    return likely * (1 - likely) * 0.5**mistakes

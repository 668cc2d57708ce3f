"""Intervals of metrics, and whether one system differs from another.

A metric varies with the clips that were evaluated and with the seed of the training. Over S seeds that were evaluated
on the same clips, the variance of its mean has two parts:

- clips: sum_i u_i^2 / n^2 (+ doubt), where u is the mean over seeds of the influences of `glat.scoring.jackknife`, with
  the degrees of freedom that their fourth moments leave;
- seeds: s^2 / S with S - 1 degrees of freedom, where s is the standard deviation over seeds.

The half-width h of an interval combines both: h^2 = q^2 clips + t^2 seeds, with Student's q and t of the two degrees of
freedom. This holds its level whatever the ratio of the two. (Satterthwaite's approximation does not: with two seeds it
calls 13 % of equal systems different.) One seed shows nothing of the second part: its interval is over clips alone, and
gets no verdict.

In a cross-validation each of the F folds has clips and a network of its own, so the folds lie apart by both:

- folds: s_F^2 / F with F - 1 degrees of freedom, where s_F is the standard deviation over folds of the means over seeds. It
  estimates the variance over clips and networks together, from few folds; that over clips, from many clips, is a part of it.

Then h^2 = max(q^2 clips, t_F^2 folds) + t^2 seeds. The second of the two alone holds its level where folds are independent;
the first keeps folds that happen to agree from promising more than their clips can. (To add to the clips what the folds
show beyond them, floored at 0, gives narrower intervals that do not hold: of five folds, nominal 95 % cover 92.6 %.) That the
folds' networks are trained on clips in common correlates them, and no estimate from one cross-validation is free of that
(Bengio and Grandvalet): other training clips, which would move all folds at once, are not in the interval.

An interval is for the metric on endlessly many clips with the same share of each class (`Estimate.centre`). It is not
for the mean over sets of this size, which for AP is higher. It always contains the value itself: if an end is moved for
that, the other end moves too, so that both sides together still exclude the same share.

Sources: Wilson, JASA 1927 (between 0 and 1); Cochran, Biometrics 1964 (two variances); Holm, Scand. J. Statist. 1979;
Bengio and Grandvalet, "No Unbiased Estimator of the Variance of K-Fold Cross-Validation", JMLR 2004.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import stdtrit

from ..lib.errors import GlatError
from .jackknife import Estimate
from .metrics import d_primes

SMALLEST_P = 1e-12


class Interval(NamedTuple):
    """A metric, and its interval for endlessly many clips; NaN if it has none."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """A metric of system a minus that of b, its interval, and two-sided p, which is NaN with one seed."""

    difference: float
    low: float
    high: float
    p: float


NONE = Difference(np.nan, np.nan, np.nan, np.nan)


class Variances(NamedTuple):
    """The variance of a mean over seeds, by source, with its degrees of freedom. folds: over clips and networks."""

    clips: float
    clips_freedom: float
    seeds: float = 0.0
    seeds_freedom: int = 0  # 0 with one seed
    folds: float = 0.0
    folds_freedom: int = 0  # 0 without folds

    def half_width(self, p: float) -> float:
        """The half-width of an interval that excludes the share p."""
        squared = stdtrit(self.clips_freedom, 1 - p / 2) ** 2 * self.clips
        if self.folds_freedom:
            squared = max(squared, stdtrit(self.folds_freedom, 1 - p / 2) ** 2 * self.folds)
        if self.seeds_freedom:
            squared += stdtrit(self.seeds_freedom, 1 - p / 2) ** 2 * self.seeds
        return float(squared**0.5)

    def p(self, distance: float) -> float:
        """Two-sided p of a distance from 0: the share that an interval of this half-width excludes."""
        if distance == 0:
            return 1.0
        if self.half_width(SMALLEST_P) <= abs(distance):
            return SMALLEST_P
        log_p = brentq(lambda x: self.half_width(np.exp(x)) - abs(distance), np.log(SMALLEST_P), 0)
        return float(np.exp(log_p))


def variances(estimates: Sequence[Estimate]) -> Variances:
    """The variance of a metric's mean over seeds, from one estimate per seed on the same clips (and folds)."""
    influence = np.mean([one.influence for one in estimates], axis=0)
    second = influence @ influence
    clips = second / len(influence) ** 2 + np.mean([one.doubt for one in estimates])
    fourth = (influence**2) @ (influence**2)
    freedom = min(one.freedom for one in estimates)
    if second > 0 and (apart := fourth / second**2 - 1 / len(influence)) > 0:
        freedom = min(freedom, 2 / apart)
    seeds = _variance_of_mean(np.array([one.centre for one in estimates]))
    folds = _variance_of_mean(np.mean([one.folds for one in estimates], axis=0))
    return Variances(float(clips), float(max(freedom, 1)), *seeds, *folds)


def _variance_of_mean(values: np.ndarray) -> tuple[float, int]:
    """s^2 / n of independent values (n,), and its degrees of freedom; zeros for fewer than two."""
    count = len(values)
    return (float(np.var(values, ddof=1)) / count, count - 1) if count > 1 else (0.0, 0)


def interval(estimates: Sequence[Estimate], confidence: float = 0.95) -> Interval:
    """The mean over seeds of AP, AUC or their mean over classes, all from 0 to 1; one estimate a seed, on the same
    clips.

    Raises:
        GlatError: a confidence that does not lie between 0 and 1.

    >>> from glat.scoring.jackknife import jackknife
    >>> target, score = np.eye(20, dtype=bool).repeat(5, 0), np.random.default_rng(0).random((100, 20))
    >>> "{:.3f} [{:.3f}, {:.3f}]".format(*interval([jackknife(target, score).mAUC]))
    '0.471 [0.409, 0.534]'
    """
    _check_confidence(confidence)
    value, centre = _means(estimates)
    if not np.isfinite(value):
        return Interval(value, np.nan, np.nan)
    spare = float(np.mean([one.spare for one in estimates]))
    return Interval(value, *proportion(value, centre, variances(estimates), spare, confidence))


def proportion(value: float, centre: float, found: Variances, spare: float, confidence: float) -> tuple[float, float]:
    """The ends of the interval of a value from 0 to 1.

    They are Wilson's: the values whose own variance, in proportion to value (1 - value), puts the centre a half-width
    away. For m independent clips, `spare` being that of `jackknife.unseen_variance`, they equal Wilson's exactly.
    """
    unit = centre * (1 - centre) + spare

    def bounds(p: float) -> tuple[float, float]:
        ratio = found.half_width(p) ** 2 / unit
        middle, half = centre + ratio / 2, (ratio * centre * (1 - centre) + ratio**2 / 4) ** 0.5
        return max((middle - half) / (1 + ratio), 0.0), min((middle + half) / (1 + ratio), 1.0)

    def share_outside(end: float) -> float:
        return found.p(abs(end - centre) * (unit / (end * (1 - end))) ** 0.5) if 0 < end < 1 else 0.0

    return _ends_around(value, bounds, share_outside, 1 - confidence)


def d_prime_interval(d_prime: Sequence[Estimate], auc: Sequence[Estimate], confidence: float = 0.95) -> Interval:
    """The mean over seeds of d', and d' of the ends of mAUC's interval; NaN where these are infinite."""
    value = _means(d_prime)[0]
    low, high = d_primes(np.clip(interval(auc, confidence)[1:], 0, 1))
    ends = value, min(low, value), max(high, value)
    return Interval(*(float(end) if np.isfinite(end) else np.nan for end in ends))


def difference(a: Sequence[Estimate], b: Sequence[Estimate], confidence: float = 0.95) -> Difference:
    """System a minus system b, paired by clip, fold and seed: one estimate per seed for each, all on the same clips.

    p is that of the difference or of the difference without its lean, whichever is closer to 0; it is 1 if their signs
    differ. Returns `NONE` if a value is missing or infinite.

    Raises:
        GlatError: a confidence that does not lie between 0 and 1.
    """
    _check_confidence(confidence)
    if not np.isfinite([one.value for one in (*a, *b)]).all():
        return NONE
    apart = [
        Estimate(x.value - y.value, x.centre - y.centre, x.influence - y.influence, x.doubt + y.doubt,
                 freedom=min(x.freedom, y.freedom), folds=tuple(p - q for p, q in zip(x.folds, y.folds, strict=True)))
        for x, y in zip(a, b, strict=True)
    ]  # fmt: skip
    (value, centre), found = _means(apart), variances(apart)
    low, high = _ends_around(
        value,
        lambda p: (centre - found.half_width(p), centre + found.half_width(p)),
        lambda end: found.p(end - centre),
        1 - confidence,
    )
    p = found.p(min(abs(value), abs(centre)) if value * centre > 0 else 0.0) if len(apart) > 1 else np.nan
    return Difference(value, low, high, p)


def holm(p: ArrayLike) -> np.ndarray:
    """p (T,) of T tests, corrected so that the chance of rejecting any true null is at most the level; NaN: not a
    test.

    >>> holm([0.01, 0.04, np.nan, 0.03])
    array([0.03, 0.06,  nan, 0.06])
    """
    p = np.asarray(p, np.float64)
    corrected, tested = np.full_like(p, np.nan), np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return corrected


def _means(estimates: Sequence[Estimate]) -> tuple[float, float]:
    return float(np.mean([one.value for one in estimates])), float(np.mean([one.centre for one in estimates]))


def _ends_around(
    value: float, bounds: Callable[[float], tuple[float, float]], share_outside: Callable[[float], float], share: float
) -> tuple[float, float]:
    """The ends of an interval that excludes `share`, on both sides together, and contains the value.

    bounds: share -> ends of the interval that excludes it, half on each side. share_outside: its inverse for one end.
    """
    low, high = bounds(share)
    if low - 1e-12 <= value <= high + 1e-12:
        return min(low, value), max(high, value)
    other = min(2 * (share - share_outside(value) / 2), 1.0)
    return (bounds(other)[0], value) if value > high else (value, bounds(other)[1])


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise GlatError(f"confidence is {confidence}; it must be between 0 and 1, as in 0.95 for a 95 % interval")

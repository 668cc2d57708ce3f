"""Intervals by Rubin's bootstrap over clips, and over seeds.

A resample gives each clip a weight drawn from Exp(1), instead of the number of times that it is drawn ("The Bayesian
Bootstrap", Ann. Statist. 1981): the same variance, and no resample lacks a class. Whatever a clip holds, its windows, frames
and events, is weighted as one, since those of one clip depend on each other. All systems and seeds get the same weights, so
that their differences are paired.

Over S seeds the half-width h of an interval is h^2 = c^2 + t^2 s^2 / S: c, that over clips of the mean over seeds; s, the
standard deviation over seeds; t, Student's quantile of S - 1 degrees of freedom. (Drawing the seeds again, too, would make the
interval of three seeds too narrow by a fifth.) One seed shows nothing of the second part.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit, ndtri, stdtrit

from .intervals import Interval

SHARES = 2000  # resamples for shares of windows, which cost little


def clip_weights(resamples: int, clips: int, seed: int = 0) -> np.ndarray:
    """(resamples, clips) weights with mean 1."""
    drawn = np.random.default_rng(seed).standard_exponential((resamples, clips))
    return drawn / drawn.mean(1, keepdims=True)


def bounded(by_seed: np.ndarray, draws: np.ndarray, level: float) -> Interval:
    """The mean over seeds of a measure from 0 to 1, and its interval: that of its logit, which a measure near 0 or 1 needs.

    by_seed: (S,), the measure; draws: (S, R), the same in R resamples. Where it is 0 or 1 itself, as where nothing was found,
    resamples say nothing of other clips: the ends are then NaN.

    >>> [round(end, 3) for end in bounded(np.array([0.9]), np.array([[0.85, 0.95, 0.85, 0.95]]), level=0.95)]
    [0.9, 0.752, 0.964]
    """
    value, low, high = spread(by_seed, draws, level)
    if not 1e-9 < value < 1 - 1e-9:
        return Interval(value, np.nan, np.nan)
    half = (high - low) / 2 / (value * (1 - value))
    return Interval(value, float(expit(logit(value) - half)), float(expit(logit(value) + half)))


def spread(by_seed: np.ndarray, draws: np.ndarray, level: float) -> Interval:
    """The mean over seeds of any number, as a difference of measures, and its interval. Arguments as `bounded`; the ends are
    NaN where all resamples are the same."""
    value, of_clips = float(np.mean(by_seed)), float(np.std(draws.mean(0)))
    half = float(np.hypot(ndtri(0.5 + level / 2) * of_clips, _of_seeds(by_seed, level))) if of_clips > 1e-12 else np.nan
    return Interval(value, value - half, value + half)


def share(ones: np.ndarray, counts: np.ndarray, level: float, seed: int = 0) -> Interval:
    """The mean over seeds of a share, as of windows that hit, and its interval.

    ones, counts: (S, clips), how many of a clip's windows hit, and how many it has, for each seed. Half a clip that always hits
    and half a clip that never does are added to a resample, so that windows that all hit do not prove that none would miss: the
    interval of single windows is then that of Jeffreys.
    """
    known = counts.sum(1) > 0
    ones, counts = ones[known].astype(float), counts[known].astype(float)
    if not len(ones):
        return Interval(np.nan, np.nan, np.nan)
    of_seed = ones.sum(1) / counts.sum(1)
    some = counts.any(0)
    ones, counts = ones[:, some], counts[:, some]
    rng = np.random.default_rng(seed)
    weights = rng.standard_exponential((SHARES, ones.shape[1]))
    usual = counts.sum(1) / np.maximum((counts > 0).sum(1), 1)  # (S,): windows of a clip that has any
    yes, no = rng.standard_gamma(0.5, (2, SHARES, 1)) * usual
    draws = ((weights @ ones.T + yes) / (weights @ counts.T + yes + no)).mean(1)  # (R,)
    value, seeds = float(of_seed.mean()), _of_seeds(of_seed, level)
    ends = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2])
    below, above = np.hypot(np.maximum([value - ends[0], ends[1] - value], 0), seeds)
    return Interval(value, max(value - float(below), 0.0), min(value + float(above), 1.0))


def _of_seeds(values: np.ndarray, level: float) -> float:
    """The half-width that the seeds alone would give; 0 for one."""
    count = len(values)
    return float(stdtrit(count - 1, 0.5 + level / 2) * np.std(values, ddof=1) / count**0.5) if count > 1 else 0.0

"""Bootstrap over clips: intervals for mAP, mAUC and d' of one system, and for the difference between two.

A resample draws as many clips as there are, with replacement and whole, with all their labels. It is a whole number of
copies of each clip, so the counts that `glat.metrics` makes of clips become sums of these weights: the clips are ranked
once, and each class of each resample costs a few sums over the ranked clips.

A clip drawn twice ties with itself, so resampled AP leans upwards, most for classes of few positives: over hundreds
of them, mAP's interval may lie above its estimate. The difference between two systems leans far less, AUC not.

Resample r is the same draw of clips for every system that is scored on the same clips with the same seed. So `resample`
is computed once a system, and any difference between two of them is a subtraction of what it kept. Where a system was
trained with several seeds, each resample also draws among these, with replacement (`interval`, `difference`): the
interval then holds the spread of training too. With few seeds that spread is underestimated, by (S - 1) / S in
variance; with one it is not there at all.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13 (percentile interval).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn.functional import embedding_bag

from .errors import GlatError
from .metrics import ap_and_auc, ap_and_auc_from_counts, check, columns, means, rank

# Resamples weighed together: (20 371 clips, 128) float32 is 10 MB, so that a worker's weights stay in the cache.
BLOCK = 128


class Interval(NamedTuple):
    """A metric on all clips, and its percentile interval over resamples of the clips."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """What `bootstrap` finds."""

    mAP: Interval
    mAUC: Interval
    d_prime: Interval
    resamples: int
    confidence: float


class Difference(NamedTuple):
    """A metric of system a minus that of b on all clips, its percentile interval and two-sided bootstrap p."""

    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Differences:
    """What `paired_bootstrap` finds: system a minus system b."""

    mAP: Difference
    mAUC: Difference
    d_prime: Difference
    resamples: int
    confidence: float


@dataclass(frozen=True)
class Resampled:
    """One system's metrics on all clips, and in each resample of them."""

    estimate: dict[str, float]  # by metric: mAP, mAUC, d_prime
    values: dict[str, np.ndarray]  # by metric: (resamples,) float64, NaN where no class had a positive
    ap: np.ndarray  # (resamples, classes) float64: AP of each class, NaN where it had no positive
    auc: np.ndarray  # (resamples, classes) float64: AUC alike


def multiplicities(clips: int, resamples: int, seed: int = 0) -> np.ndarray:
    """How often each clip is drawn when `clips` clips are drawn with replacement: (resamples, clips) int32.

    Resample r depends on `seed`, `clips` and r alone, not on `resamples`.
    """
    random = np.random.default_rng(seed)
    counts = np.empty((resamples, clips), np.int32)
    for row in counts:
        row[:] = np.bincount(random.integers(clips, size=clips), minlength=clips)
    return counts


def resampled(
    target: ArrayLike, score: ArrayLike, counts: np.ndarray, workers: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """AP and AUC of each class in each resample: two (resamples, classes) float64 arrays, NaN where there is no value.

    counts is (resamples, clips), as `multiplicities` draws it: entry (r, i) is how often resample r holds clip i, as
    scikit-learn's `sample_weight`. workers is a number of threads (default: as many as torch may use here) and does
    not change the result. Raises GlatError for input that `check` refuses and for counts of another shape.
    """
    target, score = check(target, score)
    if counts.ndim != 2 or counts.shape[1] != len(target):
        raise GlatError(f"counts must be (resamples, {len(target)} clips), not {counts.shape}.")
    if workers is not None and workers < 1:
        raise GlatError(f"a bootstrap needs at least 1 worker, not {workers}.")
    classes = [_bags(*column) for column in columns(target, score)]
    ap, auc = np.full((2, len(counts), target.shape[1]), np.nan)
    # Counts are whole numbers, exact in float32 up to 2**24.
    exact = np.float32 if counts.sum(axis=1).max(initial=0) <= 2**24 else np.float64

    def fill(start: int) -> None:
        block = slice(start, start + BLOCK)
        weight = torch.from_numpy(np.ascontiguousarray(counts[block].T, exact))  # (clips, block)
        total = counts[block].sum(axis=1)  # (block,)
        for label, bags in enumerate(classes):
            if bags is not None:
                positive, negative = (embedding_bag(ids, weight, starts, mode="sum").numpy() for ids, starts in bags)
                ap[block, label], auc[block, label] = ap_and_auc_from_counts(positive, negative, total)

    with _one_torch_thread() as threads, ThreadPoolExecutor(workers or threads) as pool:
        list(pool.map(fill, range(0, len(counts), BLOCK)))
    return ap, auc


def resample(
    target: ArrayLike, score: ArrayLike, resamples: int = 1000, seed: int = 0, workers: int | None = None
) -> Resampled:
    """Score one system on all clips and on `resamples` resamples of them.

    target and score are (clips, classes). Clips are drawn with replacement, whole, with all their labels. A class that
    a resample leaves without a positive is left out of that resample's means. The same seed gives the same resamples
    with any number of workers (threads). Raises GlatError for input that `check` refuses and fewer than one resample.
    """
    target, score = check(target, score)
    if resamples < 1:
        raise GlatError(f"a bootstrap needs at least 1 resample, not {resamples}.")
    ap, auc = resampled(target, score, multiplicities(len(target), resamples, seed), workers)
    estimate = means(*ap_and_auc(target, score))
    return Resampled({name: float(value) for name, value in estimate.items()}, means(ap, auc), ap, auc)


def interval(estimates: ArrayLike, values: ArrayLike, confidence: float = 0.95) -> Interval:
    """The mean over S training seeds of a metric, and its percentile interval over clips and seeds.

    estimates: (S,), one a seed, on all clips; values: (S, resamples), as `Resampled.values` holds them for each seed.
    """
    _check_confidence(confidence)
    return Interval(float(np.mean(estimates)), *_percentile(over_seeds(np.asarray(values)), confidence))


def difference(
    estimates_a: ArrayLike, values_a: ArrayLike, estimates_b: ArrayLike, values_b: ArrayLike, confidence: float = 0.95
) -> Difference:
    """System a minus system b, paired by clip and by training seed; arguments as `interval`, for each of the two.

    p is twice the smaller share of resamples whose difference is at most, or at least, 0, where the observed sample
    counts as one more: p is at least 2 / (resamples + 1), and 1 for two equal systems.
    """
    _check_confidence(confidence)
    values = over_seeds(_minus(np.asarray(values_a), np.asarray(values_b)))
    estimate = np.mean(_minus(np.asarray(estimates_a), np.asarray(estimates_b)))
    return Difference(float(estimate), *_percentile(values, confidence), _two_sided_p(values))


def bootstrap(
    target: ArrayLike,
    score: ArrayLike,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    workers: int | None = None,
) -> Intervals:
    """Percentile intervals over clips for mAP, mAUC and d' of one system; arguments and errors as `resample`."""
    _check_confidence(confidence)
    found = resample(target, score, resamples, seed, workers)
    intervals = {name: interval([found.estimate[name]], found.values[name][None], confidence) for name in found.values}
    return Intervals(**intervals, resamples=resamples, confidence=confidence)


def paired_bootstrap(
    target: ArrayLike,
    score_a: ArrayLike,
    score_b: ArrayLike,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    workers: int | None = None,
) -> Differences:
    """How much better system a is than b on the same clips: `difference` for mAP, mAUC and d'; arguments as `resample`."""
    _check_confidence(confidence)
    a, b = (resample(target, score, resamples, seed, workers) for score in (score_a, score_b))
    differences = {
        name: difference([a.estimate[name]], a.values[name][None], [b.estimate[name]], b.values[name][None], confidence)
        for name in a.values
    }
    return Differences(**differences, resamples=resamples, confidence=confidence)


def _bags(target: np.ndarray, score: np.ndarray) -> tuple[tuple[torch.Tensor, torch.Tensor], ...] | None:
    """Positives by level and negatives by place, each as embedding_bag's (indices, where each bag starts)."""
    ranked = rank(target, score)
    if ranked.levels == 0:
        return None
    bags = []
    for ids, bag, count in (
        (ranked.positives, ranked.level, ranked.levels),
        (ranked.negatives, ranked.place, 2 * ranked.levels),
    ):
        size = np.bincount(bag, minlength=count)
        bags.append((torch.from_numpy(ids[np.argsort(bag)]), torch.from_numpy(np.cumsum(size) - size)))
    return tuple(bags)


def _minus(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0, a - b)  # two infinite d' are equal, not NaN apart


def over_seeds(values: np.ndarray) -> np.ndarray:
    """(S, resamples, ...) -> (resamples, ...): in each resample the mean over S seeds, drawn with replacement from the S."""
    seeds, resamples, *rest = values.shape
    draws = np.random.default_rng(seeds).integers(seeds, size=(seeds, resamples, *[1] * len(rest)))
    return np.take_along_axis(values, np.broadcast_to(draws, values.shape), 0).mean(0)


def percentiles(values: np.ndarray, confidence: float) -> np.ndarray:
    """(resamples, classes) -> (2, classes): the percentile interval of each class, NaN where no resample has a value."""
    return np.array([_percentile(column, confidence) for column in values.T]).T


def _percentile(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """The k-th smallest and k-th largest of (resamples,) values, k = (R + 1) (1 - confidence) / 2, at least 1.

    Resamples without a value (no class had a positive) don't count. Values aren't interpolated, as d' may be infinite.
    """
    values = np.sort(values[~np.isnan(values)])
    if not len(values):
        return float("nan"), float("nan")
    # The tolerance keeps 1000 * (1 - 0.9) / 2, which is 49.99... in floating point, from falling to 49.
    k = max(int((len(values) + 1) * (1 - confidence) / 2 + 1e-9), 1)
    return float(values[k - 1]), float(values[-k])


def _two_sided_p(difference: np.ndarray) -> float:
    difference = difference[~np.isnan(difference)]
    smaller = min(np.count_nonzero(difference <= 0), np.count_nonzero(difference >= 0))
    return min(1.0, 2 * (int(smaller) + 1) / (len(difference) + 1))


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise GlatError(f"confidence must lie between 0 and 1 (0.95 for a 95 % interval), not {confidence}.")


@contextmanager
def _one_torch_thread() -> Iterator[int]:
    """Keep torch to one thread while the workers share the cores; yields how many it had."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)

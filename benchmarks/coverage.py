"""Simulates how often intervals contain the truth, and how often equal systems are called different.

`python -m benchmarks.coverage --labels DIRECTORY`, where DIRECTORY holds AudioSet's `eval_segments.csv` and
`class_labels_indices.csv`, as published or as plain CSV. Without it, labels are made up, with as many clips and classes
and similar frequencies.

Coverage: labels are fixed, and scores are normal, higher by d_c for the positives of class c. Two truths are known. The
*population's* is the metric on endlessly many clips with the same share of positives, computed from the two normal
distributions. The *expectation* is the mean of the metric over sets of this size, taken from the simulations. The
intervals are for the first; where their coverage of the second differs, that is AP's lean.

Misses: the side to which the intervals of single classes miss, with few and many positives, near AUC 1 and far from it.

Verdicts: S seeds of two systems whose true difference, over seeds and clips, is 0. Metrics are sums of normal effects
of clips, of seeds and of both, with variances in various ratios; or they are computed from scores, as for a training.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from glat.data.lists import audioset
from glat.scoring.intervals import d_prime_interval, difference, interval
from glat.scoring.jackknife import Estimate, class_estimates, jackknife
from glat.scoring.metrics import d_primes

from .report import environment, report

GRID = np.linspace(-10, 14, 6001)  # of scores, over which the population's AP is integrated


def labels_of_mini(clips: int = 600, classes: int = 16) -> np.ndarray:
    """(clips, classes): 1 to 4 labels a clip, frequency as rank^-1.25, at least 1 % of clips a class."""
    random = np.random.default_rng(0)
    frequency = np.arange(1, classes + 1) ** -1.25
    target = np.zeros((clips, classes), bool)
    for row in target:
        row[random.choice(classes, random.integers(1, 4), replace=False, p=frequency / frequency.sum())] = True
    for label in np.flatnonzero(target.sum(0) < clips // 100):
        target[
            random.choice(np.flatnonzero(~target[:, label]), clips // 100 - target[:, label].sum(), False), label
        ] = 1
    return target


def labels_of_audioset(folder: Path | None, clips: int = 20_371, classes: int = 527) -> np.ndarray:
    """AudioSet's evaluation labels; without `folder`, made-up ones with 59 positives or more and a few frequent
    classes."""
    if folder is not None:
        listed = audioset.read_class_list(folder / "class_labels_indices.csv")
        return audioset.targets(audioset.read_segments(folder / "eval_segments.csv", listed), listed).astype(bool)
    random = np.random.default_rng(0)
    target = np.zeros((clips, classes), bool)
    for label, count in enumerate(np.maximum(59, 5695 / np.arange(1, classes + 1)).astype(int)):
        target[random.choice(clips, count, replace=False), label] = True
    return target


def population(target: np.ndarray, apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AP and AUC (classes,) of normal scores that are `apart` (classes,) standard deviations apart, at the labels'
    shares."""
    ap = []
    for share, by in zip(target.mean(0), apart, strict=True):
        true, false = share * norm.sf(GRID - by), (1 - share) * norm.sf(GRID)
        ap.append(np.trapezoid(norm.pdf(GRID - by) * true / (true + false), GRID))
    return np.array(ap), norm.cdf(apart / 2**0.5)


def coverage(name: str, target: np.ndarray, apart: np.ndarray, evaluations: int) -> Iterator[dict[str, Any]]:
    """One row per metric. For a metric of single classes the shares are means over the classes, and `worst class` is
    the lowest coverage of a class."""
    ap, auc = population(target, apart)
    truth = {"mAP": ap.mean(), "mAUC": auc.mean(), "d'": d_primes(auc.mean()), "AP of a class": ap}
    truth |= {"AUC of a class": auc, "d' of a class": d_primes(auc)}
    found = defaultdict(list)  # by metric: (evaluations, 3) or (evaluations, classes, 3) of value, low, high
    for number in range(evaluations):
        random = np.random.default_rng([1, number])
        score = random.standard_normal(target.shape, np.float32) + np.where(target, apart.astype(np.float32), 0)
        one = jackknife(target, score)
        found["mAP"].append(interval([one.mAP]))
        found["mAUC"].append(interval([one.mAUC]))
        found["d'"].append(d_prime_interval([one.d_prime], [one.mAUC]))
        of_ap, of_auc = (
            [interval([metric]) for metric in metrics] for metrics in zip(*class_estimates(target, score), strict=True)
        )
        found["AP of a class"].append(of_ap)
        found["AUC of a class"].append(of_auc)
        found["d' of a class"].append(d_primes(np.array(of_auc)))
    for metric, intervals in found.items():
        value, low, high = np.moveaxis(np.array(intervals), -1, 0)
        assert ((low <= value) & (value <= high)).all(), "an interval excludes its own value"
        held = ((low <= truth[metric]) & (truth[metric] <= high)).mean(0)
        expected = value.mean(0)
        deviation = value.std(0, ddof=1)
        yield {
            "labels": name,
            "metric": metric,
            "truth": float(np.mean(truth[metric])),
            "lean / deviation": float(np.mean((expected - truth[metric]) / deviation)),
            "width": float(np.mean(high - low)),
            "holds the population's": f"{held.mean():.1%}",
            "worst class": f"{held.min():.1%}" if held.ndim else None,
            "holds the expectation": f"{((low <= expected) & (expected <= high)).mean():.1%}",
            "evaluations": evaluations,
        }


def misses(clips: int, positives: int, apart: float, evaluations: int) -> Iterator[dict[str, Any]]:
    """The side to which the intervals of a single class miss its truth: one row per metric."""
    target = np.zeros((clips, evaluations), bool)  # each column an evaluation of the same class
    target[:positives] = True
    score = np.random.default_rng(3).standard_normal(target.shape) + apart * target
    truths = population(target[:, :1], np.array([apart]))
    for metric, (truth,), found in zip(
        ("AP", "AUC"), truths, zip(*class_estimates(target, score), strict=True), strict=True
    ):
        _, low, high = np.array([interval([one]) for one in found]).T
        yield {
            "metric": metric,
            "clips": clips,
            "positives": positives,
            "truth": float(truth),
            "all of it below the truth": f"{(high < truth).mean():.1%}",
            "all of it above the truth": f"{(low > truth).mean():.1%}",
            "evaluations": evaluations,
        }


def effects(
    seeds: int, of_seeds: float, of_both: float, random: np.random.Generator, clips: int = 200
) -> list[Estimate]:
    """Simulate a true difference of 0: one estimate per seed. Standard deviations: 1 between clips; `of_both` for each
    clip in each seed; and between seeds, `of_seeds` times the standard error over clips."""
    effect = random.normal(size=clips) + of_both * random.normal(size=(seeds, clips))
    means = effect.mean(1) + of_seeds * clips**-0.5 * random.normal(size=seeds)
    return [Estimate(m, m, (e - e.mean()) * (clips / (clips - 1)) ** 0.5) for m, e in zip(means, effect, strict=True)]


def verdicts_of_effects(trials: int) -> Iterator[dict[str, Any]]:
    nothing = {seeds: [Estimate(0.0, 0.0, np.zeros(200))] * seeds for seeds in (2, 3, 5, 10)}
    for of_both in (0.0, 1.0):
        for of_seeds in (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 1000.0):
            row = {"of": "normal effects", "seeds' deviation / clips'": of_seeds, "both's / clips'": of_both}
            for seeds, none in nothing.items():
                random = np.random.default_rng([2, seeds])
                p = [difference(effects(seeds, of_seeds, of_both, random), none).p for _ in range(trials)]
                row[f"{seeds} seeds"] = f"{np.mean(np.array(p) < 0.05):.1%}"
            yield row | {"trials": trials}


def verdicts_of_scores(trials: int) -> Iterator[dict[str, Any]]:
    """Two systems on mini's labels; each seed is better or worse at all classes by a normal deviate of size
    `spread`."""
    target = labels_of_mini()
    for spread in (0.0, 0.05, 0.2):
        row = {"of": "mAP of scores", "seeds' deviation of d'": spread}
        for seeds in (2, 3, 5):
            called = 0
            for number in range(trials):
                random = np.random.default_rng([3, seeds, number])
                clip = random.standard_normal(target.shape)  # a clip is equally hard for all networks
                systems = [
                    [
                        jackknife(target, 0.6 * clip + 0.8 * random.standard_normal(target.shape) + by * target).mAP
                        for by in 1.5 + spread * random.standard_normal(seeds)
                    ]
                    for _ in range(2)
                ]
                called += difference(*systems).p < 0.05
            row[f"{seeds} seeds"] = f"{called / trials:.1%}"
        yield row | {"trials": trials}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--labels", type=Path, help="folder of AudioSet's eval_segments.csv and class_labels_indices.csv"
    )
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--trials", type=int, default=2000)
    settings = parser.parse_args()
    made_on = environment()
    random = np.random.default_rng(0)
    mini, real = labels_of_mini(), labels_of_audioset(settings.labels)
    name = f"AudioSet's{'' if settings.labels else ' kind'}, 20 371 x 527"
    held = [
        *coverage("mini's kind, 600 x 16", mini, random.uniform(0.8, 2.5, 16), 5 * settings.evaluations),
        *coverage(name, real, random.uniform(1.5, 3.5, 527), settings.evaluations),
    ]
    report("coverage", held, made_on)
    few = [(2000, 20, 1.0), (2000, 20, 3.0), (2000, 500, 1.0), (2000, 500, 3.0)]
    missed = [row for case in few for row in misses(*case, 5 * settings.evaluations)]
    report("misses", missed, made_on)
    called = [*verdicts_of_effects(settings.trials), *verdicts_of_scores(settings.trials // 5)]
    report("verdicts", called, made_on)


if __name__ == "__main__":
    main()

"""Simulates how often the intervals of a cross-validation contain the truth.

`python -m benchmarks.folds`. Each fold has clips and a network of its own, put together by `glat.results.folds`. Beside the
intervals stand those over clips alone, as if all folds had one network.

Networks: scores are normal, and higher for the positives of class c by d_c + sigma z, where z is a normal deviate of the
network. The truth is the metric on endlessly many clips, in the mean over endlessly many networks: mAP is integrated, mAUC
is the mean of Phi(d_c / sqrt(2 + sigma^2)). Differences are of two systems that do not differ, on the same clips and folds.

Learners: networks are trained, on clips in common. Clips are normal around the mean of their class, and a network takes the
class whose mean over its training clips is nearest. Two truths, both on many new clips: the accuracy of *these networks*,
and the mean accuracy of networks that are trained on as many *other training clips*.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.stats import norm

from glat.results.folds import combine_estimates
from glat.scoring.intervals import difference, interval, variances
from glat.scoring.jackknife import Estimate, Jackknife, accuracy, jackknife

from .coverage import population
from .report import environment, report

CLIPS = 80  # of a fold
APART = np.random.default_rng(0).uniform(1, 2.5, 8)  # d of the classes
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(15)  # of normal deviates

Ends = dict[str, list[tuple[Any, Any]]]  # by metric: of each evaluation, (value, low, high), and that over clips alone


def networks(sigma: float, evaluations: int, folds: int = 5, seeds: int = 1) -> Iterator[dict[str, Any]]:
    """One row per metric. sigma: the standard deviation of d between networks."""
    found: Ends = defaultdict(list)
    ratio, called = [], 0
    for number in range(evaluations):
        random = np.random.default_rng([4, number])
        targets = [_labels(random) for _ in range(folds)]
        hard = [0.6 * random.standard_normal(target.shape) for target in targets]  # for all networks

        systems = [[_cross_validation(targets, hard, sigma, random) for _ in range(seeds)] for _ in range(2)]
        ap, other = ([one.mAP for one in system] for system in systems)
        auc = [one.mAUC for one in systems[0]]
        found["mAP"].append((interval(ap), interval(_alone(ap))))
        found["mAUC"].append((interval(auc), interval(_alone(auc))))
        apart = difference(ap, other)
        found["difference of mAP"].append((apart[:3], difference(_alone(ap), _alone(other))[:3]))
        called += apart.p < 0.05
        parts = variances(ap)
        ratio.append((parts.folds, parts.clips))
    target = _labels(np.random.default_rng(0))
    of_nodes = [population(target, APART + sigma * z)[0].mean() for z in NODES]
    truth = {"mAP": np.average(of_nodes, weights=WEIGHTS), "mAUC": norm.cdf(APART / (2 + sigma**2) ** 0.5).mean()}
    both, clips = np.mean(ratio, 0)
    what = {"of": "networks", "folds": folds, "seeds": seeds, "sigma": sigma}
    what |= {
        "variance, both / clips": float(both / clips),
        "called different": called / evaluations if seeds > 1 else None,
    }
    yield from _rows(found, truth | {"difference of mAP": 0.0}, what | {"evaluations": evaluations})


def learners(
    clips: int, features: int, evaluations: int, folds: int = 5, classes: int = 10, tests: int = 4000
) -> Iterator[dict[str, Any]]:
    """One row per truth, of cross-validations of `clips` clips in all, as many of each class in each fold."""
    random = np.random.default_rng(5)
    middle = (4 / features) ** 0.5 * random.normal(size=(classes, 1, features))
    each = clips // folds // classes
    of_class = lambda count: np.repeat(np.arange(classes), count)  # of (classes, count, features), flat
    draw = lambda count: middle + random.normal(size=(classes, count, features))
    new, new_class = draw(tests // classes).reshape(-1, features), of_class(tests // classes)

    def score(train: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(x, classes), highest where the mean of train (classes, clips, features) is nearest to x (x, features)."""
        means = train.mean(1)
        return x @ means.T - (means**2).sum(1) / 2

    def right(train: np.ndarray) -> float:
        return float((score(train, new).argmax(1) == new_class).mean())

    others = float(np.mean([right(draw(each * (folds - 1))) for _ in range(1000)]))
    found: Ends = defaultdict(list)
    these = []
    for _ in range(evaluations):
        x = draw(each * folds).reshape(classes, folds, each, features)
        trained = [np.delete(x, fold, 1).reshape(classes, -1, features) for fold in range(folds)]
        target = np.eye(classes, dtype=bool)[of_class(each)]
        scores = [score(train, x[:, fold].reshape(-1, features)) for fold, train in enumerate(trained)]
        one = [combine_estimates([accuracy(target, s) for s in scores])]
        found["accuracy"].append((interval(one), interval(_alone(one))))
        these.append(np.mean([right(train) for train in trained]))
    for name, truth in (("these networks", np.array(these)), ("other training clips", others)):
        what = {"of": f"{name}, {clips} clips", "folds": folds, "seeds": 1, "evaluations": evaluations}
        yield from _rows(found, {"accuracy": truth}, what)


def _labels(random: np.random.Generator) -> np.ndarray:
    """(clips, classes) bool: a quarter of the clips have the first class, an eighth the last one."""
    target = np.zeros((CLIPS, len(APART)), bool)
    for label, count in enumerate(np.linspace(CLIPS / 4, CLIPS / 8, len(APART)).astype(int)):
        target[random.choice(CLIPS, count, replace=False), label] = True
    return target


def _cross_validation(
    targets: list[np.ndarray], hard: list[np.ndarray], sigma: float, random: np.random.Generator
) -> Jackknife:
    """A network a fold: each is better or worse at all classes by a deviate of its own."""
    found = [
        jackknife(y, noise + 0.8 * random.standard_normal(y.shape) + (APART + sigma * random.standard_normal()) * y)
        for y, noise in zip(targets, hard, strict=True)
    ]
    return Jackknife(*(combine_estimates(list(of)) for of in zip(*found, strict=True)))


def _alone(estimates: list[Estimate]) -> list[Estimate]:
    """The same, as if all folds had one network."""
    return [one._replace(folds=()) for one in estimates]


def _rows(found: Ends, truth: dict[str, Any], what: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for metric, intervals in found.items():
        of = np.moveaxis(np.array(intervals), 0, -1)  # (2, 3, evaluations)
        held = ((of[:, 1] <= truth[metric]) & (truth[metric] <= of[:, 2])).mean(-1)
        width = (of[:, 2] - of[:, 1]).mean(-1)
        yield what | {
            "metric": metric,
            "truth": float(np.mean(truth[metric])),
            "holds the truth": f"{held[0]:.1%}",
            "over clips alone": f"{held[1]:.1%}",
            "width / that over clips alone": float(width[0] / width[1]),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--evaluations", type=int, default=500)
    evaluations = parser.parse_args().evaluations
    made_on = environment()
    cases: list[dict[str, Any]] = [{"sigma": sigma} for sigma in (0.0, 0.05, 0.1, 0.2, 0.5)]
    cases += [{"sigma": 0.1, "folds": 3}, {"sigma": 0.1, "folds": 10}, {"sigma": 0.1, "seeds": 3}]
    found = [row for case in cases for row in networks(**case, evaluations=evaluations)]
    for clips in (100, 400):
        found += learners(clips, 20, evaluations)
    report("folds", found, made_on)


if __name__ == "__main__":
    main()

"""Metrics of AudioSet's evaluation set, 20 371 clips x 527 classes: against scikit-learn, and the bootstrap's time.

`python -m benchmarks.metrics`. Labels are drawn with AudioSet's statistics (about two a clip, class frequencies by
Zipf's law) and the scores follow them about as well as a trained tagger's do.
"""

from __future__ import annotations

import argparse
import resource
import sys
import warnings
from functools import partial

import numpy as np

from glat.bootstrap import bootstrap, paired_bootstrap
from glat.cores import cores
from glat.metrics import average_precision, roc_auc, summary

from .report import environment, report, timed

CLIPS, CLASSES, LABELS = 20_371, 527, 2.0


def labels_and_scores(clips: int, classes: int, skill: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """target (clips, classes) bool and score (clips, classes) float32, sigmoids of normal scores `skill` apart."""
    random = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, classes + 1)
    target = random.random((clips, classes)) < np.minimum(LABELS * frequency / frequency.sum(), 0.5)
    # Every class of the evaluation set has examples, however rare.
    target[random.integers(clips, size=(20, classes)), np.arange(classes)] = True
    logit = random.standard_normal((clips, classes), np.float32) + np.float32(skill) * target
    return target, 1 / (1 + np.exp(4 - logit))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--classes", type=int, default=CLASSES)
    parser.add_argument("--resamples", type=int, default=1000)
    settings = parser.parse_args()
    try:
        from sklearn.metrics import average_precision_score, roc_auc_score
    except ImportError:
        sys.exit("benchmarks.metrics compares with scikit-learn, which is not installed: pip install scikit-learn")

    made_on = environment()
    target, score = labels_and_scores(settings.clips, settings.classes, skill=2.7)
    other = score + np.random.default_rng(1).normal(0, 0.01, score.shape).astype(np.float32)
    summary(target[:100], score[:100])

    rows = []
    ours = {}
    for name, metric, theirs in (
        ("AP", average_precision, average_precision_score),
        ("AUC", roc_auc, roc_auc_score),
    ):
        with timed() as quick:
            ours[name] = metric(target, score)
        with timed() as slow, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reference = np.array([theirs(y, s) for y, s in zip(target.T, score.T, strict=True)])
        rows.append(row(f"{name} by class", quick.seconds, slow.seconds, ours[name], reference))
    sklearn_pass = sum(row["scikit_learn_s"] for row in rows)

    with timed() as quick:
        found = summary(target, score)
    both = np.concatenate([found.ap, found.auc]), np.concatenate([ours["AP"], ours["AUC"]])
    rows.append(row("summary: mAP, mAUC, d'", quick.seconds, sklearn_pass, *both))

    workers = cores()
    for name, estimate, passes in (
        (f"bootstrap, {settings.resamples} resamples, 1 worker", partial(bootstrap, target, score, workers=1), 1),
        (f"bootstrap, {settings.resamples} resamples, {workers} workers", partial(bootstrap, target, score), 1),
        (
            f"paired, {settings.resamples} resamples, {workers} workers",
            partial(paired_bootstrap, target, score, other),
            2,
        ),
    ):
        with timed() as quick:
            found = estimate(resamples=settings.resamples)
        print(name, found, sep=": ", file=sys.stderr)
        # scikit-learn in a loop is not run: one pass over the classes for each resample and system.
        expected = sklearn_pass * settings.resamples * passes
        rows.append({"what": name, "ours_s": quick.seconds, "scikit_learn_expected_s": expected})
        rows[-1]["ratio"] = expected / quick.seconds
    made_on["peak_memory_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    report("metrics", rows, made_on)


def row(what: str, ours: float, theirs: float, found: np.ndarray, reference: np.ndarray) -> dict[str, str | float]:
    difference = float(np.nanmax(np.abs(found - reference)))
    if not np.array_equal(np.isnan(found), np.isnan(reference)):
        difference = float("inf")
    return {
        "what": what,
        "ours_s": ours,
        "scikit_learn_s": theirs,
        "ratio": theirs / ours,
        "largest_difference": difference,
    }


if __name__ == "__main__":
    main()

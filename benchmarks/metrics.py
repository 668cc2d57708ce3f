"""Times metrics and intervals on data of AudioSet's evaluation size, 20 371 clips x 527 classes, against scikit-learn.

`python -m benchmarks.metrics`. Labels are drawn with AudioSet's statistics (about two per clip, class frequencies by
Zipf's law), and scores match them about as well as those of a trained tagger.
"""

from __future__ import annotations

import argparse
import resource
import sys
import warnings

import numpy as np

from glat.scoring.intervals import difference, interval
from glat.scoring.jackknife import jackknife
from glat.scoring.metrics import average_precision, roc_auc, summary

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
    settings = parser.parse_args()
    try:
        from sklearn.metrics import average_precision_score, roc_auc_score
    except ImportError:
        sys.exit("benchmarks.metrics needs scikit-learn, which is not installed: pip install scikit-learn")

    made_on = environment()
    target, score = labels_and_scores(settings.clips, settings.classes, skill=2.7)
    other = score + np.random.default_rng(1).normal(0, 0.01, score.shape).astype(np.float32)
    summary(target[:100], score[:100])

    rows = []
    ours = {}
    for name, metric, theirs in (("AP", average_precision, average_precision_score), ("AUC", roc_auc, roc_auc_score)):
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

    with timed() as quick:
        one = jackknife(target, score)
        found = [interval([metric]) for metric in (one.mAP, one.mAUC)]
    print("intervals", *found, file=sys.stderr)
    # A leave-one-out loop of scikit-learn would take one pass over the classes per clip; it is not run.
    rows.append({"what": "intervals over clips of mAP, mAUC, d'", "ours_s": quick.seconds})
    rows[-1]["scikit_learn_expected_s"] = sklearn_pass * settings.clips
    again = jackknife(target, other)
    with timed() as quick:
        print("difference", difference([one.mAP], [again.mAP]), file=sys.stderr)
    rows.append({"what": "difference of two systems, from their influences", "ours_s": quick.seconds})
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

"""What every table says of a system beside its differences from others: scores, convergence and provenance, as columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..lib.provenance import hardware, versions
from ..scoring.manifest import DIGITS
from ..scoring.predictions import METRICS
from ..training import convergence
from .measured import Measured, Spread, by_seed, read_metrics, spread


def fold_deviations(one: Measured) -> dict[str, float]:
    """The standard deviation over folds of mAP, and of accuracy where there is one, as the mean over seeds."""
    of_seeds = [
        [read_metrics(run.folder / "metrics.json")["streams"][one.system.stream] for run in runs]
        for seed, runs in by_seed(one.system).items()
        if seed in one.metrics
    ]
    return {
        f"{metric}_std_folds": float(np.mean([np.std([f[metric]["value"] for f in of], ddof=1) for of in of_seeds]))
        for metric in ("mAP", "accuracy")
        if all(metric in fold for of in of_seeds for fold in of)
    }


def provenance_columns(one: Measured) -> dict[str, Any]:
    """What a system's scores are based on. The clips: their number, the first digits of the SHA-256 of their list
    (`clips.txt` of its runs), and the list of `evaluation.only`, empty if there was none. And the commit, versions and
    hardware of trainings and evaluations: if these differ, they are marked "(trained)" and "(evaluated)"."""
    only = one.first["only"]
    return {
        "evaluation_clips": one.first["clips"],
        "clips_sha256": one.first["manifest"]["sha256"][:DIGITS],
        "evaluation_only": only["path"] if only else "",
        "commit": _makers(one, lambda maker: maker["commit"]),
        "versions": _makers(one, lambda maker: versions(maker["environment"])),
        "hardware": _makers(one, lambda maker: hardware(maker["environment"])),
    }


def convergence_columns(one: Measured) -> dict[str, Any]:
    """`convergence`: whether a system's trainings had converged (`glat.training.convergence`); `not_converged`: how
    many had not."""
    states = [convergence.state(found.get("convergence")) for found in one.metrics.values()]
    return {"convergence": " / ".join(dict.fromkeys(states)), "not_converged": len(one.not_converged)}


def _makers(one: Measured, say: Callable[[dict[str, Any]], str]) -> str:
    """A description of what trained and evaluated the system's runs; a single one if it is the same for all."""
    evaluated = [say(metrics) for metrics in one.metrics.values()]
    trained = [say(metrics["trained"]) if metrics.get("trained") else "not noted" for metrics in one.metrics.values()]
    if trained != evaluated:
        evaluated = [*(f"{text} (trained)" for text in trained), *(f"{text} (evaluated)" for text in evaluated)]
    return " / ".join(dict.fromkeys(evaluated))


def score_columns(one: Measured) -> dict[str, Any]:
    """The columns that every table has of a system: each metric with `_low`, `_high` and `_std`; `mAP_centre`, mAP
    without its lean on few positives (`glat.scoring.jackknife`); `seeds`; those of `convergence_columns` and
    `provenance_columns`; and `collapsed`, the number of seeds that scored all clips the same.

    All numbers are NaN if the system has no run.
    """
    columns: dict[str, Any] = {}
    for metric in METRICS:
        found = spread(one, metric) if one.metrics else Spread(*[float("nan")] * 5)
        columns |= {metric: found.mean, f"{metric}_low": found.low, f"{metric}_high": found.high}
        columns |= {f"{metric}_std": found.std} | ({"mAP_centre": found.centre} if metric == "mAP" else {})
    if one.metrics and all(one.system.stream in influence.accuracy for influence in one.influence.values()):
        right = spread(one, "accuracy")
        columns |= {"accuracy": right.mean, "accuracy_low": right.low, "accuracy_high": right.high}
        columns |= {"accuracy_std": right.std}
    columns |= {"seeds": len(one.metrics)} | convergence_columns(one)
    if one.metrics:
        columns["collapsed"] = sum(metrics["collapsed"] for metrics in one.metrics.values())
        columns |= {key: one.first[key] for key in ("classes_scored", "dataset")} | provenance_columns(one)
        if (count := one.first.get("folds", 1)) > 1:
            columns |= {"folds": count} | fold_deviations(one)
        columns["parameters"] = one.first["parameters"]
    columns["missing"] = "; ".join(f"{run}: {why}" for run, why in one.missing.items())
    return columns

"""Metrics of each stream with their intervals over clips: of all classes together, and of each class."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from .intervals import d_prime_interval, interval
from .jackknife import Estimate, Jackknife, checked_estimates, over_classes
from .metrics import d_primes


def score(
    found: dict[str, Jackknife], confidence: float, right: Mapping[str, Estimate] = MappingProxyType({})
) -> dict[str, Any]:
    """Metrics of each stream with their intervals over clips: what metrics.json holds under "streams". right: `accuracy` by
    stream, where each clip has one label.

    Each metric is {"value", "low", "high"}, and mAP has what it is without its lean as "centre"
    (`glat.scoring.jackknife`); None stands for a value that is not finite (d' of a mean AUC of 1).
    """
    streams: dict[str, Any] = {}
    for name, stream in found.items():
        bounds = {"mAP": interval([stream.mAP], confidence), "mAUC": interval([stream.mAUC], confidence)}
        bounds["d_prime"] = d_prime_interval([stream.d_prime], [stream.mAUC], confidence)
        if name in right:
            bounds["accuracy"] = interval([right[name]], confidence)
        metrics = {metric: found._asdict() for metric, found in bounds.items()}
        metrics["mAP"]["centre"] = stream.mAP.centre
        streams[name] = {
            metric: {key: value if np.isfinite(value) else None for key, value in values.items()}
            for metric, values in metrics.items()
        }
    return streams


def jackknife_by_class(target: np.ndarray, score: np.ndarray, confidence: float) -> tuple[Jackknife, np.ndarray]:
    """One stream's means over classes, and (L, 2, 3): of each class AP and AUC, each with the ends of its interval over
    clips, NaN where the class has no positive. The classes are ranked once for both.

    target: (clips, L) bool; score: (clips, L), finite.
    """
    bounds = np.full((target.shape[1], 2, 3), np.nan)

    def classes():
        for label, found in enumerate(checked_estimates(target, score)):
            if found:
                bounds[label] = [interval([metric], confidence) for metric in found]
            yield found

    return over_classes(classes(), len(target)), bounds


def per_class(target: np.ndarray, streams: dict[str, np.ndarray], classes: pd.DataFrame) -> pd.DataFrame:
    """AP, AUC and d' of every class and stream with their intervals (`jackknife_by_class`), empty where there is none."""
    table = classes[["mid", "display_name"]].copy()
    table["positives"] = target.sum(0)
    for name, bounds in streams.items():
        for metric, ends in (("AP", bounds[:, 0]), ("AUC", bounds[:, 1]), ("d_prime", d_primes(bounds[:, 1]))):
            for end, values in zip(("", "_low", "_high"), np.where(np.isinf(ends), np.nan, ends).T, strict=True):
                table[f"{metric}_{name}{end}"] = values
    return table

"""The runs of a cross-validation as one: each is trained on all folds but one and scored on that.

A metric is the mean over folds, as the field reports it; d' is that of the mean AUC. Each clip is evaluated once, so the
influence of clip i of fold f, with n_f of n clips, on the mean over F folds is u_i n / (F n_f), and the variance over clips is
that of independent folds. The centre of each fold is kept: how far they lie apart shows how networks differ
(`glat.scoring.intervals`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from ..scoring.jackknife import Estimate, Jackknife, d_prime_of
from ..scoring.manifest import MANIFEST, manifest, read_list
from ..scoring.predictions import Influence
from ..training import convergence


def combine_estimates(folds: list[Estimate]) -> Estimate:
    """The mean over folds of a metric, with the influence of every clip of all folds."""
    count, clips = len(folds), sum(len(one.influence) for one in folds)
    influence = np.concatenate([one.influence * clips / (count * len(one.influence)) for one in folds])
    return Estimate(
        value=float(np.mean([one.value for one in folds])),
        centre=float(np.mean([one.centre for one in folds])),
        influence=influence,
        doubt=float(sum(one.doubt for one in folds)) / count**2,
        spare=float(np.mean([one.spare for one in folds])),
        freedom=float(sum(one.freedom for one in folds)),
        folds=tuple(one.centre for one in folds),
    )


def combine_influences(folds: list[Influence]) -> Influence:
    """The content of influence.npz of all folds as one."""
    if len(folds) == 1:
        return folds[0]
    streams = {}
    for name in folds[0].streams:
        of = [one.streams[name] for one in folds]
        ap, auc = (combine_estimates([getattr(one, metric) for one in of]) for metric in ("mAP", "mAUC"))
        streams[name] = Jackknife(ap, auc, d_prime_of(auc))
    accuracy = {
        name: combine_estimates([one.accuracy[name] for one in folds])
        for name in folds[0].accuracy
        if all(name in one.accuracy for one in folds)
    }
    return Influence(_hash(one.clips for one in folds), streams, accuracy)


def steps(metrics: dict[str, Any]) -> float:
    """The steps that were trained: fewer than asked for where a training ended early."""
    return (metrics.get("selected") or {}).get("ended", metrics["steps"])


def combine_metrics(folds: list[dict[str, Any]], folders: list[Path]) -> dict[str, Any]:
    """What tables take of metrics.json, of all folds as one: of a training that had not converged, where there is one.
    folders: those of the runs, whose manifests name the clips."""
    if len(folds) == 1:
        return folds[0]
    clips = manifest(clip for folder in folders for clip in read_list(folder / MANIFEST))
    unconverged = [one for one in folds if convergence.marked(one.get("convergence"))]
    first = (unconverged or folds)[0]
    cost = {key: value for key, value in first["cost"].items() if isinstance(value, str)}
    cost |= {key: float(np.mean([one["cost"][key] for one in folds])) for key in first["cost"] if key not in cost}
    return first | {
        "clips": sum(one["clips"] for one in folds),
        "clips_hash": _hash(one["clips_hash"] for one in folds),
        "manifest": first["manifest"] | {"sha256": hashlib.sha256(clips.encode()).hexdigest()},
        "classes_scored": min(one["classes_scored"] for one in folds),
        "collapsed": any(one["collapsed"] for one in folds),
        "cost": cost,
        "selected": {"ended": float(np.mean([steps(one) for one in folds]))},
        "folds": len(folds),
    }


def combine_predictions(folds: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of predictions.h5 of all folds as one."""
    if len(folds) == 1:
        return folds[0]
    found = {key: folds[0][key] for key in ("mid", "display_name")}
    found["clip"] = [clip for one in folds for clip in one["clip"]]
    before = np.cumsum([0, *(len(one["clip"]) for one in folds)])
    if any("part" in one for one in folds):
        for one, first in zip(folds, before, strict=False):
            one.setdefault("begin", np.zeros(len(one["clip"])))
            one["part"] = one.get("part", np.arange(len(one["clip"]))) + first
    for key in folds[0].keys() - found.keys():
        found[key] = np.concatenate([one[key] for one in folds])
    return found


def _hash(parts: Any) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()

"""What was measured for a system, over its seeds. `verdicts` has the differences between systems.

Every number in a table or figure comes from here, and from `metrics.json` and `influence.npz` of the runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..config.runs import Run, evaluated
from ..config.systems import System
from ..lib import layout
from ..lib.documents import read_json
from ..lib.errors import GlatError, refusal
from ..scoring.intervals import d_prime_interval, interval
from ..scoring.jackknife import Estimate
from ..scoring.manifest import DIGITS, common_clips
from ..scoring.predictions import VERSION, Influence, read_influence, read_predictions
from ..training import convergence
from . import folds

# The keys of metrics.json that tables and figures use.
KEYS = (
    "run", "dataset", "backbone", "glat", "seed", "steps", "parameters", "clips", "only", "classes_scored", "collapsed",
    "streams", "evaluation", "cost", "commit", "environment",
)  # fmt: skip
YET = " yet"  # at the end of the reason why a run is missing that did not fail


class Measured(NamedTuple):
    """A system with the metrics of its runs, by training seed (those of all folds as one: `folds`); runs that do not exist
    are in `missing`."""

    system: System
    metrics: dict[int, dict[str, Any]]  # metrics.json
    influence: dict[int, Influence]  # influence.npz
    missing: dict[str, str]  # name of the run: reason

    @property
    def first(self) -> dict[str, Any]:
        return next(iter(self.metrics.values()))

    @property
    def identity(self) -> tuple[str, ...]:
        """The scored stream and the runs: the same for one system under two labels."""
        return (self.system.stream, *(run.name for run in self.system.runs))

    @property
    def not_converged(self) -> list[str]:
        """The runs whose training had not converged (`glat.training.convergence`)."""
        return [found["run"] for found in self.metrics.values() if convergence.marked(found.get("convergence"))]

    @property
    def runs(self) -> dict[int, list[Run]]:
        """The runs of each seed that was evaluated."""
        return {seed: runs for seed, runs in by_seed(self.system).items() if seed in self.metrics}

    @property
    def steps(self) -> float:
        """The mean over seeds of the steps that were trained (`folds.steps`)."""
        return float(np.mean([folds.steps(found) for found in self.metrics.values()]))

    def mean(self, *keys: str) -> float:
        """The mean over seeds of a number in metrics.json, as in `mean("cost", "seconds_per_clip")`."""
        return float(np.mean([reduce(getitem, keys, found) for found in self.metrics.values()]))


class Spread(NamedTuple):
    """A metric of a system: mean over seeds, interval over clips, folds and seeds, `centre` (the mean without its lean on few
    positives: `glat.scoring.jackknife`), and standard deviation over seeds (NaN for one seed)."""

    mean: float
    low: float
    high: float
    centre: float
    std: float


def read_metrics(path: str | Path) -> dict[str, Any]:
    """One run's metrics.json. Raises GlatError if it is missing, damaged, of another version, or without a manifest."""
    metrics = read_json(path, "evaluate the run first", "evaluate the run again")
    if metrics.get("version") != VERSION:
        raise GlatError(f"{path}: written by another version of glat, whose intervals differ; evaluate the run again")
    if lost := [key for key in KEYS if key not in metrics]:
        raise GlatError(f"{path}: damaged: it lacks {lost[0]}; evaluate the run again")
    if "manifest" not in metrics:
        raise GlatError(f"{path}: does not say which clips were evaluated; evaluate the run again")
    return metrics


def read_curve(path: Path) -> pd.DataFrame:
    """A run's train.csv. Raises GlatError if it is missing or unreadable, or is not a training curve."""
    copy = "or copy the file from where it was trained"
    try:
        curve = pd.read_csv(path)
    except FileNotFoundError:
        raise GlatError(f"{path}: no such file; train the run, {copy}") from None
    except (OSError, ValueError) as error:
        raise GlatError(f"{path}: {refusal(error) or f'damaged; train the run again, {copy}'}") from None
    if curve.empty or not {"step", "loss_global", "seconds"} <= set(curve):
        raise GlatError(f"{path}: not a training curve; train the run again, {copy}")
    return curve


def read(system: System, partial: bool = False) -> Measured:
    """Read a system's runs. With `partial`, a missing run is listed in `missing` instead of refused.

    Raises:
        GlatError: a run that was not evaluated (unless `partial`), or whose files are damaged.
    """
    metrics, influence, missing = {}, {}, {}
    for seed, runs in by_seed(system).items():
        lost = {run.name: reason for run in runs if partial and (reason := missing_reason(run))}
        missing |= lost
        if lost:
            continue
        of_folds = [read_metrics(run.folder / "metrics.json") for run in runs]
        for run, found in zip(runs, of_folds, strict=True):
            if (other := _other_settings(run, found)) is not None:
                raise GlatError(f"{run.folder}/metrics.json: evaluated with {other}; evaluate the run again")
        metrics[seed] = folds.combine_metrics(of_folds, [run.folder for run in runs])
        influence[seed] = folds.combine_influences([read_influence(run.folder / "influence.npz") for run in runs])
    return Measured(system, metrics, influence, missing)


def by_seed(system: System) -> dict[int, list[Run]]:
    """The runs of each seed: one, or one a fold."""
    seeds = dict.fromkeys(run.seed for run in system.runs)
    return {seed: [run for run in system.runs if run.seed == seed] for seed in seeds}


def predictions(system: System) -> dict[int, dict[str, Any]]:
    """What `read_predictions` gives for the runs of each seed, of all folds as one."""
    return {
        seed: folds.combine_predictions([read_predictions(run.folder / "predictions.h5") for run in runs])
        for seed, runs in by_seed(system).items()
    }


def _other_settings(run: Run, metrics: dict[str, Any]) -> str | None:
    """The first setting in which metrics.json differs from the run that was requested, if any."""
    requested = {"backbone": run.backbone, "glat": run.glat.model_dump() if run.glat else None, "seed": run.seed}
    requested["steps"] = run.training.steps
    other = (f"{key} {metrics[key]}, not {value}" for key, value in requested.items() if metrics[key] != value)
    return next(other, None)


def missing_reason(run: Run) -> str | None:
    """None if a run was trained and evaluated with these settings; else the reason, from the end of its log if it has
    one.

    Metrics of another checkpoint, or without a checkpoint, belong to an earlier training and do not count.
    """
    checkpoint, metrics = run.folder / "checkpoint.pt", run.folder / "metrics.json"
    if checkpoint.exists() and evaluated(run.folder):
        other = _other_settings(run, read_metrics(metrics))
        return f"evaluated with {other}" if other else None
    step = "evaluate" if checkpoint.exists() else "train"
    log = layout.log(run.dataset, step, run.name)
    text = log.read_text(errors="replace") if log.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines:
        return next((line[6:] for line in reversed(lines) if line.startswith("glat: ")), f"stopped at: {lines[-1]}")
    if absent := [path for path in run.init.values() if path and not Path(path).exists()]:
        return f"could not start: {absent[0]} does not exist"
    return f"not {'evaluated' if step == 'evaluate' else 'trained'}{YET}"


def only_failures(runs: list[Run]) -> bool:
    """Whether runs are missing and all of these failed, so that none is merely not made yet."""
    reasons = [why for run in runs if (why := missing_reason(run))]
    return bool(reasons) and not any(why.endswith(YET) for why in reasons)


def same_clips(systems: list[Measured]) -> None:
    """Raise GlatError unless all were evaluated on the same clips and labels in the same order."""
    different_clips(systems)
    runs = [(one.influence[seed].clips, metrics["run"]) for one in systems for seed, metrics in one.metrics.items()]
    _refuse_two(dict(runs), "the labels or the order of their clips and can't be compared")


def _refuse_two(runs: dict[Any, str], what: str) -> None:
    """Raise GlatError where runs, by what they should have in common, are more than one."""
    if len(runs) > 1:
        first, second = list(runs.values())[:2]
        raise GlatError(f"{first} and {second} differ in {what}; evaluate both again")


def different_clips(systems: list[Measured]) -> None:
    """Raise GlatError, with the remedy, if two runs were evaluated on clips of different names."""
    found: dict[str, tuple[Run, dict[str, Any]]] = {}
    for one in systems:
        for run in one.system.runs:
            if metrics := one.metrics.get(run.seed):
                found.setdefault(metrics["manifest"]["sha256"], (run, metrics))
    if len(found) < 2:
        return
    (first, a), (second, b) = list(found.values())[:2]
    some = "" if first.fold else _on_common_clips([str(run.folder) for run, _ in found.values()])
    raise GlatError(
        f"{first.name} ({a['clips']} clips, {a['manifest']['sha256'][:DIGITS]}) and {second.name} ({b['clips']} clips, "
        f"{b['manifest']['sha256'][:DIGITS]}) were evaluated on different clips and can't be compared; "
        f"evaluate all again{some}"
    )


def _on_common_clips(folders: list[str]) -> str:
    """How runs can be evaluated on the clips that they share."""
    try:
        shared = f"the {len(common_clips(folders))} clips that they share"
    except GlatError:  # none in common, or a missing clips.txt
        shared = "the clips that they share"
    return f", or on {shared}: `glat common-clips {' '.join(folders)} > common.txt`, then evaluation.only: common.txt"


def estimates(one: Measured, metric: str, seeds: Iterable[int] | None = None) -> list[Estimate]:
    """A metric of the system's stream, one estimate per seed (default: for all seeds)."""
    stream, found = one.system.stream, [one.influence[seed] for seed in (one.influence if seeds is None else seeds)]
    if metric == "accuracy":
        return [influence.accuracy[stream] for influence in found]
    return [getattr(influence.streams[stream], metric) for influence in found]


def confidence(systems: Iterable[Measured], default: float = 0.95) -> float:
    """The evaluation.confidence of the systems' runs; the default if there are none.

    Raises:
        GlatError: runs that were evaluated with different values.
    """
    found = {run["evaluation"]["confidence"]: run["run"] for one in systems for run in one.metrics.values()}
    _refuse_two(found, "evaluation.confidence")
    return next(iter(found), default)


def spread(one: Measured, metric: str) -> Spread:
    """A metric ("mAP", "mAUC", "d_prime" or "accuracy") of a system with at least one run."""
    found, level = estimates(one, metric), confidence([one])
    bounds = d_prime_interval(found, estimates(one, "mAUC"), level) if metric == "d_prime" else interval(found, level)
    values = [estimate.value for estimate in found]
    std = float(np.std(values, ddof=1)) if len(values) > 1 and np.isfinite(values).all() else float("nan")
    return Spread(*bounds, float(np.mean([estimate.centre for estimate in found])), std)

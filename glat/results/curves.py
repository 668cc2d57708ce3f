"""Curves: training loss over steps, and precision against recall."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve

from ..config import experiments
from ..config.params import Params
from ..config.runs import Run
from ..models.registry import OUR_READING
from ..scoring.predictions import read_predictions
from ..training import convergence
from . import tables, text
from .columns import convergence_columns, provenance_columns
from .measured import Measured, missing_reason, read, read_curve, same_clips
from .plots import COLOURS, figure, foot, open_marks

RECALL = np.linspace(0.01, 1, 100)  # without 0, where nothing is found and precision is undefined


def write_training(params: Params, folder: Path, partial: bool = False) -> None:
    """Write training_<table>.svg and .png for Table 1, Fig. 2 and the controls, each with the loss of all its runs, and
    training.csv: the lines of all train.csv, with their `run`.

    With `partial`, missing runs are left out.
    """
    lines: dict[str, pd.DataFrame] = {}
    shown = {"table1": ["table1"], "fig2": ["fig2a", "fig2b"], "controls": ["controls"]}
    for name, results in shown.items():
        runs = experiments.runs_of([one for result in results for one in experiments.systems_of(params, result)])
        runs = [run for run in runs if not run.untrained]
        there = [run for run in runs if not partial or not missing_reason(run)]
        curves = [(run, read_curve(run.folder / "train.csv")) for run in there]
        unconverged = {run.name for run in there if convergence.marked(convergence.found(run, run.folder))}
        draw_training(curves, folder / f"training_{name}", unconverged)
        lines |= {run.name: curve.assign(run=run.name) for run, curve in curves}
    if lines:
        tables.write(pd.concat(lines.values()), None, folder / "training")


def draw_training(curves: list[tuple[Run, pd.DataFrame]], path: Path, unconverged: Set[str] = frozenset()) -> None:
    """The loss of the global and the local stream over steps, one line a run; runs that differ in seed alone share a
    colour.

    The curves of `unconverged` runs (`glat.training.convergence`) end in an open mark.
    """
    groups = list(dict.fromkeys(run.group for run, _ in curves))
    styles = ["-", "--", ":", "-."]
    size = (8.5, max(3.6, 1.2 + 0.16 * len(groups)))
    with figure(path, 1, 2, size, sharey=True) as (fig, axes):
        for ax, stream in zip(axes, ("global", "local"), strict=True):
            for run, curve in curves:
                group = groups.index(run.group)
                loss = pd.to_numeric(curve[f"loss_{stream}"], errors="coerce")
                colour, style = COLOURS[group % len(COLOURS)], styles[group // len(COLOURS) % len(styles)]
                # The first run of a group names it.
                of_group = [one.name for one, _ in curves if one.group == run.group]
                label = _label(run, unconverged & set(of_group)) if run.name == of_group[0] else None
                ax.plot(curve["step"], loss, style, color=colour, lw=1.2, label=label if stream == "global" else None)
                if run.name in unconverged and loss.notna().any():
                    open_marks(ax, curve["step"].iloc[-1], loss.iloc[-1], colour)
            ax.set_title(f"{stream} stream", loc="left")
            ax.set_xlabel("step")
            ax.set_yscale("log")
        axes[0].set_ylabel("binary cross entropy, mean since the last point")
        fig.legend(loc="outside right center", fontsize=7)
        foot(fig, [text.OPEN_MARKS] if unconverged else [])


def _label(run: Run, unconverged: Set[str]) -> str:
    """The name of runs that differ in seed alone, with their marks."""
    reading = f" ({OUR_READING})" if OUR_READING in run.entry.title else ""
    return f"{run.group}{reading} {convergence.MARK}" if unconverged else run.group + reading


def write_pr(params: Params, folder: Path) -> None:
    """Write pr_curves.csv, .svg and .png: precision against recall of Table 1's systems, the mean over classes and
    seeds.

    The table has one line per `method` and `recall`, with its `precision`.
    """
    measured = [read(system) for system in experiments.table1(params)]
    same_clips(measured)
    curves = {}
    for one in measured:
        found = [read_predictions(run.folder / "predictions.h5") for run in one.system.runs]
        of_runs = [macro_pr(p["target"].astype(bool), p[one.system.stream]) for p in found]
        curves[one.system.label] = np.mean(of_runs, 0)
    lines = []
    for one, (label, precision) in zip(measured, curves.items(), strict=True):
        table = pd.DataFrame({"method": label, "recall": RECALL, "precision": precision})
        lines.append(table.assign(**convergence_columns(one), **provenance_columns(one)))
    tables.write(pd.concat(lines), None, folder / "pr_curves")
    draw_pr(curves, measured, folder / "pr_curves")


def macro_pr(target: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Precision at each of `RECALL`, the mean over the classes with a positive: (100,).

    target, score: (clips, classes). A class's precision at recall r is that of the fewest clips whose recall reaches r.
    It is not the maximum at higher recalls, so that the area agrees with AP.
    """
    precisions = []
    for y, s in zip(target.T, score.T, strict=True):
        if y.any():
            precision, recall, _ = precision_recall_curve(y, s)  # recall falls to 0, where precision is set to 1
            precision, recall = precision[-2::-1], recall[-2::-1]  # rising, without that last point
            precisions.append(precision[np.searchsorted(recall, RECALL - 1e-12)])
    return np.mean(precisions, axis=0)


def draw_pr(curves: dict[str, np.ndarray], measured: list[Measured], path: Path) -> None:
    """One line a system; a backbone without and with GL-AT share a colour."""
    backbones = list(dict.fromkeys(one.first["backbone"] for one in measured))
    with figure(path, size=(6.4, 4.6)) as (fig, ax):
        for one, (label, precision) in zip(measured, curves.items(), strict=True):
            colour = COLOURS[backbones.index(one.first["backbone"])]
            style = ":" if one.system.control else "-" if one.first["glat"] else "--"
            shown = f"{label} {convergence.MARK}" if one.not_converged else label
            ax.plot(RECALL, precision, style, color=colour, label=shown)
        ax.set_xlabel("recall")
        ax.set_ylabel("precision, mean over classes")
        ax.set_ylim(0, 1.02)
        ax.legend()
        foot(fig, [text.OPEN_MARKS] if any(one.not_converged for one in measured) else [])

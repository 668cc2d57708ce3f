"""Tables and figures of where the windows are, and of AP gained against how long sounds last."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from ..config import experiments
from ..config.params import Params
from ..lib.escaping import markdown as escaped
from ..scoring.intervals import difference
from ..scoring.jackknife import class_estimates
from ..scoring.localisation import (
    LOCALISATION,
    class_table,
    localise,
    of_first_length,
    strong_labels,
    windows_per_class,
)
from ..scoring.predictions import read_predictions
from ..training.convergence import NO_VERDICT
from . import tables, text
from .columns import convergence_columns, provenance_columns
from .folds import combine_estimates
from .measured import Measured, by_seed, confidence, predictions, read, same_clips
from .plots import CHANCE, METHOD, figure, foot, open_marks
from .verdicts import ONE_SEED, both_converged, decide, difference_columns

GAINS = [
    "mid", "display_name", "median_duration", "AP_alone", "AP_glat", "gain", "gain_low", "gain_high", "gain_p",
    "gain_p_holm", "gain_verdict", "seeds",
]  # fmt: skip


def gains(plain: Measured, glat: Measured, duration: pd.Series) -> pd.DataFrame:
    """AP with GL-AT minus AP without: one row per class that both score, with its interval over clips, folds and seeds.

    Values are means over the seeds that both have. duration: median seconds of the class's events, by mid. p is
    corrected by Holm's method over the classes (`verdicts.decide`).
    """
    seeds = [seed for seed in plain.metrics if seed in glat.metrics]
    runs = [[by_seed(one.system)[seed] for seed in seeds] for one in (plain, glat)]
    scored = [[[read_predictions(run.folder / "predictions.h5") for run in of_folds] for of_folds in of] for of in runs]
    level, rows, first = confidence([plain, glat]), [], scored[0][0][0]
    for index, (mid, name) in enumerate(zip(first["mid"], first["display_name"], strict=True)):
        if mid not in duration:
            continue
        column = slice(index, index + 1)
        found = [
            [[next(class_estimates(p["target"][:, column], p["fused"][:, column])) for p in folds] for folds in of]
            for of in scored
        ]
        if not all(classwise for of in found for folds in of for classwise in folds):  # no positive
            continue
        alone, both = (
            [combine_estimates([classwise[0] for classwise in folds if classwise]) for folds in of] for of in found
        )
        row = {"mid": mid, "display_name": name, "median_duration": duration[mid]}
        row |= {"AP_alone": np.mean([ap.value for ap in alone]), "AP_glat": np.mean([ap.value for ap in both])}
        gain = difference_columns("gain", difference(both, alone, level), mid, both_converged(plain, glat))
        rows.append(row | gain | {"seeds": len(seeds)})
    return decide(rows, level).reindex(columns=GAINS)


def draw_hits(table: pd.DataFrame, tau: float, glat: Measured, path: Path) -> None:
    """The share of windows that hit, by class from short to long, against random windows. Marks are open if the
    training had not converged."""
    with figure(path, size=(7.2, 1.2 + 0.26 * len(table))) as (fig, ax):
        y = range(len(table))
        ax.hlines(y, table["hit_low"], table["hit_high"], color=METHOD, alpha=0.5, lw=2)
        ax.plot(table["hit"], y, "o", color=METHOD, label="window selected for the class (line: interval)")
        if glat.not_converged:
            open_marks(ax, table["hit"], y, METHOD)
            foot(fig, [text.OPEN_MARKS])
        ax.plot(table["hit_random"], y, "|", color="black", ms=10, label="random window, expected")
        rows = zip(table["display_name"], table["median_duration"], table["windows"], strict=True)
        ax.set_yticks(y, [f"{name} ({length:.2g} s, n = {n})" for name, length, n in rows])
        ax.set_xlim(-0.02, 1.02)
        ax.invert_yaxis()
        ax.set_xlabel("share that overlaps an event of the class, in clips that hold it")
        ax.set_title(f"{_label(glat)}: windows of {tau:g} s", loc="left")
        fig.legend(loc="outside upper center", ncols=2)


def draw_gains(table: pd.DataFrame, rho: float, level: float, plain: Measured, glat: Measured, path: Path) -> None:
    """AP gain of each class against the median duration of its events. Marks are open if one of the two trainings had
    not converged."""
    with figure(path, size=(7.2, 4.8)) as (fig, ax):
        ax.axhline(0, color=CHANCE)
        ax.vlines(table["median_duration"], table["gain_low"], table["gain_high"], color=METHOD, alpha=0.4)
        ax.plot(table["median_duration"], table["gain"], "o", color=METHOD)
        if not both_converged(plain, glat):
            open_marks(ax, table["median_duration"], table["gain"], METHOD)
            foot(fig, [text.OPEN_MARKS])
        # Names, if there is room for them; slanted, as classes of similar duration are close together.
        for row in table.to_dict("records") if len(table) <= 40 else []:
            at = (row["median_duration"], row["gain"])
            ax.annotate(f" {row['display_name']}", at, fontsize=6.5, rotation=40, rotation_mode="anchor")
        ax.margins(x=0.12)
        ax.set_xscale("log")
        ax.set_xlabel("median duration of the class's events (s)")
        ax.set_ylabel("AP with GL-AT minus AP without")
        ax.set_title(
            f"{_label(glat)} minus {_label(plain)}\n"
            f"{len(table)} classes, bars: {level:.0%} interval; Spearman's rho = {rho:.2f}",
            loc="left",
        )


def _label(one: Measured) -> str:
    return text.with_mark(one.system.label, convergence_columns(one))


def write(params: Params, folder: Path) -> None:
    """Write localisation.{csv,md,svg,png} and durations.{csv,svg,png} into `folder`, for the first backbone of
    controls.

    If the dataset has no strong labels, the tables are empty, and localisation.md and the figures say why.
    """
    plain, glat = (read(system) for system in experiments.systems_of(params, "localisation"))
    same_clips([plain, glat])
    tau, seconds = params.glat.tau, params.audio.clip_seconds
    clips = provenance_columns(glat) | convergence_columns(glat)
    strong = strong_labels(params)
    scored = [of_first_length(one, params.glat.n) for one in predictions(glat.system).values()]
    found = [localise(one, strong, tau, seconds) for one in scored]
    if found[0].empty:
        _skip(f"{params.dataset} has no strong labels of its evaluation clips: localisation was skipped", folder)
        return
    names = dict(zip(scored[0]["mid"], scored[0]["display_name"], strict=True))
    level = confidence([plain, glat])
    chosen = np.sum([windows_per_class(one, strong) for one in scored], axis=0)
    table = class_table(found, strong, names, chosen, level)
    draw_hits(table, tau, glat, folder / "localisation")
    gain = gains(plain, glat, table.set_index("mid")["median_duration"])
    rho = spearmanr(gain["median_duration"], gain["gain"]).statistic if len(gain) > 2 else np.nan
    draw_gains(gain, rho, level, plain, glat, folder / "durations")
    alone = provenance_columns(plain) | convergence_columns(plain)
    both = {key: value if value == alone[key] else f"{alone[key]} / {value}" for key, value in clips.items()}
    tables.write(gain.assign(**both), None, folder / "durations")
    tables.write(table.assign(**clips), markdown(table, gain, glat, tau, rho, level), folder / "localisation")


def markdown(table: pd.DataFrame, gain: pd.DataFrame, glat: Measured, tau: float, rho: float, level: float) -> str:
    """The localisation as a Markdown table with an explanation of its columns."""
    lines = [
        [
            escaped(row["display_name"]), f"{row['median_duration']:.2f}", str(row["windows"]),
            f"{text.number(row['hit'], 2)} [{text.number(row['hit_low'], 2)}, {text.number(row['hit_high'], 2)}]",
            text.number(row["hit_random"], 2), text.number(row["centre_error"], 2),
            text.number(row["centre_error_random"], 2), str(row["selected"]), text.number(row["hit_of_selected"], 2),
            text.number(row["hit_of_selected_random"], 2), text.number(row["covered"], 2),
            text.number(row["covered_random"], 2),
        ]
        for row in table.to_dict("records")
    ]  # fmt: skip
    header = [
        "Class", "median duration (s)", "windows in clips of the class", "hit", "random", "centre error (s)", "random",
        "all windows selected for it", "hit", "random", "covered", "random",
    ]  # fmt: skip
    what = f"""Means over {len(glat.metrics)} run(s), for the windows of {tau:g} s that were selected for a class:

- windows in clips of the class: the number of such windows in clips that contain the class, over all runs;
- hit: the share of them that overlaps an event of the class [{level:.0%} interval over clips and runs];
- centre error: the mean distance from a window's centre to the centre of the nearest such event;
- all windows selected for it: the number of such windows in all clips. Most of these clips lack the class, since each
  clip gets N windows whatever it contains, so few of these windows can hit;
- covered: the share of the clips with the class in which any window, selected for whatever class, overlaps an event
  of it;
- random: the value to its left, for windows that are anywhere in the same clips with equal probability."""
    mark = {"method": glat.system.label} | convergence_columns(glat)
    parts = [
        f"# Where {_label(glat)} listens, on `{glat.first['dataset']}`",
        what,
        text.provenance([provenance_columns(glat)]),
        text.markdown(header, lines).rstrip(),
        (
            f"AP gain against event duration, over {len(gain)} classes: Spearman's rho = {text.number(rho, 2)}. "
            f"{_class_verdicts(gain)}"
        ),
        *text.mark_notes([mark]),
    ]
    return "\n\n".join(parts) + "\n"


def _class_verdicts(gain: pd.DataFrame) -> str:
    """The classes whose AP is higher or lower, by p corrected for their number, or why there is no verdict."""
    for reason in (ONE_SEED, NO_VERDICT):
        if not len(gain) or (gain["gain_verdict"] == reason).all():
            return f"Single classes: {reason}."
    counts = []
    for verdict in ("higher", "lower"):
        classes = gain.loc[gain["gain_verdict"] == verdict, "display_name"].tolist()
        counts.append(f"{verdict} in {len(classes)}" + (f" ({', '.join(classes)})" if 0 < len(classes) <= 10 else ""))
    return f"AP is {' and '.join(counts)} of them, by p corrected for their number (Holm); the others are undecided."


def _skip(reason: str, folder: Path) -> None:
    for name in ("localisation", "durations"):
        with figure(folder / name, size=(6.4, 1)) as (_, ax):
            ax.set_axis_off()
            ax.text(0.5, 0.5, reason, ha="center", va="center", wrap=True)
    tables.write(pd.DataFrame(columns=["mid"]), None, folder / "durations")
    tables.write(pd.DataFrame(columns=LOCALISATION), f"{reason}.\n", folder / "localisation")

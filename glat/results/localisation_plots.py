"""The figures of localisation: where windows hit, what streams find over time, and AP gained against how long sounds last."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd

from . import text
from .localisation_text import MEASURES, column_name, label
from .measured import Measured
from .plots import ALONE, CHANCE, METHOD, figure, foot, open_marks
from .verdicts import both_converged


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
        ax.set_title(f"{label(glat)}: windows of {tau:g} s", loc="left")
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
            f"{label(glat)} minus {label(plain)}\n"
            f"{len(table)} classes, bars: {level:.0%} interval; Spearman's rho = {rho:.2f}",
            loc="left",
        )


def draw_detection(table: pd.DataFrame, level: float, path: Path) -> None:
    """Each measure of sound event detection, one panel a measure and one line a stream, with its interval. Marks are open if
    the training had not converged."""
    names = [name for name in MEASURES if name in set(table["measure"])]
    columns = list(dict.fromkeys(map(column_name, table.to_dict("records"))))
    with figure(
        path, 1, len(names), (1.2 + 1.9 * len(names), 1.2 + 0.3 * len(columns)), squeeze=False, sharey=True
    ) as (fig, axes):
        for ax, name in zip(axes[0], names, strict=True):
            for row in table[table["measure"] == name].to_dict("records"):
                y, colour = columns.index(column_name(row)), ALONE if row["windows"] == "none" else METHOD
                ax.plot([row["low"], row["high"]], [y, y], color=colour, alpha=0.5, lw=2)
                ax.plot(row["value"], y, "o", color=colour)
                if row["not_converged"]:
                    open_marks(ax, row["value"], y, colour)
            ax.set_title(fill(MEASURES[name], 14), loc="left")
        axes[0, 0].set_yticks(np.arange(len(columns)), columns)
        axes[0, 0].invert_yaxis()
        notes = [text.OPEN_MARKS] if table["not_converged"].any() else []
        foot(fig, [f"Lines: {level:.0%} interval over clips and seeds", *notes])


def draw_reason(reason: str, path: Path) -> None:
    """A figure that says why there is none."""
    with figure(path, size=(6.4, 1)) as (_, ax):
        ax.set_axis_off()
        ax.text(0.5, 0.5, reason, ha="center", va="center", wrap=True)

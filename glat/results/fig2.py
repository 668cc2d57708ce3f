"""Fig. 2 of the paper: mAP of GL-AT against the number N and the length tau of its windows, and what each point
costs."""

from __future__ import annotations

from functools import partial as applied
from pathlib import Path
from typing import Any

import pandas as pd

from ..config import experiments
from ..config.params import Params
from . import tables, text
from .columns import score_columns
from .measured import Measured, confidence, read, same_clips
from .plots import ALONE, METHOD, figure, foot, open_marks
from .verdicts import comparison_columns, decide

LABELS = {"n": "number of windows N", "tau": "length of a window, tau (s)"}


def fig2(plain: Measured, points: list[tuple[float, Measured]], setting: str) -> pd.DataFrame:
    """One row for the backbone alone (without a value), then one per point of the sweep over `setting` ("n" or "tau").

    Columns: `method`, `setting`, `value`; those of `columns.score_columns`; `vs_alone`, mAP minus that of the backbone
    alone, paired; `multiply_adds_per_clip`; `seconds_per_clip`, measured at evaluation by `clock`. A point whose runs
    are missing keeps its row, with the reason under `missing`.

    Raises:
        GlatError: the runs were not evaluated on the same clips.
    """
    same_clips([plain, *(one for _, one in points)])
    rows = []
    for value, one in [(None, plain), *points]:
        row: dict[str, Any] = {"method": one.system.label, "setting": setting, "value": value} | score_columns(one)
        row |= comparison_columns("vs_alone", one, plain)
        if one.metrics:
            row |= {key: one.mean("cost", key) for key in ("multiply_adds_per_clip", "seconds_per_clip")}
            row["clock"] = one.first["cost"]["clock"]
        rows.append(row)
    return decide(rows, confidence([plain, *(one for _, one in points)]))


def draw(table: pd.DataFrame, setting: str, confidence: float, path: Path) -> None:
    """mAP with intervals above, with the backbone alone as a band; below, the cost per clip. Missing points are
    named."""
    alone, points = table.iloc[0], table.iloc[1:]
    there, missing = points[points["seeds"] > 0], points[points["missing"].fillna("") != ""]
    with figure(path, 2, 1, (6.4, 5.6), sharex=True, height_ratios=[3, 2]) as (fig, (score, cost)):
        if alone["seeds"]:
            score.axhline(alone["mAP"], color=ALONE, label=text.with_mark(alone["method"], alone))
            score.axhspan(alone["mAP_low"], alone["mAP_high"], color=ALONE, alpha=0.12, lw=0)
            cost.axhline(1000 * alone["seconds_per_clip"], color=ALONE)
        if len(there):
            x, label = there["value"].astype(float), there["method"].iloc[0]
            score.fill_between(x, there["mAP_low"], there["mAP_high"], color=METHOD, alpha=0.15, lw=0)
            score.plot(x, there["mAP"], "o-", color=METHOD, label=label)
            unconverged = there[there["not_converged"] > 0]
            open_marks(score, unconverged["value"].astype(float), unconverged["mAP"], METHOD)
            cost.plot(x, 1000 * there["seconds_per_clip"], "o-", color=METHOD, label="measured")
            # Multiply-adds as milliseconds at the speed of the first point: the curve if arithmetic were the only cost.
            speed = there["seconds_per_clip"].iloc[0] / there["multiply_adds_per_clip"].iloc[0]
            scaled = 1000 * speed * there["multiply_adds_per_clip"]
            cost.plot(x, scaled, ":", color="black", label="multiply-adds, scaled to the first point")
            cost.set_ylabel(f"ms a clip ({there['clock'].iloc[0]})")
            cost.legend()
        for row in missing.to_dict("records"):
            score.axvline(row["value"], color="grey", ls=":")
            name = f"{row['value']:g}: " + ("missing" if not row["seeds"] else "seeds missing")
            score.text(row["value"], 0.02, f" {name}", transform=score.get_xaxis_transform(), rotation=90, fontsize=7)
        seeds = sorted(set(points["seeds"]))
        score.set_ylabel("mAP")
        score.set_title(f"{_seeds(seeds)}; bands: {confidence:.0%} interval", loc="left")
        score.legend()
        cost.set_ylim(0)
        cost.set_xticks(points["value"].astype(float))
        cost.set_xlabel(LABELS[setting])
        lost = table.loc[table["missing"].fillna("") != "", "missing"]
        lines = ["Missing: " + lost.str.cat(sep="; ")] if len(lost) else []
        foot(fig, lines + ([text.OPEN_MARKS] if table["not_converged"].any() else []))


def _seeds(seeds: list[int]) -> str:
    return f"{'/'.join(map(str, seeds))} seed{'' if seeds == [1] else 's'} a point"


def write(params: Params, folder: Path, panel: str, partial: bool = False) -> None:
    """Write fig2<panel>.csv, .svg and .png into `folder`; with `partial`, from the runs that exist."""
    setting = experiments.FIG2[panel]
    plain, points = experiments.fig2(params, setting)
    measured = [(point.value, read(point.system, partial)) for point in points]
    table = fig2(read(plain, partial), measured, setting)
    level = confidence((one for _, one in measured), params.evaluation.confidence)
    draw(table, setting, level, folder / f"fig2{panel}")
    tables.write(table, None, folder / f"fig2{panel}")


write_a, write_b = applied(write, panel="a"), applied(write, panel="b")

"""The ladder: what each part of a recipe adds, and what GL-AT and its variants add on top of all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ..config import ladder as asked
from ..config.params import Params
from ..lib.errors import GlatError
from . import tables, text
from .columns import score_columns
from .controls import compute_columns, equal_share, unequal
from .measured import Measured, confidence, read, same_clips
from .plots import ALONE, METHOD, figure, foot, open_marks
from .verdicts import comparison_columns, decide

EXPLANATION = (
    "Each rung trains as all those below it, and with the setting that it names. Below the recipe, everything has all of it: "
    "GL-AT around the backbone and variants of it (docs/variants.md), and the backbone alone for as many steps as cost "
    "the same multiply-adds. Of another backbone, the steps are as many as ladder.beside says. Compute is the multiply-adds of "
    "the training, forward and backward, relative to the lowest rung's; what a teacher's training costs is not in it."
)


def ladder(rows: list[tuple[asked.Rung, Measured]]) -> pd.DataFrame:
    """One row a rung.

    Columns: `part`, `name`, `method` (the network's title), `run`; those of `columns.score_columns`; mAP minus that of another
    row, paired, each with interval, p and verdict: `vs_plain`, the same backbone with the lowest recipe; `vs_below`, the same
    without what this row adds; `vs_equal`, the backbone alone with as much compute; `controls.equal_share`; and
    `controls.compute_columns`.

    Raises:
        GlatError: the runs were not evaluated on the same clips.
    """
    same_clips([one for _, one in rows])
    known = {(one.system.runs[0].backbone, one.name): found for one, found in rows}
    lowest, table_rows = rows[0][1], []
    for rung, one in rows:
        first = rung.system.runs[0]
        row: dict[str, Any] = {"part": rung.part, "name": rung.name, "method": rung.system.label, "run": first.group}
        row |= score_columns(one)
        row |= comparison_columns("vs_plain", one, known.get((first.backbone, asked.PLAIN)))
        row |= comparison_columns("vs_below", one, known.get((first.backbone, rung.below)))
        row |= comparison_columns("vs_equal", one, known.get((first.backbone, rung.equal)))
        start = known.get((first.backbone, rung.below), lowest)
        row["equal_share"] = equal_share(one, known.get((first.backbone, rung.equal)), start)
        table_rows.append(row | compute_columns(one, start, lowest))
    return decide(table_rows, confidence(one for _, one in rows))


def markdown(table: pd.DataFrame, confidence: float) -> str:
    """The ladder as a Markdown page."""
    rows = table.to_dict("records")
    measured = [row for row in rows if row["seeds"]]
    parts = ["# The ladder"]
    if measured:
        parts.append(text.conditions(measured, confidence, set(table.loc[table["seeds"] > 0, "seeds"])))
    parts += [text.DIFFERENCES, EXPLANATION, *unequal(rows, "name")]
    header = [
        "Network", "Part", "Name", "mAP", "mAP minus the lowest rung's", "mAP minus that without it",
        "mAP minus equal compute's", "compute", "million multiply-adds a clip",
    ]  # fmt: skip
    lines = [
        [
            row["method"], row["part"], text.with_mark(row["name"], row),
            text.score(row, "mAP") if row["seeds"] else f"missing: {text.escaped(row['missing'])}",
            *(text.difference(row, f"vs_{other}") for other in ("plain", "below", "equal")),
            text.number(row["training_compute"], 2), text.number(row["multiply_adds_per_clip"] / 1e6, 1),
        ]
        for row in rows
    ]  # fmt: skip
    return "\n\n".join([*parts, text.markdown(header, lines).rstrip(), *text.mark_notes(measured)]) + "\n"


def draw(table: pd.DataFrame, confidence: float, path: Path) -> None:
    """Draw a line for each rung: its mAP and the interval. A vertical line marks the mAP of the lowest rung."""
    with figure(path, 1, 1, (7.2, 0.9 + 0.3 * len(table)), squeeze=False) as (fig, axes):
        ax, rows = axes[0, 0], table.to_dict("records")
        ax.axvline(rows[0]["mAP"], color=ALONE, alpha=0.5, lw=1)
        for y, row in enumerate(rows):
            colour = METHOD if "GL-AT" in row["method"] else ALONE
            if row["seeds"]:
                ax.plot([row["mAP_low"], row["mAP_high"]], [y, y], color=colour, lw=2, alpha=0.5)
                ax.plot(row["mAP"], y, "o", color=colour)
            if row["not_converged"]:
                open_marks(ax, row["mAP"], y, colour)
        ax.set_yticks(range(len(rows)), [f"{row['method'].removesuffix(' + GL-AT')}: {row['name']}" for row in rows])
        ax.invert_yaxis()
        ax.set_xlabel("mAP")
        seeds = "/".join(map(str, sorted(set(table["seeds"]))))
        ax.set_title(f"{seeds} seed(s) a row; lines: {confidence:.0%} interval", loc="right")
        foot(fig, [text.OPEN_MARKS] if table["not_converged"].any() else [])


def write(params: Params, folder: Path, partial: bool = False) -> None:
    """Write ladder.csv, .md, .svg and .png into `folder`; with `partial`, from the runs that exist. Raises GlatError where
    there is no ladder."""
    rungs = asked.ladder(params)
    if not rungs:
        raise GlatError("ladder.rungs: there are none; --configfile recipes/ladder.yaml has those of docs/backbones.md")
    rows = [(rung, read(rung.system, partial)) for rung in rungs]
    table = ladder(rows)
    level = confidence((one for _, one in rows), params.evaluation.confidence)
    draw(table, level, folder / "ladder")
    tables.write(table, markdown(table, level), folder / "ladder")

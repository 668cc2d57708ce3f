"""Numbers and tables as text, alike in every Markdown file and in the report."""

from __future__ import annotations

import math
import re
from typing import Any

from ..lib.escaping import markdown as escaped
from ..models.registry import OUR_READING, READING
from ..scoring.intervals import Difference
from ..training.convergence import MARK, NO_VERDICT

_BAR = re.compile(r"(?<!\\)\|")  # that would end a cell


def number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def score(row: dict[str, Any], metric: str) -> str:
    """A metric of a table's row: value ± deviation over seeds [interval]."""
    deviation = row[f"{metric}_std"]
    over_seeds = "" if math.isnan(deviation) else f" ± {deviation:.3f}"
    return f"{number(row[metric])}{over_seeds} [{number(row[f'{metric}_low'])}, {number(row[f'{metric}_high'])}]"


def marked(name: str, row: dict[str, Any]) -> str:
    """A name of a table's row, with the mark of a training that had not converged."""
    return f"{name} {MARK}" if row["not_converged"] else name


def marks(rows: list[dict[str, Any]]) -> list[str]:
    """What is to be said under a table for the marks that its rows bear: a line for each kind."""
    told = [READING] if any(OUR_READING in row["method"] for row in rows) else []
    if any(row["not_converged"] for row in rows):
        told.append(
            f"{MARK} In at least one seed the training had not converged at its end, by its own curve "
            "(glat/training/convergence.py): it is half-trained, or its curve can't tell. A difference that such a "
            f'system is part of has no verdict ("{NO_VERDICT}").'
        )
    return told


# Below a figure with such marks.
OPEN_MARKS = (
    f"Open marks and {MARK}: trainings that had not converged at their end, or whose curve can't tell; no verdict."
)


def difference(row: dict[str, Any], name: str) -> str:
    """A difference of a table's row, with its interval, corrected p and verdict; empty where there is none."""
    found = Difference(*(row[f"{name}{end}"] for end in ("", "_low", "_high", "_p_holm")))
    if math.isnan(found.difference):
        return ""
    p = "" if math.isnan(found.p) else f" p {_p(found.p)}:"
    return f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}],{p} {row[f'{name}_verdict']}"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table. Text of the user's in a cell goes through `escaping.markdown` before."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_BAR.sub(r"\|", cell) for cell in line) + " |" for line in lines) + "\n"


def measured_where(rows: list[dict[str, Any]], confidence: float, seeds: set[int]) -> str:
    """What stands behind the numbers of a table: clips, classes, seeds, intervals, and what made them."""
    row = rows[0]
    several = max(seeds) > 1
    over = "clips and seeds; after ±: the standard deviation over seeds" if several else "clips"
    alone = "" if several else " One seed says nothing about the spread over seeds, so no verdict follows from it."
    return (
        f"Measured here on `{row['dataset']}`: {row['evaluation_clips']:.0f} evaluation clips, "
        f"{row['classes_scored']:.0f} classes with a positive, {'/'.join(map(str, sorted(seeds)))} "
        f"seed{'s' if several else ''} a row. In brackets: the {confidence:.0%} interval over {over}.{alone} "
        f"{INTERVALS_ARE_FOR} {behind(rows)}"
    )


def behind(rows: list[dict[str, Any]]) -> str:
    """The clips behind the numbers of a table, and the commit, versions and hardware (`measured.behind_columns`)."""
    row = rows[0]
    only = f", restricted by evaluation.only to {escaped(row['evaluation_only'])}" if row["evaluation_only"] else ""
    made = {key: " / ".join(dict.fromkeys(one[key] for one in rows)) for key in ("commit", "versions", "hardware")}
    return (
        f"Clips: {row['evaluation_clips']:.0f}, the SHA-256 of their names (clips.txt of the runs) begins "
        f"`{row['clips_sha256']}`{only}. Trained and evaluated at commit {made['commit']} with {made['versions']}, on "
        f"{made['hardware']}."
    )


INTERVALS_ARE_FOR = (
    "An interval is for what the metric would be on endlessly many clips with the same share of each class. mAP on few "
    "positives leans above that, as each positive counts itself, so its interval reaches further down than up."
)
HOW_DIFFERENCES_READ = (
    "Differences are paired by clip and seed. p is two-sided, of both sources of variance, and corrected by Holm's "
    "method for all comparisons of one metric in this table, each pair of systems counted once; a difference is called "
    "higher or lower where that p is below what the interval leaves out, else it is undecided. The interval is that of "
    "one comparison alone. One seed gives no verdict."
)

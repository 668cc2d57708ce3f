"""Numbers, tables and their notes as text, the same in every Markdown file and in the report."""

from __future__ import annotations

import math
import re
from typing import Any

from ..lib.escaping import markdown as escaped
from ..models.registry import OUR_READING, READING
from ..scoring.intervals import Difference
from ..training.convergence import MARK, NO_VERDICT

_BAR = re.compile(r"(?<!\\)\|")  # a bar that would end a cell


def number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def score(row: dict[str, Any], metric: str) -> str:
    """A metric in a table's row: value ± standard deviation over seeds [interval]."""
    deviation = row[f"{metric}_std"]
    over_seeds = "" if math.isnan(deviation) else f" ± {deviation:.3f}"
    of_folds = row.get(f"{metric}_std_folds", math.nan)
    over_seeds += "" if math.isnan(of_folds) else f" (folds ± {of_folds:.3f})"
    return f"{number(row[metric])}{over_seeds} [{number(row[f'{metric}_low'])}, {number(row[f'{metric}_high'])}]"


def with_mark(name: str, row: dict[str, Any]) -> str:
    """A name in a table's row, with a mark if a training had not converged."""
    return f"{name} {MARK}" if row["not_converged"] else name


def mark_notes(rows: list[dict[str, Any]]) -> list[str]:
    """Notes below a table on the marks in its rows, one per kind."""
    notes = [READING] if any(OUR_READING in row["method"] for row in rows) else []
    if any(row["not_converged"] for row in rows):
        notes.append(
            f"{MARK} In at least one seed the training had not converged at its end, or its curve can't tell "
            "(glat/training/convergence.py). A difference with such a system gets no verdict "
            f'("{NO_VERDICT}").'
        )
    return notes


# Below a figure with such marks.
OPEN_MARKS = (
    f"Open marks and {MARK}: trainings that had not converged at their end, or whose curve can't tell; no verdict."
)


def difference(row: dict[str, Any], name: str) -> str:
    """A difference in a table's row, with its interval, corrected p and verdict; empty if there is none."""
    found = Difference(*(row[f"{name}{end}"] for end in ("", "_low", "_high", "_p_holm")))
    if math.isnan(found.difference):
        return ""
    p = "" if math.isnan(found.p) else " p < 0.001:" if found.p < 0.001 else f" p = {found.p:.3f}:"
    return f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}],{p} {row[f'{name}_verdict']}"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table. A user's text in a cell has to pass `escaping.markdown` first."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_BAR.sub(r"\|", cell) for cell in line) + " |" for line in lines) + "\n"


def conditions(rows: list[dict[str, Any]], confidence: float, seeds: set[int]) -> str:
    """A sentence on what a table's numbers are based on: clips, classes, seeds, intervals, and provenance."""
    row = rows[0]
    several, folds = max(seeds) > 1, row.get("folds", math.nan)
    sources = ["clips", *(["folds"] if folds > 1 else []), *(["seeds"] if several else [])]
    over = " and ".join(filter(None, [", ".join(sources[:-1]), sources[-1]]))
    over += "; after ±: the standard deviation over seeds" if several else ""
    alone = "" if several else " One seed says nothing about the spread over seeds, so no verdict follows from it."
    crossed = FOLDS.format(folds) if folds > 1 else ""
    return (
        f"Measured here on `{row['dataset']}`: {row['evaluation_clips']:.0f} evaluation clips, "
        f"{row['classes_scored']:.0f} classes with a positive, {'/'.join(map(str, sorted(seeds)))} "
        f"seed{'s' if several else ''} a row.{crossed} In brackets: the {confidence:.0%} interval over {over}.{alone} "
        f"{INTERVALS} {provenance(rows)}"
    )


def provenance(rows: list[dict[str, Any]]) -> str:
    """A sentence on a table's clips, commits, versions and hardware (`columns.provenance_columns`)."""
    row = rows[0]
    only = f", restricted by evaluation.only to {escaped(row['evaluation_only'])}" if row["evaluation_only"] else ""
    made = {key: " / ".join(dict.fromkeys(one[key] for one in rows)) for key in ("commit", "versions", "hardware")}
    return (
        f"Clips: {row['evaluation_clips']:.0f}, the SHA-256 of their names (clips.txt of the runs) begins "
        f"`{row['clips_sha256']}`{only}. Trained and evaluated at commit {made['commit']} with {made['versions']}, on "
        f"{made['hardware']}."
    )


FOLDS = (
    " A metric is the mean over {:.0f} folds; each clip is scored by a network that was not trained on its fold. Intervals and "
    "p take into account that each fold has clips and a network of its own, but not that the networks were trained on clips in "
    "common: other training clips would move all folds at once."
)
INTERVALS = (
    "An interval is for the metric on endlessly many clips with the same share of each class. mAP on few positives "
    "leans above that, as each positive counts itself, so its interval reaches further down than up."
)
DIFFERENCES = (
    "Differences are paired by clip and seed. p is two-sided, takes the variance over clips and over seeds into "
    "account, and is corrected by Holm's method for all comparisons of one metric in this table, each pair of "
    "systems counted once. A difference is higher or lower if p is below 1 minus the interval's confidence, and "
    "undecided otherwise. The interval is not corrected for the number of comparisons. One seed gives no verdict."
)

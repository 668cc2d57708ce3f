"""Differences between systems and their verdicts. A verdict needs two seeds, trainings that had converged, and a p that
is corrected for the number of comparisons."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from ..scoring.intervals import NONE, Difference, difference, holm
from ..scoring.predictions import METRICS
from ..training.convergence import NO_VERDICT
from .measured import Measured, confidence, estimates

ONE_SEED = "one seed: no verdict"


def compare(a: Measured, b: Measured, metric: str = "mAP") -> Difference | None:
    """System a minus b, paired by clip, fold and seed, over the seeds that both have; None if they share none."""
    seeds = [seed for seed in a.metrics if seed in b.metrics]
    return difference(estimates(a, metric, seeds), estimates(b, metric, seeds), confidence([a])) if seeds else None


def verdict(difference: float, p: float, level: float) -> str:
    """The verdict on a difference, by its p corrected for the number of comparisons (NaN: one seed)."""
    if np.isnan(difference):
        return "not compared"
    if np.isnan(p):
        return ONE_SEED
    if p >= round(1 - level, 12):
        return "undecided"
    return "higher" if difference > 0 else "lower"


def both_converged(a: Measured, b: Measured) -> bool:
    """Whether all trainings of two systems had converged (`glat.training.convergence`)."""
    return not (a.not_converged or b.not_converged)


def difference_columns(name: str, found: Difference | None, pair: Hashable, converged: bool = True) -> dict[str, Any]:
    """A difference as columns of a table: `<name>`, `_low`, `_high`, `_p`, and for `decide` to fill, `_p_holm`,
    `_verdict`.

    pair: what is compared, the same for a comparison that the table repeats; `decide` uses it and removes its column.
    converged: whether the trainings of both systems had converged; if not, the difference gets no p and no verdict.
    """
    values = zip(("", "_low", "_high", "_p"), found or NONE, strict=True)
    columns = {f"{name}{end}": value for end, value in values}
    if not converged:
        columns[f"{name}_p"] = np.nan
    given = "" if converged else NO_VERDICT
    return columns | {f"{name}_p_holm": np.nan, f"{name}_verdict": given, f"{name}_pair": pair}


def decide(rows: list[dict[str, Any]], level: float) -> pd.DataFrame:
    """Rows with `difference_columns` as a table with verdicts, at the confidence `level`.

    p is corrected by Holm's method over a family of comparisons: all of one metric in the table, where a pair of
    systems counts once, however often and in whichever order the table has it. A verdict that a row already has,
    because a training had not converged, stays.
    """
    table = pd.DataFrame(rows)
    families: dict[str, list[str]] = {}
    for name in (column.removesuffix("_p") for column in table if column.endswith("_p")):
        families.setdefault(next((m for m in METRICS if name.endswith(f"_{m}")), "mAP"), []).append(name)
    for names in families.values():
        p = {pair: p for name in names for pair, p in zip(table[f"{name}_pair"], table[f"{name}_p"], strict=True)}
        corrected = dict(zip(p, holm(list(p.values())), strict=True))
        for name in names:
            values = [corrected[pair] for pair in table.pop(f"{name}_pair")]
            cells = zip(table[f"{name}_verdict"], table[name], values, strict=True)
            table[f"{name}_p_holm"] = values
            table[f"{name}_verdict"] = [given or verdict(found, p, level) for given, found, p in cells]
    return table


def comparison_columns(name: str, one: Measured, other: Measured | None) -> dict[str, Any]:
    """A system minus another as columns: `<name>` for mAP, `<name>_mAUC` and `<name>_d_prime`. They are NaN if there is
    no other, or if it is the same stream of the same runs."""
    if other and one.identity == other.identity:
        other = None
    pair = frozenset((one.identity, other.identity)) if other else None
    columns: dict[str, Any] = {}
    for metric in METRICS:
        found = compare(one, other, metric) if other else None
        column = name if metric == "mAP" else f"{name}_{metric}"
        columns |= difference_columns(column, found, pair, not other or both_converged(one, other))
    return columns

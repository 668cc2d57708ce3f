"""A line of the audit: what was measured, what is expected, and what to make of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

FINE, WARNING, NOT_FIT = "fine", "warning", "not fit"


class Row(NamedTuple):
    """One line of audit.csv. split: "all" for what concerns several; verdict: empty where there is none to give,
    "fine", or "warning: <why>" or "not fit: <why>", where the sentence names the likely cause."""

    split: str
    measure: str
    key: str
    value: Any
    expected: str = ""
    verdict: str = ""

    @property
    def grade(self) -> str:
        return self.verdict.partition(":")[0]

    @property
    def why(self) -> str:
        return self.verdict.partition(": ")[2]


def graded(share: float, warn: float, fatal: float | None, why: str) -> str:
    """The verdict on a share: fine up to `warn`, a warning up to `fatal` (None: never more than a warning)."""
    if fatal is not None and share > fatal:
        return f"{NOT_FIT}: {why}"
    return f"{WARNING}: {why}" if share > warn else FINE


def percent(share: float) -> str:
    """A share as text, with three digits however small it is."""
    return f"{100 * share:.3g}%"


def few(names: Iterable[str], most: int = 8) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def verdict(rows: Iterable[Row]) -> str:
    """The verdict on all rows, in one sentence."""
    rows = list(rows)
    fatal = [f"{row.split}: {row.why}" for row in rows if row.grade == NOT_FIT]
    warnings = sum(row.grade == WARNING for row in rows)
    if fatal:
        return f"not fit for training: {'; '.join(fatal)}"
    told = f", with {warnings} warning{'s' if warnings > 1 else ''}" if warnings else ""
    return f"fit for training{told}"

"""A line of the audit: what was measured, what is expected, and what to make of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

FINE, WARNING, NOT_FIT = "fine", "warning", "not fit"


class Verdict(NamedTuple):
    """A grade, and why where it is not fine. As text, `<grade>: <why>`."""

    grade: str = ""
    why: str = ""

    def __str__(self) -> str:
        return f"{self.grade}: {self.why}" if self.why else self.grade


class Row(NamedTuple):
    """One line of audit.csv. split: "all" for what concerns several; verdict: empty where there is none to give, else one
    of fine, a warning and not fit, whose `why` names the likely cause."""

    split: str
    measure: str
    key: str
    value: Any
    expected: str = ""
    verdict: Verdict = Verdict()


def judge(share: float, warn: float, fatal: float | None, why: str) -> Verdict:
    """The verdict on a share: fine up to `warn`, a warning up to `fatal` (None: never more than a warning)."""
    if fatal is not None and share > fatal:
        return Verdict(NOT_FIT, why)
    return Verdict(WARNING, why) if share > warn else Verdict(FINE)


def percent(share: float) -> str:
    """A share as text, with three digits however small it is."""
    return f"{100 * share:.3g}%"


def few(names: Iterable[str], most: int = 8) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def verdict(rows: Iterable[Row]) -> Verdict:
    """The verdict on all rows, in words."""
    rows = list(rows)
    fatal = [f"{row.split}: {row.verdict.why}" for row in rows if row.verdict.grade == NOT_FIT]
    warnings = sum(row.verdict.grade == WARNING for row in rows)
    if fatal:
        return Verdict("not fit for training", "; ".join(fatal))
    with_warnings = f", with {warnings} warning{'s' if warnings > 1 else ''}" if warnings else ""
    return Verdict(f"fit for training{with_warnings}")

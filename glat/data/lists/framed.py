"""AudioSet's framed strong labels: of pieces of 960 ms, whether a class is heard in them or certainly not (Hershey et al., "The
Benefit of Temporally-Strong Labels in Audio Event Classification", ICASSP 2021)."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from ...lib.errors import GlatError
from .labels import LabelNames
from .rows import Column, Rows

COLUMNS = [
    Column("segment_id"),
    Column("start_time_seconds", number=True),
    Column("end_time_seconds", number=True),
    Column("label"),
    Column("present"),
]
PRESENT = {"PRESENT": True, "NOT_PRESENT": False}


def read_framed(path: str | Path, classes: pd.DataFrame | None = None, named: str | None = None) -> pd.DataFrame:
    """Read `audioset_eval_strong_framed_posneg.tsv` (segment_id, start_time_seconds, end_time_seconds, label, present): one row
    a piece and class.

    Columns clip, start, end (seconds from the clip's beginning), label (a mid), present (bool). named: what errors call the
    file.

    Raises GlatError, by name and line, for a header without these columns, a row cut short, start >= end, and another word
    than PRESENT or NOT_PRESENT.
    """
    table = Rows(path, COLUMNS, "framed strong labels", named)
    mid_of = LabelNames(classes).mid_of
    found = []
    for line, fields in table:
        clip, start_text, end_text, label, word = (fields[place].strip() for place in table.place)
        try:
            start, end = float(start_text), float(end_text)
        except ValueError:
            start = end = math.nan
        if not (clip and label and 0 <= start < end < math.inf and word in PRESENT):
            expected = "segment_id, 0 <= start < end in seconds, label, PRESENT or NOT_PRESENT"
            raise table.fault(line, expected, " ".join(fields))
        found.append((clip, start, end, mid_of.get(label, label), PRESENT[word]))
    if not found:
        raise GlatError(f"{table.named}: holds no label")
    return pd.DataFrame(found, columns=["clip", "start", "end", "label", "present"])

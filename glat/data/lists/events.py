"""Tables of events that people have for a folder of recordings: file, start, end and label, in seconds of the file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...lib.errors import GlatError
from . import audioset
from .folders import composed
from .rows import Column, Rows

COLUMNS = [Column("file", ("filename", "file_name", "segment_id", "clip", "path")), *audioset.STRONG_COLUMNS[1:]]


class Event(NamedTuple):
    """One row, of line `line`: `file` as it is written, start and end in seconds of it, label."""

    line: int
    file: str
    start: float
    end: float
    label: str


class EventTable:
    """An iterator over the events of a table. Raises GlatError for what `Rows` refuses, and by line for what is no event."""

    def __init__(self, path: str | Path):
        self._rows = Rows(path, COLUMNS, "a table of events")

    def __iter__(self) -> Iterator[Event]:
        at = self._rows.place
        for line, fields in self._rows:
            try:
                start, end = float(fields[at[1]]), float(fields[at[2]])
            except ValueError:
                start = end = math.nan
            if not 0 <= start < end < math.inf:
                raise self._rows.fault(line, "0 <= start < end in seconds", ",".join(fields))
            yield Event(line, fields[at[0]].strip(), start, end, composed(fields[at[3]].strip()))

    def fault(self, event: Event, expected: str, found: str) -> GlatError:
        """The error that an event has something else than is expected there."""
        return self._rows.fault(event.line, expected, found)

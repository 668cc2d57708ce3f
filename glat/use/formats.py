"""Tags and events as text: lines for people, CSV, JSON lines, DCASE's tables, Audacity's label tracks."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from ..lib.errors import GlatError
from ..lib.escaping import printable


class Tag(NamedTuple):
    """A class in a part of a recording: of a clip, or an event."""

    file: Path
    start: float  # in the file, in seconds
    end: float
    label: str
    score: float  # probability; of an event, the highest


class Format(StrEnum):
    table = "table"  # file, start, end, score, class; tab-separated
    csv = "csv"  # file, start, end, label, score, with a header
    jsonl = "jsonl"  # an object a line, with these keys
    dcase = "dcase"  # filename, onset, offset, event_label, with a header; the file's name without its folder
    audacity = "audacity"  # start, end, label: what Audacity imports as a label track, so of one recording


def lines(form: Format, tags: Iterable[Tag]) -> Iterator[str]:
    """Tags as text, line by line with their ends, a header before where the format has one."""
    if header := {Format.csv: Tag._fields, Format.dcase: ("filename", "onset", "offset", "event_label")}.get(form):
        yield _row(header, form)
    for tag in tags:
        yield _WRITERS[form](tag)


def check_names(form: Format, names: list[Path]) -> None:
    """Raise GlatError where files could not be told apart in a format."""
    if form is Format.audacity and len(names) > 1:
        raise GlatError(
            f"format: audacity: a label track is of one recording, not of {len(names)}; give one file at a time"
        )
    seen: dict[str, Path] = {}
    for path in names if form is Format.dcase else []:
        if path.name in seen:
            raise GlatError(
                f"format: dcase: names files without folders, and {seen[path.name]} and {path} have one name"
            )
        seen[path.name] = path


def one_line(text: object) -> str:
    """Text as a field of a line: a newline or a tab in it is written as in Python."""
    return "".join(c.encode("unicode_escape").decode() if c < " " else c for c in str(text))


def _table(tag: Tag) -> str:
    line = f"{one_line(tag.file)}\t{tag.start:.1f}\t{tag.end:.1f}\t{tag.score:.3f}\t{one_line(tag.label)}"
    return printable(line) + "\n"


def _jsonl(tag: Tag) -> str:
    start, end = round(tag.start, 3), round(tag.end, 3)
    values = {"file": str(tag.file), "start": start, "end": end, "label": tag.label, "score": round(tag.score, 6)}
    return json.dumps(values) + "\n"


def _csv(tag: Tag) -> str:
    return _row((tag.file, f"{tag.start:.3f}", f"{tag.end:.3f}", tag.label, f"{tag.score:.6f}"), Format.csv)


def _dcase(tag: Tag) -> str:
    fields = (one_line(tag.file.name), f"{tag.start:.3f}", f"{tag.end:.3f}", one_line(tag.label))
    return _row(fields, Format.dcase)


def _audacity(tag: Tag) -> str:
    return f"{tag.start:.6f}\t{tag.end:.6f}\t{one_line(tag.label)}\n"


def _row(fields: Iterable[object], form: Format) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter="," if form is Format.csv else "\t", lineterminator="\n").writerow(fields)
    return text.getvalue()


_WRITERS: dict[Format, Callable[[Tag], str]] = {
    Format.table: _table, Format.csv: _csv, Format.jsonl: _jsonl, Format.dcase: _dcase, Format.audacity: _audacity,
}  # fmt: skip

"""A dataset's lists as files, for sources that make them."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from ...lib.files import whole
from ...lib.layout import CLASS_LIST, segment_list


def write_classes(folder: Path, classes: Iterable[tuple[str, str]]) -> None:
    """The class list: id and display name of each class, in the order of a network's outputs."""
    _write(folder / CLASS_LIST, ["index", "mid", "display_name"], ([i, *one] for i, one in enumerate(classes)))


def write_segments(folder: Path, split: str, rows: Iterable[tuple[str, Iterable[str]]], seconds: float) -> None:
    """The list of a split's recordings: of each its id and the ids of its classes. seconds: where all of them end, at the
    latest."""
    header = ["YTID", "start_seconds", "end_seconds", "positive_labels"]
    _write(folder / segment_list(split), header, ([name, 0, f"{seconds:g}", ",".join(ids)] for name, ids in rows))


def _write(path: Path, header: list[str], rows: Iterable[list[object]]) -> None:
    with whole(path) as part, open(part, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)

"""A dataset's lists as files, for sources that make them."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from ...lib.files import whole
from ...lib.layout import CLASS_LIST, segment_list, strong_list


def write_classes(folder: Path, classes: Iterable[tuple[str, str]]) -> None:
    """The class list: id and display name of each class, in the order of a network's outputs."""
    _write(folder / CLASS_LIST, ["index", "mid", "display_name"], ([i, *one] for i, one in enumerate(classes)))


def write_segments(folder: Path, split: str, rows: Iterable[tuple[str, str, str, Iterable[str]]]) -> None:
    """The segment list of a split: of each clip its id, start and end in seconds, and the ids of its classes."""
    header = ["YTID", "start_seconds", "end_seconds", "positive_labels"]
    _write(folder / segment_list(split), header, ([*times, ",".join(ids)] for *times, ids in rows))


def write_strong(folder: Path, split: str, rows: Iterable[tuple[str, str, str, str]]) -> None:
    """The strong labels of a split: of each event its clip, onset and offset in seconds, and the id of its class."""
    header = ["segment_id", "start_time_seconds", "end_time_seconds", "label"]
    _write(folder / strong_list(split), header, rows, "\t")


def _write(path: Path, header: list[str], rows: Iterable[Iterable[object]], delimiter: str = ",") -> None:
    with whole(path) as part, open(part, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)

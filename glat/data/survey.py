"""What is in a folder of recordings and its table of labels: the look that `glat dataset new` takes before it writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..lib.errors import GlatError
from ..lib.escaping import printable
from .audio.length import Length, measure
from .lists.table import Table
from .shards import progress
from .sources.table import RecordingTable

SHOWN = 12  # classes that are listed by name


class Survey(NamedTuple):
    """clips: the table's rows with `path` and `id` (`RecordingTable.clips`), and `seconds`, the length of each clip, NaN
    where there is none. rates: how many files have which rate in Hz. unlabelled: files that no row names. unreadable: files
    that give no sound, with the reason. hidden: what of the folder could not be looked into (`Folder.hidden`)."""

    table: Table
    classes: pd.DataFrame
    clips: pd.DataFrame
    rates: Counter[int]
    unlabelled: list[str]
    unreadable: list[tuple[str, str]]
    hidden: list[str]


def survey(source: RecordingTable) -> Survey:
    """Read the table, find the files, and measure how long each is.

    Raises:
        GlatError: what is wrong with the table or the folder; fewer than two classes, unless some clips have no label; or
            fewer than two clips.
    """
    table = source.table()
    classes, folder = source.class_list(table), source.folder()
    clips = source.clips(table, folder)
    source.events(clips, folder, source.names(classes))
    if len(classes) == 1 and table.rows["labels"].map(bool).all():
        raise GlatError(
            f"{table.path}: all clips have the one label {classes['display_name'].iloc[0]!r}, so there is nothing to tell "
            "apart; add clips of another class, or some without a label"
        )
    root, rates, unreadable, seconds = Path(source.audio), Counter[int](), [], {}
    for path in progress([path for path in clips["path"].unique() if path], f"{source.audio}: look"):
        found = measure(root / path)
        if isinstance(found, Length):
            rates[found.rate] += 1
            seconds[path] = found.seconds
        else:
            unreadable.append((path, str(found)))
    whole = clips["path"].map(seconds)
    _check_times(source, clips, whole)
    clips = clips.assign(seconds=(clips["end"].clip(upper=whole) - clips["start"]).fillna(whole))
    if clips["seconds"].notna().sum() < 2:
        first = f"; {unreadable[0][0]}: {unreadable[0][1]}" if unreadable else ""
        raise GlatError(f"{table.path}: fewer than two of its files are there and give sound{first}")
    unlabelled = sorted(set(folder.files) - set(clips["path"]))
    return Survey(table, classes, clips, rates, unlabelled, unreadable, folder.hidden)


def _check_times(source: RecordingTable, clips: pd.DataFrame, whole: pd.Series) -> None:
    """Refuse clips that begin where their file has ended: their times are of another recording."""
    behind = clips[clips["start"] >= whole]
    if len(behind):
        row = next(behind.itertuples())
        raise GlatError(
            f"{source.labels}: line {row.line}: {row.file!r} begins at {row.start:g} s, but the file has "
            f"{whole[row.Index]:.3g} s, {len(behind)} such clips of {len(clips)}; times count from the file's beginning: "
            'correct them, or say that the columns hold no such times (--start "" --end "")'
        )


def describe(found: Survey) -> list[str]:
    """A table of it, line by line."""
    clips, columns = found.clips, found.table.columns
    there = clips[clips["seconds"].notna()]
    counts = Counter(label for labels in clips["labels"] for label in labels)
    named = dict(zip(found.classes["mid"], found.classes["display_name"], strict=True))
    classes = [f"{named.get(name, name)} {count}" for name, count in counts.most_common(SHOWN)]
    more = len(counts) - len(classes)
    rare = [name for name, count in counts.items() if count < 10]
    label = f"columns {_few(columns.label)}" if isinstance(columns.label, list) else f"column {columns.label!r}"
    several = f", separated by {columns.separator!r}" if columns.separator else ""
    quantiles = np.quantile(there["seconds"], [0, 0.5, 1])
    absent = clips[clips["path"] == ""]
    heard = {split: {name for labels in of["labels"] for name in labels} for split, of in clips.groupby("split")}
    lines = {
        "clips": f"{len(clips)}, {there['seconds'].sum() / 60:.1f} minutes in all",
        "files": f"column {columns.file!r}; {clips['path'].nunique() - bool(len(absent))} of them there",
        "labels": f"{label}{several}; {_range(clips['labels'].map(len))} a clip, {int((clips['labels'].map(len) == 0).sum())} "
        "clips without (negatives)",
        "classes": f"{len(found.classes)}: {', '.join(classes)}{f' and {more} more' if more else ''}",
        "lengths": f"{quantiles[0]:.3g} to {quantiles[2]:.3g} s, half of them up to {quantiles[1]:.3g} s",
        "rates": ", ".join(f"{rate / 1000:g} kHz {count}" for rate, count in found.rates.most_common()),
        "splits": ", ".join(f"{name} {len(of)}" for name, of in clips.groupby("split"))
        + (f" (column {columns.split!r})" if columns.split else " (drawn: whole recordings, each class by its share)"),
        "columns not used": _few(found.table.unread) or "none",
        "files in no row, not used": _listed(found.unlabelled),
        "rows without their file": _listed(f"line {row.line}: {row.file}" for row in absent.itertuples()),
        "files without sound": _listed(f"{path} ({why})" for path, why in found.unreadable),
    }
    if columns.group:
        lines["recordings"] = f"{clips['group'].nunique()} (column {columns.group!r}); each in one split"
    if found.hidden:
        lines["not looked into"] = _listed(found.hidden)
    if found.table.merged:
        lines["rows merged"] = f"{found.table.merged}, further labels of the same file"
    if rare:
        lines["classes of under 10 clips"] = _listed(rare)
    for split, names in heard.items():
        if lacking := [name for name in counts if name not in names]:
            lines[f"classes without a clip in {split}"] = _listed(lacking)
    width = max(map(len, lines))
    return [printable(f"{key.ljust(width)}  {value}") for key, value in lines.items()]


def _listed(texts: Iterable[str]) -> str:
    """How many there are, and the first of them."""
    found = list(texts)
    return f"{len(found)}: {_few(found)}" if found else "none"


def _few(texts: list[str]) -> str:
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")


def _range(numbers: pd.Series) -> str:
    low, high = int(numbers.min()), int(numbers.max())
    return f"{low} to {high}" if low < high else str(low)

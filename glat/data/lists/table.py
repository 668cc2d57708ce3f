"""Tables of labels that people have for a folder of recordings: one row a file, or several.

Any CSV that `rows.Rows` reads, in one of these forms: a column with one label or several, between them a separator; a row for
each label of a file; or a column for each class, with 0 or 1 in it ("one-hot"). Columns that say a split, a recording, a
start and an end are optional. All are found by their usual names, or named by `Columns`. A table of a file and a label alone
needs no header.

A name that Unicode can write in two ways is one: text is composed (NFC).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ...lib.errors import GlatError
from ...lib.escaping import NAME
from .folders import composed
from .labels import literal
from .rows import Column, Rows, plain

FILE = ("file", "filename", "file_name", "fname", "name", "path", "filepath", "file_path", "audio", "audio_name", "clip",
        "clip_id", "id", "wav", "recording_file")  # fmt: skip
LABEL = ("labels", "label", "class", "classes", "class_name", "category", "categories", "tag", "tags", "event_label",
         "event_labels", "sound", "species")  # fmt: skip
SPLIT = ("split", "subset", "set", "fold", "partition")
GROUP = ("group", "recording", "recording_id", "source", "source_id", "src_file", "session", "speaker", "location")
START = ("start", "start_seconds", "start_time", "start_time_seconds", "onset", "begin")
END = ("end", "end_seconds", "end_time", "end_time_seconds", "offset")
FEW = 0.2  # share of the rows that may be odd where a column is still meant as 0 and 1
TRUE, FALSE = ("1", "1.0", "true", "yes", "x"), ("0", "0.0", "false", "no", "")


class Columns(NamedTuple):
    """The columns of a table by what they hold; None: by their usual names, where there are such; "": none, whatever their
    names. label: several are one-hot. separator: between the labels of one field; None: as `guess_separator` finds it, "":
    one label a field."""

    file: str | None = None
    label: str | list[str] | None = None
    separator: str | None = None
    split: str | None = None
    group: str | None = None
    start: str | None = None
    end: str | None = None


class Table(NamedTuple):
    """A table as it was read. rows: file (as written), labels (tuple, sorted), split, group ("" where there is none), start,
    end (seconds, NaN for the whole file), line. columns: the columns that were found; unread: the others. merged: rows that
    only had further labels of a file."""

    path: str
    rows: pd.DataFrame
    columns: Columns
    unread: list[str]
    merged: int


def read_table(path: str | Path, columns: Columns = Columns()) -> Table:  # noqa: B008 - it can't change
    """Read a table of labels.

    Raises:
        GlatError: what `Rows` refuses, a column that is not there or is there twice, no column with labels, a time or a split
            that is none, or one file with two splits or recordings; by name and line.
    """
    given = [columns.file, columns.label if isinstance(columns.label, str) else None]
    file, label = (
        Column(name, optional=optional) if name else Column(usual[0], usual[1:], optional=optional, first=True)
        for name, usual, optional in zip(given, (FILE, LABEL), (False, not isinstance(columns.label, str)), strict=True)
    )
    reader = Rows(path, [file, label], "a table of labels")
    header = [composed(name.strip()) for name in reader.header]
    if reader.bare > len(header):
        raise GlatError(
            f"{path}: line {reader.above + 1}: {reader.bare} columns without names; give them a header, as file,label,split"
        )
    at = {"file": reader.place[0], "label": reader.place[1]}
    for key, usual in (("split", SPLIT), ("group", GROUP), ("start", START), ("end", END)):
        at[key] = _place(reader, header, getattr(columns, key), usual, [*at.values()])
    lines = [(line, [composed(field) for field in fields]) for line, fields in reader]
    if not lines:
        raise GlatError(f"{path}: holds no row; a table of labels has a file and its labels in each")
    if (at["start"] < 0) != (at["end"] < 0):
        _check_half(reader, header, lines, at, columns)
        at["start"] = at["end"] = -1
    if columns.group is None and at["group"] >= 0 and len({fields[at["group"]] for _, fields in lines}) < 2:
        at["group"] = -1  # one value for all says nothing of recordings
    one_hot = _one_hot(reader, header, lines, at, columns.label)
    used = {*one_hot, *at.values()} - {-1}
    if twice := [header[i] for i in sorted(used) if list(map(plain, header)).count(plain(header[i])) > 1]:
        raise GlatError(f"{path}: has two columns {twice[0]!r}; rename or remove one of them")
    texts = [fields[at["label"]].strip() for _, fields in lines] if not one_hot else []
    separator = (guess_separator(texts) if columns.separator is None else columns.separator) if texts else ""
    rows: dict[tuple[str, float, float], dict[str, Any]] = {}
    splits: dict[str, str] = {}
    for number, (line, fields) in enumerate(lines):
        name = fields[at["file"]].strip()
        if not name:
            raise reader.fault(line, f"a file in column {header[at['file']]!r}", ",".join(fields))
        labels = _hot(reader, line, fields, header, one_hot) if one_hot else split_labels(texts[number], separator)
        start, end = _times(reader, line, fields, header, at)
        split, group = (fields[at[key]].strip() if at[key] >= 0 else "" for key in ("split", "group"))
        if at["split"] >= 0:
            text, split = split, _split_name(reader, line, split, header[at["split"]])
            if (other := splits.setdefault(split, text)) != text:
                raise GlatError(
                    f"{path}: line {line}: splits {other!r} and {text!r} would both be called {split}; rename one"
                )
        row = {"file": name, "split": split, "group": group, "start": start, "end": end, "line": line}
        place = (name, -1.0, -1.0) if math.isnan(start) else (name, start, end)
        before = rows.setdefault(place, row | {"labels": set()})
        for column in ("split", "group"):
            if before[column] != row[column]:
                what = f"{name!r} has the {column} {row[column]!r}, but {before[column]!r} in line {before['line']}"
                raise GlatError(f"{path}: line {line}: {what}; give it one")
        before["labels"].update(labels)
    table = pd.DataFrame([row | {"labels": tuple(sorted(row["labels"]))} for row in rows.values()])
    names: dict[str, Any] = {key: header[place] for key, place in at.items() if place >= 0}
    names |= {"label": [header[place] for place in one_hot]} if one_hot else {"separator": separator}
    unread = [name for i, name in enumerate(header) if i not in used and name]
    return Table(str(path), table, Columns(**names), unread, len(lines) - len(rows))


def class_ids(names: list[str]) -> list[str]:
    """Ids for names, all different and none the name of another: letters and digits of any alphabet, `_` for whatever else.

    >>> class_ids(["dog bark", "dog-bark", "glass, breaking"]), class_ids(["-1", "1"])
    (['dog_bark', 'dog_bark_2', 'glass_breaking'], ['1_2', '1'])
    """
    found: list[str] = []
    for name in names:
        base = re.sub(r"\W+", "_", name).strip("_") or "class"
        number, one = 1, base
        while one in found or (one in names and one != name):
            number += 1
            one = f"{base}_{number}"
        found.append(one)
    return found


def guess_separator(texts: Iterable[str]) -> str:
    """What stands between the labels of a field: a semicolon or a bar where there is one; a comma where the fields, split by
    it, hold no more different labels than before; else "", so that each field is one label.

    >>> guess_separator(["engine;siren", "glass, breaking;siren"]), guess_separator(["dog, cat", "dog", "cat"])
    (';', ',')
    >>> guess_separator(["glass, breaking", "siren"])
    ''
    """
    wholes = {text for text in texts if text}
    for separator in (";", "|"):
        if any(separator in text for text in wholes):
            return separator
    if not any("," in text for text in wholes) or all(text[0] in "[(" for text in wholes):
        return ""
    return "," if len({part for text in wholes for part in split_labels(text, ",")}) <= len(wholes) else ""


def split_labels(text: str, separator: str) -> tuple[str, ...]:
    """The labels of a field; none of an empty one. A list as Python writes it needs no separator.

    >>> split_labels("engine; siren;", ";"), split_labels("['glass, breaking']", "")
    (('engine', 'siren'), ('glass, breaking',))
    """
    parts = text.split(separator) if separator else literal(text) if text else ()
    return tuple(part.strip() for part in parts if part.strip())


def _place(reader: Rows, header: list[str], name: str | None, usual: tuple[str, ...], taken: list[int]) -> int:
    """Where a column is; -1 where there is none."""
    if name == "":
        return -1
    if name is not None:
        if plain(name) not in (names := [plain(one) for one in header]):
            raise GlatError(f"{reader.named}: has no column {name!r}; its columns are {', '.join(map(repr, header))}")
        return names.index(plain(name))
    found = [i for i, one in enumerate(header) if plain(one) in usual and i not in taken]
    return min(found, key=lambda i: usual.index(plain(header[i])), default=-1)


def _one_hot(
    reader: Rows,
    header: list[str],
    lines: list[tuple[int, list[str]]],
    at: dict[str, int],
    label: str | list[str] | None,
) -> list[int]:
    """Where the columns of classes are; none where one column holds the labels."""
    if isinstance(label, list):
        return [_place(reader, header, name, (), []) for name in label]
    if at["label"] >= 0:
        return []
    others = [i for i in range(len(header)) if i not in at.values()]
    hot = []
    for i in others:
        texts = [fields[i].strip().lower() for _, fields in lines]
        odd = [number for number, text in enumerate(texts) if text not in (*TRUE, *FALSE)]
        if not odd and header[i]:
            hot.append(i)
        elif header[i] and len(odd) < FEW * len(texts) and any(text in TRUE for text in texts):
            line, fields = lines[odd[0]]
            expected = (
                f"0 or 1 in column {header[i]!r}, as in most rows (or name the classes' columns, each with --label)"
            )
            raise reader.fault(line, expected, fields[i])
    if not hot:
        names = ", ".join(map(repr, header))
        raise GlatError(
            f"{reader.named}: none of its columns, {names}, holds labels, by its name or as 0 and 1; name the column "
            "(source.label; --label)"
        )
    return hot


def _check_half(
    reader: Rows, header: list[str], lines: list[tuple[int, list[str]]], at: dict[str, int], columns: Columns
) -> None:
    """Refuse a start without an end, or the reverse, unless it can be of another kind: it was not asked for, and without it no
    two rows become one."""
    here, lacks = ("start", "end") if at["start"] >= 0 else ("end", "start")
    named = f"{reader.named}: column {header[at[here]]!r} says when clips {here}, and none when they {lacks}"
    if getattr(columns, here):
        raise GlatError(f"{named}; name that column, too (source.{lacks}; --{lacks})")
    times: dict[str, str] = {}
    for line, fields in lines:
        if times.setdefault(fields[at["file"]], fields[at[here]]) != fields[at[here]]:
            raise GlatError(
                f"{named}; line {line}: {fields[at['file']]!r} has several: name the other column (source.{lacks}; --{lacks}), "
                f'or say that this one is no time (source.{here}: ""; --{here} "")'
            )


def _hot(reader: Rows, line: int, fields: list[str], header: list[str], places: list[int]) -> tuple[str, ...]:
    for place in places:
        if fields[place].strip().lower() not in (*TRUE, *FALSE):
            raise reader.fault(line, f"0 or 1 in column {header[place]!r}", fields[place])
    return tuple(header[place] for place in places if fields[place].strip().lower() in TRUE)


def _times(reader: Rows, line: int, fields: list[str], header: list[str], at: dict[str, int]) -> tuple[float, float]:
    texts = [fields[at[key]].strip() for key in ("start", "end") if at[key] >= 0]
    if not any(texts):
        return math.nan, math.nan
    try:
        start, end = map(float, texts)
    except ValueError:
        start = end = math.nan
    if not 0 <= start < end < math.inf:
        names = f"0 <= {header[at['start']]} < {header[at['end']]} in seconds"
        raise reader.fault(line, names, ",".join(texts))
    return start, end


def _split_name(reader: Rows, line: int, text: str, column: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-")
    if name and name[0].isdecimal():
        name = f"{plain(column)}{name}"  # a fold is fold1, not 1
    if not NAME.fullmatch(name):
        raise reader.fault(line, f"a split in column {column!r}, with letters from a to z or digits in it", text)
    return name

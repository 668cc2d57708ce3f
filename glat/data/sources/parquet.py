"""The Hugging Face copies of AudioSet: Parquet files with `video_id`, `audio` {bytes, path}, `labels` (ids of classes)
or `human_labels` (their names), in folders `bal_train`, `unbal_train` and `eval`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ...lib.errors import GlatError, brief
from ..audio.clips import AudioError
from ..kinds import Kind
from . import containers

ROWS = 16  # taken of a row group at once
_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)


class Parquet(containers.Container):
    endings: ClassVar[tuple[str, ...]] = (".parquet",)
    folders: ClassVar[dict[str, str]] = {"balanced_train": "bal_train", "unbalanced_train": "unbal_train"}

    def names(self, path: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        with _open(path) as file:
            for group in range(file.num_row_groups):
                for row, name in enumerate(_column(file, path, group, "video_id")):
                    yield name or "", (group, row)

    def labels(self, path: str, parts: list[tuple[int, ...]], classes: pd.DataFrame) -> np.ndarray | None:
        index = {name: i for column in ("display_name", "mid") for i, name in enumerate(classes[column])}
        found = np.zeros((len(parts), len(classes) + 1), bool)
        with _open(path) as file:
            column = next((name for name in ("labels", "human_labels") if name in file.schema_arrow.names), None)
            if column is None:
                return None
            at = 0
            for group, rows in groupby(parts, lambda part: part[0]):
                everything = _column(file, path, group, column)
                for _, row in rows:
                    found[at, [index.get(label, len(classes)) for label in everything[row] or ()]] = True
                    at += 1
        return found

    def read(self, listing: pd.DataFrame, folder: Path, seconds: float = math.inf) -> Iterator[bytes | AudioError]:
        """The audio files of the rows of `fetch`'s table, in its order: of one row group at a time, only the bytes."""
        rows = listing[["file", "part"]].itertuples(index=False)
        places = [(path, *map(int, part.split(":"))) for path, part in rows]
        for path, in_file in groupby(places, lambda place: place[0]):
            with _open(path) as file:
                for group, in_group in groupby(in_file, lambda place: place[1]):
                    yield from _group(file, group, [row for _, _, row in in_group])


def _open(path: str) -> pq.ParquetFile:
    """A Parquet file with audio, its columns checked. Raises GlatError if it is none."""
    try:
        # Read as it is asked for: pre-buffering would hold a whole row group's bytes beside what is decoded of them.
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20)
    except FileNotFoundError:
        raise GlatError(
            f"{path}: no such file; put it back, or set datasets.*.source.audio and download again"
        ) from None
    except (OSError, pa.ArrowException) as error:
        raise GlatError(f"{path}: not a whole Parquet file ({brief(error)}); fetch it again") from None
    try:
        _check_columns(path, {field.name: field.type for field in file.schema_arrow})
    except GlatError:
        file.close()
        raise
    return file


def _check_columns(path: str, columns: dict[str, pa.DataType]) -> None:
    """Raises GlatError for a file without the columns, or with others of their names: text in place of bytes would be the
    names of files."""
    kind = columns.get("audio")
    if "video_id" not in columns or kind is None or not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        raise GlatError(
            f"{path}: has the columns {', '.join(columns)}; needed are video_id and audio with bytes in it; set "
            "datasets.*.source.audio to files that have them"
        )
    parts = {
        "video_id": (columns["video_id"], _TEXT, "text"),
        "audio.bytes": (kind.field("bytes").type, _BYTES, "binary"),
    }
    for name in ("labels", "human_labels"):
        if name in columns:
            each = columns[name].value_type if _is(columns[name], _LISTS) else None
            parts[name] = (each, _TEXT, "lists of text")
    for name, (found, allowed, needed) in parts.items():
        if not _is(found, allowed):
            raise GlatError(
                f"{path}: {name} is {columns.get(name, found)}, and {needed} is needed; set datasets.*.source.audio to files "
                "that have it"
            )


def _is(kind: pa.DataType | None, allowed: tuple[Callable[[pa.DataType], bool], ...]) -> bool:
    while kind is not None and pa.types.is_dictionary(kind):
        kind = kind.value_type
    return kind is not None and any(is_one(kind) for is_one in allowed)


def _column(file: pq.ParquetFile, path: str, group: int, name: str) -> list[Any]:
    try:
        return file.read_row_group(group, columns=[name])[name].to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise GlatError(
            f"{path}: {name} of row group {group} cannot be read ({brief(error)}); fetch it again"
        ) from None


def _group(file: pq.ParquetFile, group: int, rows: list[int]) -> Iterator[bytes | AudioError]:
    """The bytes of some rows, ascending, of a row group."""
    given, begin = 0, 0
    try:
        batches = file.iter_batches(ROWS, row_groups=[group], columns=["audio.bytes"], use_threads=False)
        for batch in batches:
            column = batch["audio"].field("bytes")
            while given < len(rows) and rows[given] < begin + len(batch):
                content = column[rows[given] - begin].as_py()
                given += 1
                yield AudioError(Kind.MISSING, "the row has no bytes") if content is None else content
            if given == len(rows):
                return
            begin += len(batch)
        reason = "the row is not there"
    except (OSError, pa.ArrowException) as error:
        reason = f"row group {group}: {brief(error)}"
    yield from (AudioError(Kind.UNREADABLE, reason) for _ in rows[given:])

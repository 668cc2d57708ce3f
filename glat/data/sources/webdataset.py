"""WebDataset: tars of samples, each an audio file and a JSON file of the same name, as `x.wav` and `x.json`.

A clip is found by the name of its file in the tar, or by the id that its JSON gives it. The copy of AudioSet at 16 kHz on
Hugging Face, `confit/audioset-16khz-wds`, has both: files called `sample-000000000.wav`, and a JSON with `id` and `label`.
Labels are compared where the JSON has them as ids or names of classes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np
import pandas as pd

from ...lib.errors import GlatError, brief
from ...lib.files import whole
from ..audio.clips import AudioError
from ..audio.formats import extension
from ..kinds import Kind
from ..shards import progress
from . import Shard, containers, tars

IDS = ("id", "video_id", "youtube_id")  # what a sample's JSON calls its clip
LABELS = ("labels", "label", "human_labels")  # and its classes
LARGEST = 2**30  # bytes of one sound, which is read into memory
LONGEST = 2**20  # bytes of a JSON
INDEX = "tars"  # folder of the indexes in the store


class Sample(NamedTuple):
    """An audio file in a tar: its name, the id that its JSON gives it or "", and where the bytes of both are."""

    name: str
    id: str
    offset: int
    size: int
    json_offset: int
    json_size: int


class WebDataset(containers.Container):
    endings: ClassVar[tuple[str, ...]] = (".tar",)
    folders: ClassVar[dict[str, str]] = {"balanced_train": "train", "unbalanced_train": "train", "eval": "test"}

    def names(self, path: str, store: Path | None = None) -> Iterator[tuple[str, tuple[int, ...]]]:
        """store: a folder for an index of each tar, so that its headers are read for the first shard alone."""
        for sample in _samples(path) if store is None else _indexed(path, store):
            part = sample[2:]
            if sample.id:
                yield sample.id, part
            yield sample.name, part

    def labels(self, path: str, parts: list[tuple[int, ...]], classes: pd.DataFrame) -> np.ndarray | None:
        index = {name: i for column in ("display_name", "mid") for i, name in enumerate(classes[column])}
        found = np.zeros((len(parts), len(classes) + 1), bool)
        with _open(path) as file:
            for row, (_, _, offset, size) in zip(found, parts, strict=True):
                labels = _labels(_json(file, path, offset, size) if size else {})
                if labels is None:
                    return None
                row[[index.get(label, len(classes)) for label in labels]] = True
        # Where no label is any of the list's, they are of another vocabulary, and nothing can be compared.
        return found if found[:, :-1].any() else None

    def fetch(self, shard: Shard) -> pd.DataFrame:
        assert shard.classes is not None
        paths = containers.find_files(shard, self, self.folders, self.endings)
        store = shard.store / INDEX if shard.store.name else None
        if store is not None:
            for path in progress(paths, f"headers of tars, {shard.split}"):
                _indexed(path, store)
        names, labels = partial(self.names, store=store), partial(self.labels, classes=shard.classes)
        return containers.listing(shard, paths, names, labels)

    def read(self, listing: pd.DataFrame, folder: Path, seconds: float = math.inf) -> Iterator[bytes | AudioError]:
        """The audio files of the rows of `fetch`'s table, in its order: from their places in the tars."""
        for path, rows in groupby(zip(listing["file"], listing["part"], strict=True), lambda row: row[0]):
            with _open(path) as file:
                for _, part in rows:
                    offset, size = map(int, part.split(":")[:2])
                    yield _sound(file, offset, size)


def _open(path: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise GlatError(
            f"{path}: cannot be opened ({error.strerror}); put it back, or fetch it again and download again"
        ) from None


def _sound(file: BinaryIO, offset: int, size: int) -> bytes | AudioError:
    if size > LARGEST:
        return AudioError(Kind.TOO_BIG, f"{size} bytes in a tar, of which {LARGEST} are read")
    try:
        file.seek(offset)
        content = file.read(size)
    except OSError as error:
        return AudioError(Kind.UNREADABLE, error.strerror or brief(error))
    return content if len(content) == size else AudioError(Kind.TRUNCATED, f"{len(content)} of {size} bytes are there")


def _indexed(path: str, store: Path) -> list[Sample]:
    """The samples of a tar, by an index in `store` of that file as it is now."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise GlatError(f"{path}: cannot be read ({error.strerror}); put it back, or fetch it again") from None
    known = f"{os.path.abspath(path)} {status.st_size} {status.st_mtime_ns}"
    index = store / f"{hashlib.sha256(known.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.json"
    try:
        return [Sample(*row) for row in json.loads(index.read_text())]
    except (OSError, ValueError, TypeError):  # none yet, or damaged
        pass
    samples = list(_samples(path))
    with whole(index) as part:
        part.write_text(json.dumps(samples))
    return samples


def _samples(path: str) -> Iterator[Sample]:
    """The audio files of a tar, and nothing else in it but the JSON of each.

    Raises GlatError: what `tars.members` raises, or a JSON that is none.
    """
    sounds, notes = [], {}
    for member in tars.members(path):
        if end := extension(member.name):
            sounds.append((member.name[: -len(end)], member))
        elif member.name.lower().endswith(".json"):
            notes[member.name[:-5]] = member
    with _open(path) as file:
        for name, sound in sounds:
            note = notes.get(name)
            offset, size = (note.offset, note.size) if note else (0, 0)
            content = _json(file, path, offset, size) if note else {}
            given = next((content[key] for key in IDS if isinstance(content.get(key), str)), "")
            yield Sample(sound.name, given, sound.offset, sound.size, offset, size)


def _json(file: BinaryIO, path: str, offset: int, size: int) -> dict[str, Any]:
    """The object in a sample's JSON; empty for any other value. Raises GlatError where it is none."""
    try:
        if size > LONGEST:
            raise ValueError(f"{size} bytes long")
        file.seek(offset)
        content = json.loads(file.read(size))
    except (OSError, ValueError, RecursionError) as error:
        raise GlatError(f"{path}: the JSON at byte {offset} cannot be read ({brief(error)}); {tars.AGAIN}") from None
    return content if isinstance(content, dict) else {}


def _labels(content: dict[str, Any]) -> list[str] | None:
    """The labels in a sample's JSON, ids or names of classes; None if it has none as text."""
    for key in LABELS:
        given = content.get(key)
        labels = [given] if isinstance(given, str) else given
        if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
            return labels
    return None

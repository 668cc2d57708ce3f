"""What the sources have in common whose audio lies in files of many clips: which files, which rows, whose labels."""

from __future__ import annotations

import glob
import os
import re
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BeforeValidator, Field

from ...lib.errors import GlatError, warn
from ..audio.formats import extension
from ..kinds import Kind, Loss
from ..lists import audioset
from ..lists.matching import SplitFolders, Wanted, stem, walk
from . import Shard, Source

ALLOWED = 0.05  # share of clips whose labels may differ from the segment list's: lists have been revised
ENOUGH = 100  # clips of one file from which on its own share counts


class Row(NamedTuple):
    """Where a clip is: a file's number among the files, its part (`<row>`, `<row group>:<row>`, or places of bytes)."""

    file: int
    part: tuple[int, ...]


def _places(audio: Any) -> list[str]:
    places = audio if isinstance(audio, list) else [audio]
    if not places or not all(isinstance(place, str) and place for place in places):
        raise ValueError(f"{audio!r} is not a folder, a file, a pattern of files, or a list of them")
    return places


class Container(Source):
    """A source of files with many clips each. audio: a file, a pattern (`*`, `**`, `{split}`), a folder with all
    below it, or a list of these. split_folders: what the splits' folders are called."""

    audio: Annotated[list[str], BeforeValidator(_places)]
    split_folders: SplitFolders = Field(default_factory=dict)
    endings: ClassVar[tuple[str, ...]]  # of its files' names
    folders: ClassVar[dict[str, str]] = {}  # what splits' folders are called where the user does not say

    @abstractmethod
    def names(self, path: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The name of each row of a file, and its part; nothing of a file that has no audio. Of a row with two names, one
        follows the other."""

    @abstractmethod
    def labels(self, path: str, parts: list[tuple[int, ...]], classes: pd.DataFrame) -> np.ndarray | None:
        """Labels of some parts of a file, ascending: (parts, classes) bool, or None if it has none. A last column more
        is for any label that the class list lacks."""

    def fetch(self, shard: Shard) -> pd.DataFrame:
        """Find the row of each segment in the files that `audio` names.

        Returns a table clip, file (absolute path), part (numbers with a colon between them), kind and reason ("no row",
        "ambiguous: ..."), note ("labels differ").

        Raises:
            GlatError: no file, a damaged one or one of another kind, no clip of the shard, or labels that differ.
        """
        assert shard.classes is not None
        paths = find_files(shard, self, self.folders, self.endings)
        return listing(shard, paths, self.names, partial(self.labels, classes=shard.classes))


def find_files(shard: Shard, settings: Container, usual: dict[str, str], endings: tuple[str, ...]) -> list[str]:
    """Absolute paths of the files that `settings.audio` names. Of a folder that has a folder for the split, only what is
    in that.

    usual: what splits' folders are called where the user does not say. Files with the split's name in their path come
    first.

    Raises:
        GlatError: a place where there is no such file.
    """
    split = shard.split
    own = settings.split_folders.get(split, usual.get(split, split))
    found: list[str] = []
    unreadable: list[str] = []
    for text in settings.audio:
        place = os.path.abspath(text.replace("{split}", own))
        if os.path.isdir(place):
            if os.path.isdir(os.path.join(place, own)):
                place = os.path.join(place, own)
            elif split in settings.split_folders:
                raise GlatError(f"{place}: has no folder {own!r}; set datasets.*.source.split_folders.{split}")
            paths = [
                f"{place}/{below}{name}" for below, name in walk(place, unreadable) if name.lower().endswith(endings)
            ]
            unreadable += [f"{path} (not a file)" for path in paths if not os.path.isfile(path)]
            paths = [path for path in paths if os.path.isfile(path)]
        elif os.path.isfile(place):
            paths = [place]
        else:
            paths = [path for path in glob.glob(place, recursive=True) if os.path.isfile(path)]
        if not paths:
            raise GlatError(f"{place}: no file ({', '.join(endings)}) there; set datasets.*.source.audio")
        found += paths
    for path in unreadable:
        warn(f"left out: {path}")
    # Whole words: `balanced_train` is not in `unbalanced_train`.
    names_split = re.compile(rf"(?<![a-z]){re.escape(own)}(?![a-z])").search
    return sorted(dict.fromkeys(found), key=lambda path: (not names_split(path), path))


def listing(
    shard: Shard,
    paths: list[str],
    names_of: Callable[[str], Iterator[tuple[str, tuple[int, ...]]]],
    labels_of: Callable[[str, list[tuple[int, ...]]], np.ndarray | None],
) -> pd.DataFrame:
    """The table that a `fetch` returns, in the order of files and rows, the lost clips behind.

    names_of, labels_of: see `Container`.

    Raises:
        GlatError: no file with audio, no clip of the shard in any, or labels that differ from the list's.
    """
    segments, classes = shard.segments, shard.classes
    wanted, seen, example = Wanted(segments, shard.whole), 0, ""
    for number, path in enumerate(paths):
        before = None
        for name, part in names_of(path):
            seen, example, before = seen + (part != before), example or name, part  # a row may have two names
            for named in wanted.read(stem(name)):
                wanted.offer(named, (number, part), Row(number, part), name, name.rpartition("/")[0], extension(name))
    if not wanted.candidates:
        place = f"{paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}"
        if not seen:
            raise GlatError(f"{place}: no clips of this kind in it; set datasets.*.source.audio or source.kind")
        raise GlatError(
            f"{place}: none of the {seen} rows there is of "
            f"the {len(segments)} segments asked for (from {segments['clip'].iloc[0]} on; a row there is {example!r}); "
            "set datasets.*.source.audio to the files of this split"
        )
    found, lost = [], []
    for row, clip in enumerate(segments["clip"]):
        best = wanted.choose(row, Kind.NO_ROW)
        if isinstance(best, Loss):
            lost.append((clip, "", "", *best, ""))
        else:
            found.append((best.place, row))
    found.sort()
    differs = _differing(found, segments, classes, paths, labels_of)
    table = [
        (
            segments["clip"].iloc[row],
            paths[place.file],
            ":".join(map(str, place.part)),
            "",
            "",
            "labels differ" * differ,
        )
        for (place, row), differ in zip(found, differs, strict=True)
    ]
    return pd.DataFrame(table + lost, columns=["clip", "file", "part", "kind", "reason", "note"])


def _differing(
    found: list[tuple[Row, int]],
    segments: pd.DataFrame,
    classes: pd.DataFrame,
    paths: list[str],
    labels_of: Callable[[str, list[tuple[int, ...]]], np.ndarray | None],
) -> list[bool]:
    """Of each clip found, whether its file gives it other labels than the segment list."""
    differs: list[bool] = []
    compared: dict[int, tuple[list[bool], str]] = {}
    for number, items in groupby(found, lambda item: item[0].file):
        group = list(items)
        theirs = labels_of(paths[number], [place.part for place, _ in group])
        if theirs is None:
            differs += [False] * len(group)
            continue
        chosen = segments.iloc[[row for _, row in group]]
        ours = audioset.targets(chosen, classes)
        ours = np.pad(ours, ((0, 0), (0, theirs.shape[1] - len(classes))))
        here = (theirs != ours).any(axis=1).tolist()
        differs += here
        example = ""
        if any(here):
            at = here.index(True)
            example = (
                f"{chosen['clip'].iloc[at]}, which has {_names(theirs[at], classes)} there and "
                f"{_names(ours[at], classes)} in the list"
            )
        compared[number] = here, example
    _refuse_others_labels(compared, paths)
    return differs


def _names(row: np.ndarray, classes: pd.DataFrame) -> str:
    known = [*map(repr, classes["display_name"]), "a label that is not in the class list"]
    names = [known[i] for i in np.flatnonzero(row)]
    return " and ".join(names[:3]) + (" and more" if len(names) > 3 else "") or "no label"


def _refuse_others_labels(compared: dict[int, tuple[list[bool], str]], paths: list[str]) -> None:
    counts: defaultdict[int | str, list[int]] = defaultdict(lambda: [0, 0])
    for number, (here, _) in compared.items():
        for group in (number, "all"):
            counts[group][0] += sum(here)
            counts[group][1] += len(here)
    for which, (differ, of) in counts.items():
        if differ > ALLOWED * of and (which == "all" or of >= ENOUGH):
            worst = which if isinstance(which, int) else max(compared, key=lambda n: sum(compared[n][0]))
            where = "in it" if counts[worst][1] == of else "in it and other files"
            raise GlatError(
                f"{paths[worst]}: labels of {differ} of the {of} clips found {where} differ from the segment list's, "
                f"first of {compared[worst][1]}; its rows or classes are in another order: fetch or make it anew, or use the "
                "lists that it was made from"
            )

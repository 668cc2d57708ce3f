"""Which segments of a shard a name means, be it a file's or a row's in a container, and the walk that finds the files.

Names are `<id>`, `Y<id>`, `<id>_<start>` or `<id>_<start>_<end>`, the times in seconds or in milliseconds. Without a
time, a name means the only segment that the list has of its id; where the list has several, it may be a recording that
all of them are cut from. An id of the list may be written as a path: its folder and its suffix then count too.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Collection, Iterator
from typing import Annotated, Any, NamedTuple

import pandas as pd
from pydantic import BeforeValidator

from ...errors import GlatError
from ..formats import SUFFIXES, extension

SECONDS, MILLISECONDS = 1, 1000  # units of the times in a name
_NUMBER = re.compile(r"\d+(?:\.\d+)?")

BOTH, START, UNTIMED, SEVERAL, OTHER = range(5)  # how well a name fits a segment: the lower the better


class Named(NamedTuple):
    """What a name says: the id, no time, the start, or start and end, and the units that the times may have."""

    youtube_id: str
    times: tuple[float, ...]
    units: tuple[int, ...]


class Candidate(NamedTuple):
    """A name that may mean a segment: how well it fits, what to prefer among equals, where it is, the name itself."""

    fit: int
    preference: tuple
    place: Any
    name: str


class Wanted:
    """The segments of a shard, and the candidates for each that were found so far.

    segments: rows of `audioset.read_segments`; repeated: ids of which the split's whole list has several segments.
    """

    def __init__(self, segments: pd.DataFrame, repeated: Collection[str] = ()):
        self.ids = list(segments["youtube_id"])
        self.starts, self.ends = list(segments["start"]), list(segments["end"])
        self.rows: dict[str, list[int]] = {}
        for row, youtube_id in enumerate(self.ids):
            self.rows.setdefault(youtube_id, []).append(row)
        self.repeated = {i for i in repeated if i in self.rows} | {i for i, rows in self.rows.items() if len(rows) > 1}
        # An id may be written as a file's path: `dog/a.wav` is found as `a`, in a folder `dog`.
        self._paths = {i: (i.rpartition("/")[0], i[len(i.removesuffix(extension(i))) :].lower()) for i in self.rows}
        self._paths = {i: path for i, path in self._paths.items() if any(path)}
        for youtube_id in self._paths:
            if (short := stem(youtube_id)) and short != youtube_id:
                self.rows.setdefault(short, []).extend(self.rows[youtube_id])
        self.candidates: dict[int, list[Candidate]] = {}

    def read(self, stem: str) -> list[Named]:
        """What a name without its extension may say of a wanted id: none, for most names; two, for an odd one."""
        meanings = []
        for name in (stem, stem[1:]) if stem[:1] == "Y" else (stem,):
            if name in self.rows:
                meanings.append(Named(name, (), ()))
            head, _, last = name.rpartition("_")
            if not head or not _NUMBER.fullmatch(last):
                continue
            if head in self.rows:
                meanings.append(Named(head, (float(last),), (SECONDS, MILLISECONDS)))
            head, _, first = head.rpartition("_")
            if head in self.rows and _NUMBER.fullmatch(first):
                meanings.append(Named(head, (float(first), float(last)), (SECONDS, MILLISECONDS)))
        return meanings

    def offer(self, named: Named, preference: tuple, place: Any, name: str, below: str = "", suffix: str = "") -> None:
        """Note a place for the segments that are meant, if any. name: as a reason may tell it; below, suffix: the folder
        and the suffix of a file, for ids that have them."""
        youtube_id, times, units = named
        rows = self.rows.get(youtube_id, ())
        if self._paths and rows:
            rows = self._of_path(rows, f"/{below}", suffix.lower())
        fits = [self._fit(row, times, units) for row in rows]
        best = min(fits, default=OTHER)
        for row, fit in zip(rows, fits):
            if best < UNTIMED and fit == best and fits.count(best) > 1:
                fit = SEVERAL
            elif best < UNTIMED and fit != best:
                continue
            self.candidates.setdefault(row, []).append(Candidate(fit, preference, place, name))

    def _of_path(self, rows: list[int], below: str, suffix: str) -> list[int]:
        """Of rows that have a name in common, those whose ids have no other folder and, of several ids, the suffix."""
        paths = {row: self._paths.get(self.ids[row], ("", "")) for row in rows}
        rows = [row for row in rows if below == "/" or not paths[row][0] or below.endswith(f"/{paths[row][0]}/")]
        exact = [row for row in rows if paths[row][1] == suffix]
        return exact if len({self.ids[row] for row in rows}) > 1 and suffix else rows

    def choose(
        self, row: int, what: str, untimed: bool = False, tie: Callable[[Candidate], Any] | None = None
    ) -> tuple[Candidate | None, str]:
        """(the best candidate for a segment, ""), or (None, why there is none).

        what: "file" or "row", for the reason; untimed: a name without a time is good for any segment of its id; tie: a
        further preference, asked for only where there are several candidates.
        """
        found = self.candidates.get(row, [])
        several = self.ids[row] in self.repeated and not untimed
        good = [c for c in found if c.fit <= START or (c.fit == UNTIMED and not several)]
        if good:
            key = (lambda c: (tie(c), c.fit, c.preference)) if tie and len(good) > 1 else lambda c: c[:2]
            return min(good, key=key), ""
        if not found:
            return None, f"no {what}"
        best = min(found, key=lambda c: c[:2])
        if best.fit == OTHER:
            return None, f"no {what}: {best.name} is of another time"
        why = "has no start time" if best.fit == UNTIMED else "fits several"
        return None, f"ambiguous: the list has several segments of {self.ids[row]}, and the name {best.name} {why}"

    def _fit(self, row: int, times: tuple[float, ...], units: tuple[int, ...]) -> int:
        if not times:
            return UNTIMED
        fit = OTHER
        for unit in units:
            if _same(times[0], self.starts[row], unit):
                if len(times) > 1 and _same(times[1], self.ends[row], unit):
                    return BOTH
                # One that ends before its segment does is another clip; one after it: some names give all of them 10 s.
                if len(times) == 1 or times[1] / unit > self.ends[row]:
                    fit = START
        return fit


def _same(named: float, seconds: float, unit: int) -> bool:
    """Whether a number in a name is this time, which names may round or cut to a whole number."""
    value = seconds * unit
    return abs(named - value) < 1e-3 * unit or named in (math.floor(value), round(value))


def walk(root: str, unreadable: list[str] | None = None) -> Iterator[tuple[str, str]]:
    """Every file of a tree: (folder below `root`, with a / behind it, or ""; name). Links to folders are followed, each
    folder once; hidden folders are not looked into.

    What looks like audio and is no file (a folder, a pipe, a link in a loop) is among them: it is for its reader to say
    so. unreadable: takes the folders that cannot be read, with the reason.

    Raises GlatError if `root` itself cannot be read.
    """
    stack, seen = [""], set()
    while stack:
        below = stack.pop()
        try:
            status = os.stat(f"{root}/{below}")
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(f"{root}/{below}") as entries:
                for entry in entries:
                    folder = _is_folder(entry)
                    if folder and entry.name[0] != ".":
                        stack.append(f"{below}{entry.name}/")
                    if not folder or extension(entry.name):
                        yield below, entry.name
        except OSError as error:
            if not below:
                raise GlatError(f"{root}: cannot be read ({error.strerror}); make it readable") from None
            if unreadable is not None:
                unreadable.append(f"{below} ({error.strerror})")


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def stem(name: str) -> str:
    """A name without its folders and its extension, of which a fixed-length field may have cut the end off."""
    base = name.rpartition("/")[2]
    head, dot, extension = base.rpartition(".")
    extension = (dot + extension).lower()
    return head if dot and any(known.startswith(extension) for known in SUFFIXES) else base


def _folders(given: object) -> dict[str, str]:
    folders = {} if given is None else given
    if not (isinstance(folders, dict) and all(isinstance(name, str) and name for name in folders.values())):
        raise ValueError(f"{given!r} is not `split: name of its folder`")
    return folders


SplitFolders = Annotated[dict[str, str], BeforeValidator(_folders)]  # a source's setting

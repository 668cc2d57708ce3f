"""Which segments of a shard a name means, be it a file's or a row's in a container, and the walk that finds the files.

Names are `<id>`, `Y<id>`, `<id>_<start>` or `<id>_<start>_<end>`, the times in seconds or in milliseconds. Without a
time, a name means the only segment that the list has of its id; where the list has several, it may be a recording that
all of them are cut from. An id of the list may be written as a path: its folder and its suffix then count too. A file
fits if it lies in that folder, as far as both are known: of `audio/dog/a.wav`, `dog/a.wav` and `a.wav`, but not
`cat/a.wav`. Its suffix may be another, since it may have been converted, unless the list has an id of that suffix.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple

import pandas as pd
from pydantic import BeforeValidator

from ...lib.errors import GlatError
from ..audio.formats import SUFFIXES, extension
from ..kinds import Kind, Loss

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
    preference: tuple[Any, ...]
    place: Any
    name: str


class Wanted:
    """The segments of a shard, and the candidates for each that were found so far.

    segments: rows of `audioset.read_segments`; whole: those of the split's whole list, where they are not all.
    repeated: of ids, as they are written, of which that list has several segments, where the last ends, in seconds.
    elsewhere: of rows, a name that was found in another folder than the list's.
    """

    def __init__(self, segments: pd.DataFrame, whole: pd.DataFrame | None = None):
        whole = segments if whole is None else whole
        written = _ids_as_written(whole)
        self.repeated = whole["end"][written.duplicated(keep=False)].groupby(written).max().to_dict()
        self.ids = list(segments["youtube_id"])
        self.starts, self.ends = list(segments["start"]), list(segments["end"])
        self.rows: dict[str, list[int]] = {}
        for row, youtube_id in enumerate(self.ids):
            self.rows.setdefault(youtube_id, []).append(row)
        self.written = list(_ids_as_written(segments))
        # Of each id that the list writes as a path somewhere, all paths that it has there.
        self._paths: dict[str, dict[str, _Path]] = {}
        as_path = set(whole["youtube_id"][written != whole["youtube_id"]]) & self.rows.keys()
        if as_path:
            for youtube_id, text in set(zip(whole["youtube_id"], written, strict=True)):
                if youtube_id in as_path:
                    self._paths.setdefault(youtube_id, {})[text] = _Path.read(text)
        self.candidates: dict[int, list[Candidate]] = {}
        self.elsewhere: dict[int, str] = {}

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

    def offer(
        self, named: Named, preference: tuple[Any, ...], place: Any, name: str, below: str = "", suffix: str = ""
    ) -> None:
        """Note a place for the segments that are meant, if any. name: as a reason may tell it; below, suffix: the folder
        and the suffix of a file, for ids that have them."""
        youtube_id, times, units = named
        rows = self.rows.get(youtube_id, ())
        meant = None
        if rows and youtube_id in self._paths:
            # Paths that the list has of this name: those that the file fits best are meant, and no other.
            found = {text: path.distance(below, suffix) for text, path in self._paths[youtube_id].items()}
            nearest = min((distance for distance in found.values() if distance is not None), default=None)
            meant = [text for text, distance in found.items() if nearest is not None and distance == nearest]
            for row in rows:
                if found[self.written[row]] is None:
                    self.elsewhere.setdefault(row, name)
            rows = [row for row in rows if self.written[row] in meant]
            preference = (nearest, *preference)
        fits = [self._fit(row, times, units) for row in rows]
        best = min(fits, default=OTHER)
        for row, fit in zip(rows, fits, strict=True):
            tied = best < UNTIMED and fit == best and fits.count(best) > 1
            if tied or (meant is not None and len(meant) > 1 and fit != OTHER):
                fit = SEVERAL
            elif best < UNTIMED and fit != best:
                continue
            self.candidates.setdefault(row, []).append(Candidate(fit, preference, place, name))

    def choose(
        self, row: int, absent: Kind, untimed: bool = False, tie: Callable[[Candidate], Any] | None = None
    ) -> Candidate | Loss:
        """The best candidate for a segment, or why there is none.

        absent: the kind of loss where there is no file, or no row; untimed: a name without a time is good for any segment
        of its id; tie: a further preference, asked for only where there are several candidates.
        """
        found = self.candidates.get(row, [])
        several = self.written[row] in self.repeated and not untimed
        good = [c for c in found if c.fit <= START or (c.fit == UNTIMED and not several)]
        if good:
            key = (lambda c: (tie(c), c.fit, c.preference)) if tie and len(good) > 1 else lambda c: c[:2]
            return min(good, key=key)
        if not found and row in self.elsewhere:
            folder = "/".join(self._paths[self.ids[row]][self.written[row]].folder)
            there = f"{self.elsewhere[row]} is in another folder than {folder}, which the list names"
            return Loss.of(absent, there)
        if not found:
            return Loss.of(absent)
        best = min(found, key=lambda c: c[:2])
        if best.fit == OTHER:
            return Loss.of(absent, f"{best.name} is of another time")
        why = "has no start time" if best.fit == UNTIMED else "fits several"
        why = f"the list has several segments of {self.ids[row]}, and the name {best.name} {why}"
        return Loss.of(Kind.AMBIGUOUS, why)

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


class _Path(NamedTuple):
    """An id that the list writes as a path: the parts of its folder, and its suffix in lower case; any may be empty."""

    folder: tuple[str, ...]
    suffix: str

    @classmethod
    def read(cls, text: str) -> _Path:
        *folder, name = re.split(r"[/\\]", text)
        return cls(tuple(part for part in folder if part not in ("", ".", "..")), extension(name).lower())

    def distance(self, below: str, suffix: str) -> tuple[int, ...] | None:
        """How far a file in the folder `below` is from this, the less the better; None if it is in another folder."""
        there = [part for part in below.split("/") if part]
        common = 0
        for mine, theirs in zip(reversed(self.folder), reversed(there), strict=False):
            if mine != theirs:
                return None
            common += 1
        other = 1 if not self.suffix else 2 * (suffix.lower() != self.suffix)
        return common < len(self.folder), -common, other


def _ids_as_written(segments: pd.DataFrame) -> pd.Series:
    """The ids as the list has them."""
    return segments["written" if "written" in segments else "youtube_id"]


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


def _is_folder(entry: os.DirEntry[str]) -> bool:
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

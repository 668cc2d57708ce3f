"""The recordings that soundscapes are made from: found, heard, and shared out between splits, so that no two splits have
one in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from ....lib.cores import cores
from ....lib.errors import GlatError, warn
from ....lib.escaping import is_text
from ...audio.pieces import AudioError
from ...shards import in_order, progress
from .. import Shard
from . import lists
from .hearing import Heard, Span, listen

if TYPE_CHECKING:
    from . import Soundscapes

EVENT, BACKGROUND, BOTH = "event", "background", "both"
ENOUGH = 50  # recordings that are worth a process


class Recording(NamedTuple):
    """A recording that can be used. mids: its classes, of those that events are of; the rest as in `plan.Piece` and
    `hearing.Heard`."""

    name: str
    fold: str
    mids: tuple[str, ...]
    file: str
    part: str
    spans: tuple[Span, ...]


@dataclass
class Pool:
    """The recordings of one split. events: by class; backgrounds: none where noise is the background."""

    events: dict[str, list[Recording]]
    backgrounds: list[Recording] = field(default_factory=list)

    def add(self, recording: Recording) -> None:
        for into in [self.events[mid] for mid in recording.mids] or [self.backgrounds]:
            into.append(recording)

    def usual_seconds(self, mid: str, longest: float) -> float:
        """How long an event of a class usually is: the median of its sounds, each weighted by its share of energy."""
        spans = [span for recording in self.events[mid] for span in recording.spans]
        seconds = np.array([min(span.end - span.start, longest) for span in spans])
        order = np.argsort(seconds)
        share = np.cumsum(np.array([span.energy for span in spans])[order])
        return float(seconds[order][np.searchsorted(share, share[-1] / 2)])


class Found(NamedTuple):
    """What became of a recording with a class in use. role: `EVENT`, `BACKGROUND` or `BOTH`; reason: why it is left out."""

    recording: str
    fold: str
    role: str
    mids: tuple[str, ...]
    file: str
    part: str
    split: str
    seconds: float = 0.0
    sounds: int = 0
    reason: str = ""


class Usable(NamedTuple):
    """classes: mid and display_name of those that events are of, in order; pools: by split; found: all recordings with a
    class in use, those that are left out included."""

    classes: pd.DataFrame
    pools: dict[str, Pool]
    found: list[Found]


class Places:
    """Where what belongs to the recordings lies in the folder that soundscapes keep for all shards."""

    def __init__(self, store: Path):
        self.source = store / "recordings"  # what their own source fetches
        self.lists = store / "lists"
        self.audio = store / "audio"  # a folder for each of their splits
        self.plans = store / "plans"
        self.table = self.plans / "recordings.csv"

    def plan(self, split: str) -> Path:
        return self.plans / f"{split}.jsonl"


def find(settings: Soundscapes, splits: list[str], places: Places) -> Usable:
    """Read the lists of the recordings, listen to those of a class that is used, and share them out.

    Raises:
        GlatError: what `lists` refuses, or a class without a usable recording in a split.
    """
    folds = [(split, fold) for split in splits for fold in settings.origin[split]]
    known = lists.read(settings, [fold for _, fold in folds], places.lists, places.source)
    lists.refuse_shared(settings, splits, known)
    classes, backgrounds = lists.choose(settings, known.classes)
    found = [
        one
        for split, fold in folds
        for one in _look_up(settings, split, fold, known, set(classes["mid"]), backgrounds, places)
    ]
    pools = {split: Pool({mid: [] for mid in classes["mid"]}) for split in splits}
    found = list(_share_out(found, _hear(settings, found, places), pools))
    if lost := [one for one in found if one.reason]:
        warn(
            f"{len(lost)} of {len(found)} recordings are left out, {lost[0].recording} ({lost[0].fold}) the first: "
            f"{lost[0].reason}; all of them: {places.table}"
        )
    for split, pool in pools.items():
        place = f"datasets.*.source.from.{split}: {' and '.join(settings.origin[split])}"
        _refuse_lack(place, pool, classes, [one for one in lost if one.split == split])
        if backgrounds and not pool.backgrounds:
            raise GlatError(
                f"{place}: no recording can be used that is of a background and of no class of events; name other classes "
                "in source.backgrounds, or `noise`"
            )
    return Usable(classes, pools, found)


def _look_up(
    settings: Soundscapes,
    split: str,
    fold: str,
    known: lists.Lists,
    used: set[str],
    backgrounds: set[str],
    places: Places,
) -> Iterator[Found]:
    """Where the recordings are that have a class in use."""
    segments = known.segments[fold]
    shard = Shard(segments, places.audio / fold, fold, 0, cores(), known.classes, segments, places.source)
    try:
        listing = settings.material.fetch(shard).set_index("clip").to_dict("index")
    except GlatError as error:
        raise GlatError(f"the recordings of {fold}: {error}") from None
    for segment in segments.itertuples(index=False):
        mids = tuple(mid for mid in segment.labels if mid in used)
        under = not backgrounds.isdisjoint(segment.labels)
        if not mids and not under:
            continue
        row = listing.get(segment.clip, {"file": "", "reason": "not listed"})
        role, reason = (EVENT if mids else BACKGROUND), "" if row["file"] else row["reason"] or "no file"
        if mids and under:
            role, reason = BOTH, "of a class of events and of one of backgrounds"
        elif not is_text(row["file"]):
            reason = "the name of its file is not UTF-8; rename it"
        yield Found(segment.clip, fold, role, mids, row["file"], row.get("part", ""), split, reason=reason)


def _hear(settings: Soundscapes, found: list[Found], places: Places) -> list[Heard | str]:
    """What was heard in each of the recordings that are there, or why it cannot be used."""
    there = [one for one in found if not one.reason]

    def jobs() -> Iterator[tuple[str, Any]]:
        for fold, of_fold in groupby(there, lambda one: one.fold):
            rows = [(one.recording, one.file, one.part) for one in of_fold]
            table = pd.DataFrame(rows, columns=["clip", "file", "part"])
            yield from zip(table["clip"], settings.material.read(table, places.audio / fold), strict=True)

    workers = min(cores(), 1 + len(there) // ENOUGH)
    heard = in_order(_listen, jobs(), workers, lambda name, _: f"recording {name}")
    return list(progress(heard, "recordings: listen", len(there)))


def _listen(_name: str, source: Any) -> Heard | str:
    try:
        return listen(source)
    except AudioError as error:
        return str(error)


def _share_out(found: list[Found], heard: list[Heard | str], pools: dict[str, Pool]) -> Iterator[Found]:
    """Add each recording to the pool of its split. The same sound under another name serves the first split that has it."""
    first, sounds = dict[str, Found](), iter(heard)
    for one in found:
        if one.reason:
            yield one
            continue
        sound = next(sounds)
        if isinstance(sound, str):
            yield one._replace(reason=sound)
            continue
        other = first.setdefault(sound.digest, one)
        if other.split != one.split:
            yield one._replace(reason=f"the same sound as {other.recording} ({other.fold}), which serves {other.split}")
            continue
        pools[one.split].add(Recording(one.recording, one.fold, one.mids, one.file, one.part, sound.spans))
        yield one._replace(seconds=sound.seconds, sounds=len(sound.spans))


def _refuse_lack(place: str, pool: Pool, classes: pd.DataFrame, lost: list[Found]) -> None:
    """Raise GlatError if a class has no recording in a pool. lost: those of the split that are left out."""
    lacking = [one for one in classes.itertuples() if not pool.events[one.mid]]
    if not lacking:
        return
    of_class = [one for one in lost if lacking[0].mid in one.mids]
    why = f" ({len(of_class)} left out: {of_class[0].recording}, {of_class[0].reason})" if of_class else ""
    names = " and ".join(repr(one.display_name) for one in lacking[:3])
    more = f" and {len(lacking) - 3} more classes" if len(lacking) > 3 else ""
    raise GlatError(
        f"{place}: no recording of {names}{more} can be used{why}; name more of the recordings' splits, or leave it out of "
        "source.classes"
    )


def write_table(path: Path, found: list[Found]) -> None:
    """What became of each recording, for people to read."""
    table = pd.DataFrame(found).drop(columns=["file", "part"])
    table.assign(mids=[" ".join(one.mids) for one in found]).to_csv(path, index=False)

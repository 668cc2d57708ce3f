"""Soundscapes: isolated recordings of any other source, mixed into weakly labelled clips whose events are known.

What a clip holds is drawn from (seed, split, index) when the lists are written, since lengths of events are those of sounds
that are there; the plan of each clip is kept (`plan`). Its audio is a function of its plan, so any process can make it
alone. The mixing is that of `mini` (`mixer`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf

from ....config.types import ClipSeconds, InputPath, Name, UniqueList
from ....lib.addresses import LIMITS, Limits
from ....lib.errors import GlatError
from ....lib.files import whole
from ...lists.writing import write_classes, write_segments, write_strong
from ...shards import in_order, need_space, progress
from .. import ListedSource, Shard, Source, mixer
from ..synthetic.waves import RATE
from . import plan
from .recordings import Places, find, write_table
from .render import make

SECOND_BYTES = 1.4 * RATE  # of FLAC, at most about: noise is not much smaller than its samples of 16 bits


def _source(value: Any) -> Any:
    if not isinstance(value, Source):
        raise ValueError("give the settings of the recordings' own source, with its kind, as {kind: esc50}")
    return value


def _apart(origin: dict[str, list[str]]) -> dict[str, list[str]]:
    seen: dict[str, str] = {}
    for split, folds in origin.items():
        for fold in folds:
            if (other := seen.setdefault(fold, split)) != split:
                raise ValueError(f"{fold!r} serves both {other} and {split}; a recording has one split")
    return origin


def _group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
    if groups != 1:
        raise ValueError(
            f"{pattern!r} has {groups} pairs of parentheses; put one around the group in a recording's name"
        )
    return pattern


class Soundscapes(mixer.Mixture, ListedSource):
    """What a user may choose, beside what `mixer.Mixture` has.

    recordings: the settings of the source that they come from. metadata: the folder with their lists, if that source does
    not write them. from: which of the recordings' splits serve each split of the dataset. group: a regular expression whose
    pair of parentheses finds, in a recording's name, what it was cut from, as `^[0-9]-([0-9]+)` does for ESC-50; null: its
    file. classes: names or ids of those that events are of, the most frequent first (`skew`); null: all that are no
    background, in the order of the class list. event_seconds: of a longer sound, a piece of this length is an event.
    backgrounds: classes whose recordings lie under the events, without a label; `noise` makes coloured noise. clip_seconds:
    of the longest clips, as `audio.clip_seconds`.
    """

    material: Annotated[InstanceOf[Source], BeforeValidator(_source)] = Field(alias="recordings")
    metadata: InputPath | None = None
    origin: Annotated[
        dict[Name, Annotated[UniqueList[Name], Field(min_length=1)]], Field(min_length=1), AfterValidator(_apart)
    ] = Field(alias="from")
    group: Annotated[str, AfterValidator(_group)] | None = None
    classes: Annotated[UniqueList[str], Field(min_length=1)] | None = None
    event_seconds: Annotated[float, Field(ge=0.5, le=3600)] = 5.0
    backgrounds: Literal["noise"] | Annotated[UniqueList[str], Field(min_length=1)] = "noise"
    clip_seconds: ClipSeconds = 10.0

    @property
    def inputs(self) -> list[str]:
        inside = sorted(Path(self.metadata).glob("*.csv")) if self.metadata is not None else []
        return [*self.material.inputs, *map(str, inside)]

    @property
    def own_files(self) -> list[str]:
        return self.material.own_files

    @property
    def has_strong_labels(self) -> bool:
        return True

    def check_clips(self, seconds: float) -> None:
        if self.clip_seconds != seconds:
            raise GlatError(
                f"datasets.*.source.clip_seconds: {self.clip_seconds:g} s, but audio.clip_seconds is {seconds:g}; a network "
                "would hear a part of a clip under the labels of all of it: set both to the same"
            )

    @property
    def fetches(self) -> bool:
        return self.material.fetches

    def fetch_all(self, store: Path, limits: Limits = LIMITS, splits: Sequence[str] = ()) -> dict[str, Any]:
        """Fetch what the recordings are made from."""
        folder = Places(store).source
        folder.mkdir(parents=True, exist_ok=True)
        return self.material.fetch_all(
            folder, limits, [fold for split in splits for fold in self.origin.get(split, [])]
        )

    def write_lists(self, folder: Path, splits: dict[str, int], store: Path = Path()) -> None:
        """Draw the clips, and write the class list, weak labels (`<split>_segments.csv`) and strong labels
        (`<split>_strong.tsv`) into `folder`; into `store`, the plans, and a table of the recordings, those that are left out
        included.

        Raises:
            GlatError: splits that `from` does not name, and what `recordings.find` refuses.
        """
        self._check_splits(splits)
        places = Places(store)
        usable = find(self, list(splits), places)
        mids = usable.classes["mid"].tolist()
        write_classes(folder, usable.classes[["mid", "display_name"]].itertuples(index=False, name=None))
        with whole(places.plans) as plans:
            plans.mkdir()
            write_table(plans / places.table.name, usable.found)
            for split, count in splits.items():
                drawn = plan.draw(split, count, mids, self._ranks(usable.classes), usable.pools[split], self)
                clips = list(progress(drawn, f"{split}: draw", count))
                _write_split(folder, split, clips)
                lines = [clip.model_dump_json() for clip in clips]
                (plans / places.plan(split).name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def fetch(self, shard: Shard) -> pd.DataFrame:
        """Make the audio of a shard, as `<clip>.flac`. A file that an earlier call made from the same plan is kept.

        Returns one row a segment: clip, file (its name in the folder), kind and reason: of a recording that has gone since
        the lists were written.

        Raises:
            GlatError: no plan, one of other lists, or too little room.
        """
        places, folder, split = Places(shard.store), shard.folder, shard.split
        clips = plan.read(places.plan(split), split, shard.first, shard.segments)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{clip.clip}.flac" for clip in clips]
        to_come = sum(clip.seconds for clip, path in zip(clips, paths, strict=True) if not path.exists())
        need_space(folder, round(SECOND_BYTES * to_come))
        jobs = [
            (path, clip, (self.seed, split, index), self.snr_db, self.material, places.audio)
            for index, (path, clip) in enumerate(zip(paths, clips, strict=True), start=shard.first)
        ]
        made = in_order(make, jobs, min(shard.workers, len(jobs)), lambda path, *_: str(path))
        losses = list(progress(made, f"{split}: mix", len(jobs)))
        rows = [
            (clip.clip, path.name, "", "") if loss is None else (clip.clip, "", *loss)
            for clip, path, loss in zip(clips, paths, losses, strict=True)
        ]
        return pd.DataFrame(rows, columns=["clip", "file", "kind", "reason"])

    def _check_splits(self, splits: dict[str, int]) -> None:
        if isinstance(self.material, ListedSource) and self.metadata is not None:
            raise GlatError("datasets.*.source.metadata: the recordings' source writes their lists itself; remove it")
        if not isinstance(self.material, ListedSource) and self.metadata is None:
            raise GlatError("datasets.*.source.metadata: missing; name the folder with the recordings' lists")
        if lacking := [split for split in splits if split not in self.origin]:
            raise GlatError(
                f"datasets.*.source.from: has no {lacking[0]}; say which of the recordings' splits serve this split"
            )
        if extra := [split for split in self.origin if split not in splits]:
            raise GlatError(
                f"datasets.*.source.from: {extra[0]} is not one of datasets.*.splits, which are {', '.join(splits)}"
            )

    def _ranks(self, classes: pd.DataFrame) -> np.ndarray:
        """(classes,) from 1: by the order of `classes`, in the order of the class list."""
        if self.classes is None:
            return np.arange(1, len(classes) + 1)
        order = {name: rank for rank, name in enumerate(self.classes, 1)}
        pairs = classes[["mid", "display_name"]].itertuples(index=False)
        return np.array([order.get(mid, order.get(name, 0)) for mid, name in pairs])


def _write_split(folder: Path, split: str, clips: list[plan.Clip]) -> None:
    """The weak and the strong labels of a split."""
    numbered = ((plan.clip_id(split, index), clip) for index, clip in enumerate(clips))
    write_segments(folder, split, ((name, "0.000", f"{clip.seconds:.3f}", clip.labels) for name, clip in numbered))
    strong = (
        (clip.clip, f"{event.start:.3f}", f"{event.end:.3f}", mid)
        for clip in clips
        for event in clip.events
        for mid in event.labels
    )
    write_strong(folder, split, strong)

"""The recordings' own lists: read, and what they say about who may share a recording and which classes are events."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from ....lib.errors import GlatError
from ....lib.files import whole
from ....lib.layout import CLASS_LIST, segment_list
from ...lists import audioset
from ...lists.labels import LabelNames
from .. import ListedSource

if TYPE_CHECKING:
    from . import Soundscapes

NAMED = 60  # classes that an error lists


class Lists(NamedTuple):
    """classes: the class list; segments: by split of the recordings."""

    classes: pd.DataFrame
    segments: dict[str, pd.DataFrame]


def read(settings: Soundscapes, folds: list[str], folder: Path, store: Path) -> Lists:
    """The lists of some splits of the recordings, which their source writes into `folder` if it can; store: what it fetched.

    Raises:
        GlatError: a list that is not there or damaged.
    """
    source = settings.material
    if isinstance(source, ListedSource):
        with whole(folder) as part:
            part.mkdir()
            # How many recordings there are is for their source to say.
            source.write_lists(part, dict.fromkeys(folds, 0), store)
    else:
        folder = Path(settings.metadata or "")
    classes = audioset.read_class_list(folder / CLASS_LIST)
    return Lists(classes, {fold: audioset.read_segments(folder / segment_list(fold), classes) for fold in folds})


def refuse_shared(settings: Soundscapes, splits: list[str], lists: Lists) -> None:
    """Raise GlatError if two splits have recordings of one group, by the pattern `group`, or pieces of one file."""
    seen: dict[str, tuple[str, str, str]] = {}
    for split in splits:
        for fold in settings.origin[split]:
            for clip, written in lists.segments[fold][["clip", "written"]].itertuples(index=False):
                group = written if settings.group is None else _group(settings.group, written, fold)
                first, other, its_fold = seen.setdefault(group, (split, clip, fold))
                if first != split:
                    raise GlatError(
                        f"datasets.*.source.from: {other} ({its_fold}, which serves {first}) and {clip} ({fold}, which serves "
                        f"{split}) are of one recording, {group!r}; give all of its parts to one split"
                    )


def _group(pattern: str, name: str, fold: str) -> str:
    match = re.search(pattern, name)
    if match is None or match[1] is None:
        raise GlatError(
            f"datasets.*.source.group: {pattern!r} finds nothing in {name!r} ({fold}); it must find the group in the name of "
            "each recording"
        )
    return match[1]


def choose(settings: Soundscapes, classes: pd.DataFrame) -> tuple[pd.DataFrame, set[str]]:
    """The classes that events are of, mid and display_name in the list's order, and the ids of those that are backgrounds.

    Raises:
        GlatError: a class that the recordings do not have, one that is both, or none that is left.
    """
    mid_of = LabelNames(classes).mid_of

    def mids(key: str, names: list[str]) -> set[str]:
        if unknown := [name for name in names if name not in mid_of]:
            known = ", ".join(map(repr, classes["display_name"][:NAMED])) + (", ..." if len(classes) > NAMED else "")
            raise GlatError(
                f"datasets.*.source.{key}: {unknown[0]!r} is not a class of the recordings; they have {known}"
            )
        return {mid_of[name] for name in names}

    backgrounds = set() if settings.backgrounds == "noise" else mids("backgrounds", settings.backgrounds)
    chosen = set(classes["mid"]) - backgrounds if settings.classes is None else mids("classes", settings.classes)
    names = dict(classes[["mid", "display_name"]].itertuples(index=False))
    if both := sorted(names[mid] for mid in chosen & backgrounds):
        raise GlatError(f"datasets.*.source: {both[0]!r} is in classes and in backgrounds; leave it in one of them")
    if not chosen:
        raise GlatError("datasets.*.source.backgrounds: names every class of the recordings; leave some for events")
    if odd := [mid for mid in chosen if "," in mid or mid in ("[]", "()")]:
        raise GlatError(
            f"the class list of the recordings: the id {odd[0]!r} cannot stand in a list of ids with commas between them; "
            "give the class another id"
        )
    return classes.loc[classes["mid"].isin(chosen), ["mid", "display_name"]].reset_index(drop=True), backgrounds

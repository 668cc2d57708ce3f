"""Strong labels: when each sound of the evaluation clips is heard, and for which classes that counts.

AudioSet's strong labels name the most specific sound, its weak ones often a more general one: weak "Speech", strong "Male
speech, man speaking". So an event counts for its own class and for the classes above it in AudioSet's ontology
(`glat.data.lists.ontology`): for those that it is of on each way up, and for any other that the weak labels of its clip name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import pandas as pd

from ..config.params import Params
from ..data.lists.audioset import read_class_list, read_segments, read_strong
from ..data.lists.framed import read_framed
from ..data.lists.ontology import ancestors, certain_ancestors
from ..lib.layout import Data

COLUMNS = ["clip", "start", "end", "label"]


def strong_labels(params: Params, tell: Callable[[str], None] = lambda _: None) -> pd.DataFrame:
    """Strong labels of the evaluation clips, from `<split>_strong.tsv` in the metadata; empty without such a file. With
    `params.localisation.roll_up`, `roll_up` is applied. tell: is called with what the labels lack and became.

    Columns clip, start, end (seconds from the clip's beginning), label (a mid).
    """
    data = Data(params.dataset)
    splits = [split for split in params.corpus.evaluation_splits() if data.strong(split).exists()]
    classes = read_class_list(data.class_list) if data.class_list.exists() else None
    parts = [read_strong(data.strong(split), classes) for split in splits]
    strong = pd.concat([pd.DataFrame(columns=COLUMNS), *parts], ignore_index=True)
    if classes is None or strong.empty:
        return strong
    weak: dict[str, Collection[str]] = {}
    if params.localisation.roll_up:
        for split in splits:
            if data.segments(split).exists():
                segments = read_segments(data.segments(split), classes)
                weak |= dict(zip(segments["clip"], segments["labels"], strict=True))
    known = set(classes["mid"])
    rolled = roll_up(strong, known, weak) if params.localisation.roll_up else strong.assign(event=strong.index)
    for sentence in sentences(strong, rolled, known):
        tell(sentence)
    return rolled[COLUMNS]


def roll_up(strong: pd.DataFrame, classes: Collection[str], weak: Mapping[str, Collection[str]]) -> pd.DataFrame:
    """The strong labels, and a copy of each for every class above its own that it counts for (see above); their column `event`
    is the row of `strong` that each comes from.

    classes: the mids of the class list; weak: those of each clip's weak labels. Labels of no class are kept as they are.
    """
    known = set(classes)
    above = {label: ancestors(label) & known for label in strong["label"].unique()}
    rows = [
        (clip, start, end, name, event)
        for event, (clip, start, end, label) in enumerate(strong[COLUMNS].itertuples(index=False))
        for name in (label, *sorted(above[label] & (certain_ancestors(label) | set(weak.get(clip, ())))))
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, "event"])


def sentences(strong: pd.DataFrame, rolled: pd.DataFrame, classes: Collection[str]) -> list[str]:
    """What a person should know of strong labels before and after `roll_up`: how many count for classes above their own, and
    how many for none."""
    found, copies = [], len(rolled) - len(strong)
    if copies:
        several = int((rolled["event"].value_counts() > 1).sum())
        found.append(
            f"strong labels: {several} of {len(strong)} count for classes above their own, too: {copies / several:.2g} on "
            "average (localisation.roll_up)"
        )
    counted = rolled.loc[rolled["label"].isin(classes), "event"]
    if len(lost := strong["label"].drop(counted.unique())):
        found.append(
            f"strong labels: {len(lost)} of {len(strong)} match no class and are left out, {lost.iloc[0]!r} the first; give "
            "ids or display names of the class list"
        )
    return found


def framed_labels(params: Params) -> pd.DataFrame:
    """AudioSet's framed labels of the evaluation clips (`read_framed`), from `<split>_strong_framed_posneg.tsv` in the
    metadata; empty without such a file."""
    data = Data(params.dataset)
    files = [file for split in params.corpus.evaluation_splits() if (file := data.framed(split)).exists()]
    classes = read_class_list(data.class_list) if files else None
    none = pd.DataFrame(columns=[*COLUMNS, "present"])
    return pd.concat([none, *(read_framed(file, classes) for file in files)], ignore_index=True)

"""Where the windows were, by class: what `glat.scoring.localisation.localise` found in one or several runs, as a table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .bootstrap import share
from .intervals import Interval

LOCALISATION = [
    "mid", "display_name", "events", "median_duration", "windows", "hits", "hit", "hit_low", "hit_high", "hit_random",
    "centre_error", "centre_error_random", "selected", "hit_of_selected", "hit_of_selected_random", "covered_pairs",
    "covered", "covered_random", "clips", "runs",
]  # fmt: skip


def class_table(
    found: list[pd.DataFrame], strong: pd.DataFrame, names: dict[str, str], chosen: np.ndarray, level: float
) -> pd.DataFrame:
    """A table of `localise` over one or several runs: one row per class, by event duration, then one of all classes.

    chosen: (L,), from `windows_per_class`. level: confidence of the interval.

    Columns, where `_random` is the same for random windows: `events` and `median_duration` (s) in the strong labels;
    `windows` for the class in clips that contain it, `hits` among them, and `hit`, their share, with its interval over
    clips and runs; `centre_error` (s, mean); `selected`, all windows for the class in any clip, and `hit_of_selected`;
    `covered_pairs`, the number of (clip, class), and `covered`, the share of them in which any of the N windows
    overlaps an event; `clips`; `runs`.
    """
    every = pd.concat(found, ignore_index=True)
    strong = strong[strong["clip"].isin(every["clip"]) & strong["label"].isin(names)]
    duration = (strong["end"] - strong["start"]).groupby(strong["label"])
    of_class = dict(zip(names, chosen, strict=True)) | {"all": chosen.sum()}
    rows = []
    for mid in [*duration.median().sort_values().index, "all"]:
        parts = [one if mid == "all" else one[one["mid"] == mid] for one in found]
        part = pd.concat(parts, ignore_index=True)
        own = part[part["chosen"]]
        lengths = strong["end"] - strong["start"] if mid == "all" else duration.get_group(mid)
        hit, total = own["hit"].sum(), of_class[mid]
        values = [
            mid, names.get(mid, "all classes"), len(lengths), lengths.median(), len(own), int(hit),
            own["hit"].mean(), *_hit_interval(parts, level)[1:], own["chance"].mean(),
            own["error"].mean(), own["chance_error"].mean(),
            total, hit / total if total else np.nan, own["chance"].sum() / total if total else np.nan,
            len(part), part["covered"].mean(), part["chance_covered"].mean(), part["clip"].nunique(), len(found),
        ]  # fmt: skip
        rows.append(dict(zip(LOCALISATION, values, strict=True)))
    return pd.DataFrame(rows, columns=LOCALISATION)


def _hit_interval(runs: list[pd.DataFrame], level: float) -> Interval:
    """The share of windows that hit, the mean over runs, with its interval over clips and runs (`bootstrap.share`)."""
    own = [one[one["chosen"]] for one in runs]
    clips = pd.Index(pd.concat([one["clip"] for one in own]).unique())
    of_clip = [one.groupby("clip")["hit"].agg(["sum", "count"]).reindex(clips, fill_value=0) for one in own]
    hits, windows = (np.array([one[key] for one in of_clip]) for key in ("sum", "count"))
    return share(hits, windows, level)

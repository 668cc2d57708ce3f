"""Whether the selected windows contain the sounds: windows compared with strong labels.

Conventions: a window [s, s + tau] hits a class if it overlaps an event of that class by any length. A random window
starts anywhere in [0, T0 - tau] with equal probability. Its chance to hit is the length of the starts that hit, divided
by T0 - tau. All figures for random windows are expectations computed from the events, not draws.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..config.params import Params
from ..config.runs import Run
from ..data.lists.audioset import read_class_list, read_strong
from ..lib.layout import Data
from .intervals import Variances, proportion
from .jackknife import unseen_variance
from .predictions import read_predictions

GRID = 2001  # evenly spaced starts over which the expected centre error of a random window is averaged
LOCALISATION = [
    "mid", "display_name", "events", "median_duration", "windows", "hits", "hit", "hit_low", "hit_high", "hit_random",
    "centre_error", "centre_error_random", "selected", "hit_of_selected", "hit_of_selected_random", "covered_pairs",
    "covered", "covered_random", "clips", "runs",
]  # fmt: skip


def strong_labels(params: Params) -> pd.DataFrame:
    """Strong labels of the evaluation clips, from `<split>_strong.tsv` in the metadata; empty without such a file."""
    data = Data(params.dataset)
    files = [file for split in params.corpus.evaluation_splits() if (file := data.strong(split)).exists()]
    classes = read_class_list(data.class_list) if data.class_list.exists() else None
    none = pd.DataFrame(columns=["clip", "start", "end", "label"])
    return pd.concat([none, *(read_strong(file, classes) for file in files)], ignore_index=True)


def chance_to_hit(events: np.ndarray, tau: float, seconds: float) -> float:
    """Probability that a random window of `tau` in a clip of `seconds` overlaps one of the (events, 2) onsets and
    offsets.

    >>> f"{chance_to_hit(np.array([[4.0, 5.0]]), tau=3.0, seconds=10.0):.3f}"  # starts from 1 to 5 s, of 0 to 7 s
    '0.571'
    """
    last = seconds - tau
    if last <= 0:
        return 1.0
    # A window that starts in (onset - tau, offset) overlaps the event: the union of these intervals within [0, last].
    hit, reached = 0.0, 0.0
    for low, high in sorted((max(on - tau, 0.0), min(off, last)) for on, off in events):
        if high > max(low, reached):
            hit += high - max(low, reached)
            reached = high
    return min(hit / last, 1.0)


def centre_error(starts: np.ndarray, events: np.ndarray, tau: float) -> np.ndarray:
    """Seconds from the centre of each window (W,) to the centre of the nearest of the (events, 2)."""
    centres = events.mean(1)
    return np.abs(starts[:, None] + tau / 2 - centres).min(1)


def hits(starts: np.ndarray, events: np.ndarray, tau: float) -> np.ndarray:
    """Whether each window (W,) overlaps one of the (events, 2)."""
    return np.any((starts[:, None] < events[:, 1]) & (starts[:, None] + tau > events[:, 0]), axis=1)


def localise(predictions: dict[str, Any], strong: pd.DataFrame, tau: float, seconds: float) -> pd.DataFrame:
    """One row per (clip, class) with an event: how the windows of one run did there.

    predictions: of predictions.h5, with `clip`, `mid`, `windows` (clips, N) and `classes` (clips, N), the class that
    each window was chosen for. strong: clip, start, end, label. Clips without a strong label, and labels that are not
    in the class list, are left out.

    Columns: `clip`, `mid`; `chosen`, whether a window was chosen for this class; `hit` and `error` of that window, NaN
    if there is none; `covered`, whether any of the N windows overlaps an event; and `chance`, `chance_error` and
    `chance_covered`, the same for random windows.
    """
    clip_of: dict[str, str] = {}
    if "part" in predictions:
        predictions, strong, clip_of = _by_part(predictions, strong, seconds)
    classes = {mid: index for index, mid in enumerate(predictions["mid"])}
    row_of = {clip: row for row, clip in enumerate(predictions["clip"])}
    grid = np.linspace(0, max(seconds - tau, 0), GRID)
    rows = []
    for (clip, mid), group in strong.groupby(["clip", "label"], sort=False):
        if clip not in row_of or mid not in classes:
            continue
        events = group[["start", "end"]].to_numpy(float)
        windows = np.asarray(predictions["windows"][row_of[clip]], float)  # (N,)
        own = windows[predictions["classes"][row_of[clip]] == classes[mid]]  # at most one: a class is chosen once
        chance = chance_to_hit(events, tau, seconds)
        rows.append(
            {
                "clip": clip_of.get(clip, clip),
                "mid": mid,
                "chosen": len(own) > 0,
                "hit": float(hits(own, events, tau)[0]) if len(own) else np.nan,
                "error": float(centre_error(own, events, tau)[0]) if len(own) else np.nan,
                "covered": bool(hits(windows, events, tau).any()),
                "chance": chance,
                "chance_error": float(centre_error(grid, events, tau).mean()),
                "chance_covered": 1 - (1 - chance) ** len(windows),
            }
        )
    columns = ["clip", "mid", "chosen", "hit", "error", "covered", "chance", "chance_error", "chance_covered"]
    return pd.DataFrame(rows, columns=columns)


def _by_part(
    predictions: dict[str, Any], strong: pd.DataFrame, seconds: float
) -> tuple[dict[str, Any], pd.DataFrame, dict[str, str]]:
    """The same with each part of a longer clip as a clip of its own, named by where it begins, with its part of the events;
    and the clip of each of these names."""
    of = np.asarray(predictions["clip"])[predictions["part"]]
    names = [f"{clip}+{begin:g}" for clip, begin in zip(of, predictions["begin"], strict=True)]
    parts = pd.DataFrame({"clip": of, "begin": predictions["begin"], "name": names})
    events = strong.merge(parts, on="clip")
    events["start"] = (events["start"] - events["begin"]).clip(lower=0.0)
    events["end"] = (events["end"] - events["begin"]).clip(upper=seconds)
    events = events[events["start"] < events["end"]].assign(clip=lambda table: table["name"])
    return predictions | {"clip": names}, events[["clip", "start", "end", "label"]], dict(zip(names, of, strict=True))


def of_first_length(predictions: dict[str, Any], n: int) -> dict[str, Any]:
    """The same predictions with the N windows of `tau` alone, where there are further lengths (`extra_taus`)."""
    return predictions | {name: predictions[name][:, :n] for name in ("windows", "classes")}


def windows_per_class(predictions: dict[str, Any], strong: pd.DataFrame) -> np.ndarray:
    """The number of windows that were chosen for each class (L,), over the clips with a strong label."""
    labelled = np.isin(predictions["clip"], strong["clip"].unique())
    if "part" in predictions:
        labelled = labelled[predictions["part"]]
    classes = np.asarray(predictions["classes"])[labelled].ravel()
    return np.bincount(classes[classes >= 0], minlength=len(predictions["mid"]))


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
            own["hit"].mean(), *_hit_interval(parts, level), own["chance"].mean(),
            own["error"].mean(), own["chance_error"].mean(),
            total, hit / total if total else np.nan, own["chance"].sum() / total if total else np.nan,
            len(part), part["covered"].mean(), part["chance_covered"].mean(), part["clip"].nunique(), len(found),
        ]  # fmt: skip
        rows.append(dict(zip(LOCALISATION, values, strict=True)))
    return pd.DataFrame(rows, columns=LOCALISATION)


def _hit_interval(runs: list[pd.DataFrame], level: float) -> tuple[float, float]:
    """The interval of the share of windows that hit, over clips, within which windows depend on each other, and over
    runs.

    It is at least as wide as Wilson's for independent windows of one run.
    """
    own = [one[one["chosen"]] for one in runs if one["chosen"].any()]
    if not own:
        return np.nan, np.nan
    hits, windows = sum(one["hit"].sum() for one in own), sum(len(one) for one in own)
    shares = [one["hit"].mean() for one in own]
    apart = pd.concat([(one["hit"] - share) / windows for one, share in zip(own, shares, strict=True)])
    clips = (apart.groupby(pd.concat([one["clip"] for one in own]).to_numpy()).sum() ** 2).sum()
    known, share = windows / len(own), hits / windows
    clips = max(clips, share * (1 - share) / known)
    spare = unseen_variance(share, known, min(hits, windows - hits) / len(own))
    seeds = (np.var(shares, ddof=1) / len(own), len(own) - 1) if len(own) > 1 else ()
    return proportion(share, share, Variances(clips + spare / known, np.inf, *seeds), spare, level)


def of_run(run: Run, folder: Path, params: Params) -> dict[str, float]:
    """Where the windows of an evaluated run were, as the table of localisation has it for one run: `hit` with its
    interval, `centre_error` and `covered`, and what random windows have. Empty without GL-AT or without strong labels."""
    if run.glat is None or params.dataset not in params.datasets or not (folder / "predictions.h5").exists():
        return {}
    kept = of_first_length(read_predictions(folder / "predictions.h5"), run.glat.n)
    strong = strong_labels(params)
    found = pd.DataFrame() if strong.empty else localise(kept, strong, run.glat.tau, run.audio.clip_seconds)
    if found.empty:
        return {}
    names = dict(zip(kept["mid"], kept["display_name"], strict=True))
    every = class_table([found], strong, names, windows_per_class(kept, strong), params.evaluation.confidence).iloc[-1]
    keys = ["hit", "hit_low", "hit_high", *(f"{key}_random" for key in ("hit", "centre_error", "covered"))]
    return {key: float(every[key]) for key in (*keys, "centre_error", "covered") if np.isfinite(every[key])}

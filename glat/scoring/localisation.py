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
from .class_table import class_table
from .predictions import read_predictions
from .strong import strong_labels

GRID = 2001  # evenly spaced starts over which the expected centre error of a random window is averaged


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

"""Do the selected windows hold the sounds? Windows against strong labels; no table or figure is made here.

Conventions: a window [s, s + tau] hits a class if it overlaps an event of that class by any length. A random window
starts anywhere in [0, T0 - tau] with equal probability; its chance to hit is the length of the starts that hit over
T0 - tau, and all that is said of random windows is an expectation computed from the events, not a draw.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..config.params import Params
from ..data.lists.audioset import read_class_list, read_strong
from .intervals import Variances, proportion
from .jackknife import unseen

GRID = 2001  # places of a random window, evenly spaced, over which the expected error of its centre is averaged
LOCALISATION = [
    "mid", "display_name", "events", "median_duration", "windows", "hits", "hit", "hit_low", "hit_high", "hit_random",
    "centre_error", "centre_error_random", "selected", "hit_of_selected", "hit_of_selected_random", "covered_pairs",
    "covered", "covered_random", "clips", "runs",
]  # fmt: skip


def strong_labels(params: Params) -> pd.DataFrame:
    """Strong labels of the evaluation clips: `<split>_strong.tsv` of the metadata; no row where there is no such
    file."""
    metadata = Path("data") / params.dataset / "metadata"
    files = [file for split in params.chosen.evaluate if (file := metadata / f"{split}_strong.tsv").exists()]
    classes = read_class_list(listed) if (listed := metadata / "class_labels_indices.csv").exists() else None
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


def localise(kept: dict[str, Any], strong: pd.DataFrame, tau: float, seconds: float) -> pd.DataFrame:
    """One row a (clip, class) that holds an event: what the windows of one run did there.

    kept: predictions.h5, with `clip`, `mid`, `windows` (clips, N) and `classes` (clips, N), the class each was chosen
    for. strong: clip, start, end, label. Clips without a strong label, and labels outside the class list, are left out.

    Columns: `clip`, `mid`, `chosen` (a window was chosen for this class), `hit` and `error` (of that window; NaN where
    none was), `covered` (any of the N windows overlaps an event), and `chance`, `chance_error`, `chance_covered`, what
    random windows would score.
    """
    classes = {mid: index for index, mid in enumerate(kept["mid"])}
    row_of = {clip: row for row, clip in enumerate(kept["clip"])}
    grid = np.linspace(0, max(seconds - tau, 0), GRID)
    rows = []
    for (clip, mid), group in strong.groupby(["clip", "label"], sort=False):
        if clip not in row_of or mid not in classes:
            continue
        events = group[["start", "end"]].to_numpy(float)
        windows = np.asarray(kept["windows"][row_of[clip]], float)  # (N,)
        own = windows[kept["classes"][row_of[clip]] == classes[mid]]  # at most one: a class is chosen once
        chance = chance_to_hit(events, tau, seconds)
        rows.append(
            {
                "clip": clip,
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


def selected(kept: dict[str, Any], strong: pd.DataFrame) -> np.ndarray:
    """How many windows were chosen for each class (L,), over the clips that have a strong label."""
    labelled = np.isin(kept["clip"], strong["clip"].unique())
    classes = np.asarray(kept["classes"])[labelled].ravel()
    return np.bincount(classes[classes >= 0], minlength=len(kept["mid"]))


def by_class(
    found: list[pd.DataFrame], strong: pd.DataFrame, names: dict[str, str], chosen: np.ndarray, level: float
) -> pd.DataFrame:
    """`localise` of one or several runs, one row a class in order of event duration, then one of all.

    Columns: `events` and `median_duration` (s) in the strong labels; `windows` selected for the class in clips that
    hold it, `hits` among them, `hit` their share with its interval over clips and runs, `hit_random` what random
    windows would hit; `centre_error` and `centre_error_random` (s, means); `selected`, all windows that were chosen for
    the class (`chosen`, (L,), from `selected`), in clips that hold it or not, and the share of them that hits, and
    would hit at random; `covered_pairs`, how many (clip, class) there are, `covered`, the share of them that any of the
    N windows overlaps, and `covered_random`; `clips`; `runs`.
    """
    every = pd.concat(found, ignore_index=True)
    strong = strong[strong["clip"].isin(every["clip"]) & strong["label"].isin(names)]
    duration = (strong["end"] - strong["start"]).groupby(strong["label"])
    of_class = dict(zip(names, chosen, strict=True)) | {"all": chosen.sum()}
    rows = []
    order = duration.median().sort_values().index.tolist()
    for mid in [*order, "all"]:
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
    """Of the share of windows that hit, over clips, in which windows stand together, and runs, which heard the same
    clips.

    It is at least as wide as for independent windows of one run: Wilson's.
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
    spare = unseen(share, known, min(hits, windows - hits) / len(own))
    seeds = (np.var(shares, ddof=1) / len(own), len(own) - 1) if len(own) > 1 else ()
    return proportion(share, share, Variances(clips + spare / known, np.inf, *seeds), spare, level)

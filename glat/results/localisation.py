"""Do the selected windows hold the sounds? Windows against strong labels, and AP gained against how long sounds last.

Conventions: a window [s, s + tau] hits a class if it overlaps an event of that class by any length. A random window
starts anywhere in [0, T0 - tau] with equal probability; its chance to hit is the length of the starts that hit over
T0 - tau, and all that is said of random windows is an expectation computed from the events, not a draw.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from .. import experiments
from ..config import Params
from ..convergence import NO_VERDICT
from ..data.audioset import read_class_list, read_strong
from ..escaping import markdown as escaped
from ..intervals import Variances, difference, proportion
from ..jackknife import class_estimates, unseen
from ..predictions import read_predictions
from . import tables, text
from .measured import (
    ONE_SEED,
    Measured,
    behind_columns,
    confidence,
    convergence_columns,
    decide,
    difference_columns,
    read,
    same_clips,
)
from .plots import CHANCE, METHOD, figure, foot, open_marks

GRID = 2001  # places of a random window, evenly spaced, over which the expected error of its centre is averaged
LOCALISATION = [
    "mid", "display_name", "events", "median_duration", "windows", "hits", "hit", "hit_low", "hit_high", "hit_random",
    "centre_error", "centre_error_random", "selected", "hit_of_selected", "hit_of_selected_random", "covered_pairs",
    "covered", "covered_random", "clips", "runs",
]  # fmt: skip
GAINS = [
    "mid", "display_name", "median_duration", "AP_alone", "AP_glat", "gain", "gain_low", "gain_high", "gain_p",
    "gain_p_holm", "gain_verdict", "seeds",
]  # fmt: skip


def chance_to_hit(events: np.ndarray, tau: float, seconds: float) -> float:
    """Probability that a random window of `tau` in a clip of `seconds` overlaps one of the (events, 2) onsets and offsets."""
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
    return ((starts[:, None] < events[:, 1]) & (starts[:, None] + tau > events[:, 0])).any(1)


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

    Columns: `events` and `median_duration` (s) in the strong labels; `windows` chosen for the class in clips that hold
    it, `hits` among them, `hit` their share with its interval over clips and runs, `hit_random` what random windows would
    hit; `centre_error` and `centre_error_random` (s, means); `selected`, all windows that were chosen for the class
    (`chosen`, (L,), from `selected`), in clips that hold it or not, and the share of them that hits, and would hit at
    random; `covered_pairs`, how many (clip, class) there are, `covered`, the share of them that any of the N windows
    overlaps, and `covered_random`; `clips`; `runs`.
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
    """Of the share of windows that hit, over clips, in which windows stand together, and runs, which heard the same clips.

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


def gains(plain: Measured, glat: Measured, duration: pd.Series) -> pd.DataFrame:
    """AP with GL-AT minus AP without, one row a class that both score, with its interval over clips and seeds.

    Means over the seeds that both have; `duration`: median seconds of the class's events, by mid. p is corrected by Holm's
    method over the classes (`measured.decide`).
    """
    seeds = [seed for seed in plain.metrics if seed in glat.metrics]
    folders = [{run.seed: run.folder for run in one.system.runs} for one in (plain, glat)]
    kept = [[read_predictions(of[seed] / "predictions.h5") for seed in seeds] for of in folders]
    level, rows = confidence([plain, glat]), []
    for index, (mid, name) in enumerate(zip(kept[0][0]["mid"], kept[0][0]["display_name"], strict=True)):
        if mid not in duration:
            continue
        column = slice(index, index + 1)
        found = [
            [next(class_estimates(one["target"][:, column], one["fused"][:, column])) for one in of] for of in kept
        ]
        if None in found[0]:
            continue
        alone, both = ([ap for ap, _ in of] for of in found)
        row = {"mid": mid, "display_name": name, "median_duration": duration[mid]}
        row |= {"AP_alone": np.mean([ap.value for ap in alone]), "AP_glat": np.mean([ap.value for ap in both])}
        row |= difference_columns("gain", difference(both, alone, level), mid) | {"seeds": len(seeds)}
        if plain.not_converged or glat.not_converged:
            row |= {"gain_p": np.nan, "gain_verdict": NO_VERDICT}
        rows.append(row)
    return decide(rows, level).reindex(columns=GAINS)


def draw_hits(table: pd.DataFrame, tau: float, glat: Measured, path: Path) -> None:
    """The share of windows that hit, by class from short to long, against random windows; open marks where the training
    had not converged."""
    with figure(path, size=(7.2, 1.2 + 0.26 * len(table))) as (fig, ax):
        y = range(len(table))
        ax.hlines(y, table["hit_low"], table["hit_high"], color=METHOD, alpha=0.5, lw=2)
        ax.plot(table["hit"], y, "o", color=METHOD, label="window chosen for the class (line: interval)")
        if glat.not_converged:
            open_marks(ax, table["hit"], y, METHOD)
            foot(fig, [text.OPEN_MARKS])
        ax.plot(table["hit_random"], y, "|", color="black", ms=10, label="random window, expected")
        rows = zip(table["display_name"], table["median_duration"], table["windows"], strict=True)
        ax.set_yticks(y, [f"{name} ({length:.2g} s, n = {n})" for name, length, n in rows])
        ax.set_xlim(-0.02, 1.02)
        ax.invert_yaxis()
        ax.set_xlabel("share that overlaps an event of the class, in clips that hold it")
        ax.set_title(f"{_named(glat)}: windows of {tau:g} s", loc="left")
        fig.legend(loc="outside upper center", ncols=2)


def draw_gains(table: pd.DataFrame, rho: float, level: float, plain: Measured, glat: Measured, path: Path) -> None:
    """AP gain of each class against the median duration of its events; open marks where one of the two trainings had not
    converged."""
    with figure(path, size=(7.2, 4.8)) as (fig, ax):
        ax.axhline(0, color=CHANCE)
        ax.vlines(table["median_duration"], table["gain_low"], table["gain_high"], color=METHOD, alpha=0.4)
        ax.plot(table["median_duration"], table["gain"], "o", color=METHOD)
        if plain.not_converged or glat.not_converged:
            open_marks(ax, table["median_duration"], table["gain"], METHOD)
            foot(fig, [text.OPEN_MARKS])
        # Names where there is room for them, slanted, as classes of like duration stand close together.
        for row in table.to_dict("records") if len(table) <= 40 else []:
            at = (row["median_duration"], row["gain"])
            ax.annotate(f" {row['display_name']}", at, fontsize=6.5, rotation=40, rotation_mode="anchor")
        ax.margins(x=0.12)
        ax.set_xscale("log")
        ax.set_xlabel("median duration of the class's events (s)")
        ax.set_ylabel("AP with GL-AT minus AP without")
        ax.set_title(
            f"{_named(glat)} minus {_named(plain)}\n"
            f"{len(table)} classes, bars: {level:.0%} interval; Spearman's rho = {rho:.2f}",
            loc="left",
        )


def _named(one: Measured) -> str:
    return text.marked(one.system.label, convergence_columns(one))


def strong_labels(params: Params) -> pd.DataFrame:
    """Strong labels of the evaluation clips: `<split>_strong.tsv` of the metadata; no row where there is no such file."""
    metadata = Path("data") / params.dataset / "metadata"
    files = [file for split in params.chosen.evaluate if (file := metadata / f"{split}_strong.tsv").exists()]
    classes = read_class_list(listed) if (listed := metadata / "class_labels_indices.csv").exists() else None
    none = pd.DataFrame(columns=["clip", "start", "end", "label"])
    return pd.concat([none, *(read_strong(file, classes) for file in files)], ignore_index=True)


def write(params: Params, folder: Path) -> None:
    """Write localisation.{csv,md,svg,png} and durations.{csv,svg,png} into `folder`, for the first backbone of controls.

    Where the dataset has no strong labels the tables are empty, and localisation.md and the pictures say why.
    """
    plain, glat = (read(system) for system in experiments.systems_of(params, "localisation"))
    same_clips([plain, glat])
    tau, seconds = params.glat.tau, params.audio.clip_seconds
    clips = behind_columns(glat) | convergence_columns(glat)
    strong = strong_labels(params)
    kept = [read_predictions(run.folder / "predictions.h5") for run in glat.system.runs]
    found = [localise(one, strong, tau, seconds) for one in kept]
    if found[0].empty:
        _skip(f"{params.dataset} has no strong labels of its evaluation clips: localisation was skipped", folder)
        return
    names = dict(zip(kept[0]["mid"], kept[0]["display_name"], strict=True))
    level = confidence([plain, glat])
    chosen = sum(selected(one, strong) for one in kept)
    table = by_class(found, strong, names, chosen, level)
    draw_hits(table, tau, glat, folder / "localisation")
    gain = gains(plain, glat, table.set_index("mid")["median_duration"])
    rho = spearmanr(gain["median_duration"], gain["gain"]).statistic if len(gain) > 2 else np.nan
    draw_gains(gain, rho, level, plain, glat, folder / "durations")
    alone = behind_columns(plain) | convergence_columns(plain)
    both = {key: value if value == alone[key] else f"{alone[key]} / {value}" for key, value in clips.items()}
    tables.write(gain.assign(**both), None, folder / "durations")
    tables.write(table.assign(**clips), markdown(table, gain, glat, tau, rho, level), folder / "localisation")


def markdown(table: pd.DataFrame, gain: pd.DataFrame, glat: Measured, tau: float, rho: float, level: float) -> str:
    """The localisation as a table with what it means."""
    lines = [
        [
            escaped(row["display_name"]), f"{row['median_duration']:.2f}", str(row["windows"]),
            f"{text.number(row['hit'], 2)} [{text.number(row['hit_low'], 2)}, {text.number(row['hit_high'], 2)}]",
            text.number(row["hit_random"], 2), text.number(row["centre_error"], 2),
            text.number(row["centre_error_random"], 2), str(row["selected"]), text.number(row["hit_of_selected"], 2),
            text.number(row["hit_of_selected_random"], 2), text.number(row["covered"], 2),
            text.number(row["covered_random"], 2),
        ]
        for row in table.to_dict("records")
    ]  # fmt: skip
    header = [
        "Class", "median duration (s)", "windows in clips of the class", "hit", "random", "centre error (s)", "random",
        "all windows chosen for it", "hit", "random", "covered", "random",
    ]  # fmt: skip
    what = (
        f"Windows of {tau:g} s, over {len(glat.metrics)} run(s). Hit: the share that overlaps an event of the class that the "
        "window was chosen for; first of the windows in clips that hold the class, then of all windows that were chosen "
        "for it, most of which are in clips without it, as each clip gets N windows whatever it holds. Random: what "
        f"windows anywhere in the same clips would score. In brackets: the {level:.0%} interval over clips and runs. "
        "Centre error: mean distance from the window's centre to that of the nearest event. Covered: the share of all "
        "(clip, class) pairs of which any of the clip's windows overlaps an event."
    )
    mark = {"method": glat.system.label} | convergence_columns(glat)
    told = [
        f"# Where {_named(glat)} listens, on `{glat.first['dataset']}`",
        what,
        text.behind([behind_columns(glat)]),
        text.markdown(header, lines).rstrip(),
        f"AP gain against event duration, over {len(gain)} classes: Spearman's rho = {text.number(rho, 2)}. {_told(gain)}",
        *text.marks([mark]),
    ]
    return "\n\n".join(told) + "\n"


def _told(gain: pd.DataFrame) -> str:
    """The classes whose AP is higher or lower, p being corrected for their number, or why none is called so."""
    for reason in (ONE_SEED, NO_VERDICT):
        if not len(gain) or (gain["gain_verdict"] == reason).all():
            return f"Single classes: {reason}."
    said = []
    for verdict in ("higher", "lower"):
        classes = gain.loc[gain["gain_verdict"] == verdict, "display_name"].tolist()
        said.append(f"{verdict} in {len(classes)}" + (f" ({', '.join(classes)})" if 0 < len(classes) <= 10 else ""))
    return f"AP is {' and '.join(said)} of them, by p corrected (Holm) for their number; undecided in the others."


def _skip(reason: str, folder: Path) -> None:
    for name in ("localisation", "durations"):
        with figure(folder / name, size=(6.4, 1)) as (_, ax):
            ax.set_axis_off()
            ax.text(0.5, 0.5, reason, ha="center", va="center", wrap=True)
    tables.write(pd.DataFrame(columns=["mid"]), None, folder / "durations")
    tables.write(pd.DataFrame(columns=LOCALISATION), f"{reason}.\n", folder / "localisation")

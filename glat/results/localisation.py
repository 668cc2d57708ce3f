"""Localisation: whether the windows hold the sounds, what scores over time find, and AP gained against how long sounds last.

It is measured in `glat.scoring`, put into tables by `detection` and `gains`, into words by `localisation_text`, and drawn by
`localisation_plots`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from ..config import experiments
from ..config.params import Params
from ..lib.errors import tell
from ..scoring.class_table import LOCALISATION, class_table
from ..scoring.localisation import localise, of_first_length, windows_per_class
from ..scoring.strong import strong_labels
from . import tables
from .columns import convergence_columns, provenance_columns
from .detection import DETECTION, detection_table, why_not
from .gains import gains
from .localisation_plots import draw_detection, draw_gains, draw_hits, draw_reason
from .localisation_text import detection_markdown, windows_markdown
from .measured import Measured, confidence, predictions, read, same_clips


def write(params: Params, folder: Path) -> None:
    """Write localisation.{csv,md,svg,png}, detection.{csv,svg,png} and durations.{csv,svg,png} into `folder`, for the first
    backbone of controls.

    Random windows are shown if their runs were evaluated. If the dataset has no strong labels, the tables are empty, and
    localisation.md and the figures say why.
    """
    alone, method, *random = experiments.systems_of(params, "localisation")
    systems = [read(alone), read(method), *(one for system in random if (one := read(system, partial=True)).metrics)]
    plain, glat = systems[:2]
    same_clips(systems)
    tau, seconds = params.glat.tau, params.audio.clip_seconds
    clips = provenance_columns(glat) | convergence_columns(glat)
    strong = strong_labels(params, tell)
    scored = [of_first_length(one, params.glat.n) for one in predictions(glat.system).values()]
    found = [localise(one, strong, tau, seconds) for one in scored]
    if found[0].empty:
        _skip(f"{params.dataset} has no strong labels of its evaluation clips: localisation was skipped", folder)
        return
    names = dict(zip(scored[0]["mid"], scored[0]["display_name"], strict=True))
    level = confidence(systems)
    chosen = np.sum([windows_per_class(one, strong) for one in scored], axis=0)
    table = class_table(found, strong, names, chosen, level)
    draw_hits(table, tau, glat, folder / "localisation")
    gain = gains(plain, glat, table.set_index("mid")["median_duration"])
    rho = spearmanr(gain["median_duration"], gain["gain"]).statistic if len(gain) > 2 else np.nan
    draw_gains(gain, rho, level, plain, glat, folder / "durations")
    before = provenance_columns(plain) | convergence_columns(plain)
    both = {key: value if value == before[key] else f"{before[key]} / {value}" for key, value in clips.items()}
    tables.write(gain.assign(**both), None, folder / "durations")
    over_time = _detection(params, systems, strong, level, folder)
    words = windows_markdown(table, gain, glat, tau, rho, level)
    tables.write(table.assign(**clips), f"{words}\n{over_time}", folder / "localisation")


def _detection(params: Params, systems: list[Measured], strong: pd.DataFrame, level: float, folder: Path) -> str:
    """Write the table and the figure of what scores over time find, and return them as Markdown."""
    if reason := why_not(params, systems):
        sentence = f"What scores over time find was not measured: {reason}"
        tell(sentence)
        draw_reason(sentence, folder / "detection")
        tables.write(pd.DataFrame(columns=DETECTION), None, folder / "detection")
        return f"{sentence}.\n"
    table = detection_table(params, systems, strong, level)
    draw_detection(table, level, folder / "detection")
    tables.write(table, None, folder / "detection")
    return detection_markdown(table, level)


def _skip(reason: str, folder: Path) -> None:
    for name in ("localisation", "detection", "durations"):
        draw_reason(reason, folder / name)
    tables.write(pd.DataFrame(columns=["mid"]), None, folder / "durations")
    tables.write(pd.DataFrame(columns=DETECTION), None, folder / "detection")
    tables.write(pd.DataFrame(columns=LOCALISATION), f"{reason}.\n", folder / "localisation")

"""AP gained by GL-AT, class by class, to be set against how long the sounds last."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..scoring.intervals import difference
from ..scoring.jackknife import class_estimates
from ..scoring.predictions import read_predictions
from .folds import combine_estimates
from .measured import Measured, confidence
from .verdicts import both_converged, decide, difference_columns

GAINS = [
    "mid", "display_name", "median_duration", "AP_alone", "AP_glat", "gain", "gain_low", "gain_high", "gain_p",
    "gain_p_holm", "gain_verdict", "seeds",
]  # fmt: skip


def gains(plain: Measured, glat: Measured, duration: pd.Series) -> pd.DataFrame:
    """AP with GL-AT minus AP without: one row per class that both score, with its interval over clips, folds and seeds.

    Values are means over the seeds that both have. duration: median seconds of the class's events, by mid. p is
    corrected by Holm's method over the classes (`verdicts.decide`).
    """
    seeds = [seed for seed in plain.metrics if seed in glat.metrics]
    runs = [[one.runs[seed] for seed in seeds] for one in (plain, glat)]
    scored = [[[read_predictions(run.folder / "predictions.h5") for run in of_folds] for of_folds in of] for of in runs]
    level, rows, first = confidence([plain, glat]), [], scored[0][0][0]
    for index, (mid, name) in enumerate(zip(first["mid"], first["display_name"], strict=True)):
        if mid not in duration:
            continue
        column = slice(index, index + 1)
        found = [
            [[next(class_estimates(p["target"][:, column], p["fused"][:, column])) for p in folds] for folds in of]
            for of in scored
        ]
        if not all(classwise for of in found for folds in of for classwise in folds):  # no positive
            continue
        alone, both = (
            [combine_estimates([classwise[0] for classwise in folds if classwise]) for folds in of] for of in found
        )
        row = {"mid": mid, "display_name": name, "median_duration": duration[mid]}
        row |= {"AP_alone": np.mean([ap.value for ap in alone]), "AP_glat": np.mean([ap.value for ap in both])}
        gain = difference_columns("gain", difference(both, alone, level), mid, both_converged(plain, glat))
        rows.append(row | gain | {"seeds": len(seeds)})
    return decide(rows, level).reindex(columns=GAINS)

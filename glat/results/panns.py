"""PANNs' published weights, scored on the packs and compared with their published scores: are the packs right?

Two labs that lose different clips of the same list score different subsets of it. If both lose clips at random, their
scores differ by a normal deviate of variance

    n s^2 (1/n + 1/m - 2/N)

where s is the standard deviation over sets of clips, estimated from our n clips; m is the number of clips that PANNs
scored, and N that of the list. (Each subset varies about the whole list's score, with the correction for a finite
population.) Clips are not lost at random, since whole channels vanish, so a larger difference is not yet an error. It
is compared with that of two sets drawn independently, of variance n s^2 (1/n + 1/m); clips alone hardly explain more.

A score proves nothing if few clips make the margin wide, or if a class has no positive clip, because mAP is then a mean
over fewer classes than the published one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from ..config.params import Params
from ..config.runs import read_run
from ..config.systems import System
from ..lib import layout
from ..lib.errors import GlatError
from ..scoring.intervals import variances
from ..scoring.predictions import METRICS
from . import published, tables, text
from .columns import score_columns
from .measured import Measured, confidence, estimates, read, same_clips

PUBLISHED_CLIPS, LISTED_CLIPS = 18_887, 20_371  # evaluation clips that PANNs had, and all
ROUNDING = 0.0005  # of a published score with three decimals
WIDEST = 0.01  # the widest margin within which agreement proves something: a fortieth of the published scores


class Reach(NamedTuple):
    """The difference between a score and the published one, compared with what other clips explain."""

    difference: float
    lost: float  # the largest difference that clips lost at random explain
    drawn: float  # the largest difference that another draw of clips explains
    verdict: str  # a key of `MEANING`


def reach(
    score: float, deviation: float, clips: int, printed: float, level: float = 0.95, all_classes: bool = True
) -> Reach:
    """Whether a score on `clips` clips agrees with the published score `printed`.

    deviation: standard deviation of the score over sets of clips. level: confidence. all_classes: whether each class
    has a positive clip, as for the published score.
    """
    difference, apart = score - printed, 1 / clips + 1 / PUBLISHED_CLIPS
    variance = clips * deviation**2 * np.array([apart - 2 / LISTED_CLIPS, apart])
    lost, drawn = (float(x) for x in norm.ppf((1 + level) / 2) * np.sqrt(np.maximum(variance, 0)) + ROUNDING)
    if not all_classes:
        verdict = "too few clips"
    elif abs(difference) > drawn:
        verdict = "out of reach"
    elif lost > WIDEST:
        verdict = "too few clips"
    else:
        verdict = "in reach" if abs(difference) <= lost else "undecided"
    return Reach(difference, lost, drawn, verdict)


MEANING = {
    "in reach": "lost clips explain the difference, so these evaluation clips are what the weights expect",
    "undecided": "clips lost at random do not explain the difference, but another set of clips would; score the clips "
    "of a known set (evaluation.only) before you trust the data",
    "too few clips": "these clips can't tell whether the data are right; evaluate AudioSet's whole evaluation set",
    "out of reach": "other clips do not explain the difference; look for audio that was cut, resampled, scaled or "
    "labelled differently",
}


def read_scores(params: Params, backbone: str, file: Path | None = None) -> Measured:
    """The scores of PANNs' weights of a backbone on our packs: the weights in params.yaml, or in `file`.

    Raises:
        GlatError: these weights were not evaluated, or others were in their place.
    """
    folder = layout.run(params.dataset, layout.published_run(backbone))
    if not (folder / "metrics.json").exists():
        raise GlatError(f"{folder}/metrics.json: no such file; `glat weights {backbone}` makes it")
    run, requested = read_run(folder / "config.yaml"), str(file or params.weights[backbone].path)
    if run.init["global"] != requested:
        other = f"evaluated {run.init['global']}, not {requested}"
        raise GlatError(f"{folder}: {other}; `glat weights {backbone}` evaluates the latter")
    return read(System(f"{run.entry.title}, PANNs' weights", [run]))


def row_of(one: Measured) -> dict[str, Any]:
    """One row of the table: `columns.score_columns`, the published scores, and the `reach` of mAP."""
    backbone, row = one.first["backbone"], {"method": one.system.label, "backbone": one.first["backbone"]}
    row |= score_columns(one) | {"classes": one.first["classes"]}
    printed = published.ORIGINAL[backbone]
    row |= {f"published_{metric}": getattr(printed, metric) for metric in METRICS}
    row["published_clips"] = PUBLISHED_CLIPS
    deviation, complete = variances(estimates(one, "mAP")).clips ** 0.5, row["classes_scored"] == row["classes"]
    found = reach(row["mAP"], deviation, row["evaluation_clips"], printed.mAP, confidence([one]), complete)
    return row | found._asdict()


def sentence(row: dict[str, Any]) -> str:
    """A row of the table in words."""
    result = (
        f"{row['method']}: mAP {row['mAP']:.4f} on {row['evaluation_clips']} clips, {row['difference']:+.4f} from the "
        f"published {row['published_mAP']:.3f} on {PUBLISHED_CLIPS}; clips lost at random explain up to "
        f"{row['lost']:.4f}, another draw of clips {row['drawn']:.4f}. {row['verdict'].capitalize()}: "
        f"{MEANING[row['verdict']]}."
    )
    if row["classes_scored"] < row["classes"]:
        result += (
            f" {row['classes'] - row['classes_scored']} classes have no positive among these clips and are left out "
            "of the mean, which changes it."
        )
    return result


def markdown(rows: list[dict[str, Any]], level: float) -> str:
    """The table as a Markdown page with a sentence on each row."""
    header = ["Weights", "mAP", "published", "mAUC", "published", "d′", "published", "verdict"]
    lines = []
    for row in rows:
        scores = [cell for m in METRICS for cell in (text.score(row, m), text.number(row[f"published_{m}"]))]
        lines.append([row["method"], *scores, row["verdict"]])
    parts = [
        f"# PANNs' weights on `{rows[0]['dataset']}`",
        f"In brackets: the {level:.0%} interval over clips. {text.provenance(rows)}",
        text.markdown(header, lines).rstrip(),
        "These weights were published without a training curve, so whether their training had converged is unknown.",
        *(sentence(row) for row in rows),
    ]
    return "\n\n".join(parts) + "\n"


def write(params: Params, folder: Path) -> None:
    """Write panns.csv and panns.md into `folder`, for the weights that params.yaml names.

    Raises:
        GlatError: weights that were not evaluated, or that were evaluated on different clips.
    """
    found = [read_scores(params, backbone) for backbone in params.weights]
    if not found:
        what = "the address or path of a checkpoint of PANNs, by backbone"
        raise GlatError(f"weights: params.yaml names none; write {what}")
    same_clips(found)
    rows = [row_of(one) for one in found]
    tables.write(pd.DataFrame(rows), markdown(rows, confidence(found)), folder / "panns")

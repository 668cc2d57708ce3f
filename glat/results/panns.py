"""PANNs' published weights, scored here, beside their published scores: are the packed evaluation clips the real thing?

Two labs that lose different clips of the same list score different subsets of it. If both lose clips at random, the
scores differ by a normal deviate of variance

    n s^2 (1/n + 1/m - 2/N)

where s is the standard deviation over sets of clips, from our n, m the clips that PANNs scored, and N those that the
list has: each subset varies about the whole list's score with the finite population's correction. Clips are not lost at
random (whole channels vanish), so a difference beyond that is not yet an error: it is judged against two lists that
were drawn independently, of variance n s^2 (1/n + 1/m), beyond which clips alone hardly explain it.

A score proves nothing where few clips make that margin wide, or where a class has no positive clip: mAP is then a mean
over other classes than the published one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from ..config.experiments import System
from ..config.params import Params
from ..config.runs import read_run
from ..lib.errors import GlatError
from ..models.registry import BACKBONES
from ..scoring.intervals import variances
from ..scoring.predictions import METRICS
from ..use.weights import place
from . import published, tables, text
from .measured import Measured, confidence, estimates, read, same_clips, score_columns

PUBLISHED_CLIPS, LISTED_CLIPS = 18_887, 20_371  # of the evaluation set: those that PANNs had, and all
ROUNDING = 0.0005  # of a published score, of three decimals
WIDEST = 0.01  # margin within which agreement proves something: a fortieth of the published scores


class Reach(NamedTuple):
    """How far a score lies from the published one, and how far other clips take it."""

    difference: float
    lost: float  # the largest difference that clips lost at random explain
    drawn: float  # the largest difference that another draw of clips explains
    verdict: str  # a key of `MEANING`


def reach(
    score: float, deviation: float, clips: int, printed: float, level: float = 0.95, all_classes: bool = True
) -> Reach:
    """Whether a score on `clips` clips, whose standard deviation over sets of clips is `deviation`, agrees with the
    printed one.

    all_classes: whether each class has a positive clip, as in the published score.
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
    "in reach": "no more than lost clips explain: these evaluation clips are what the weights expect",
    "undecided": "more than clips lost at random explain, but not more than another set of clips would: score it on "
    "the clips of a set that is known (evaluation.only) before trusting the data",
    "too few clips": "these can't tell whether the data are right; evaluate AudioSet's whole evaluation set",
    "out of reach": "more than other clips explain: look for audio that was cut, resampled, scaled or labelled "
    "otherwise",
}


def measured(params: Params, backbone: str, file: Path | None = None) -> Measured:
    """What PANNs' weights of a backbone scored here: those of params.yaml, or of `file`.

    Raises:
        GlatError: weights that were not evaluated yet, or others in their place.
    """
    folder = Path("runs") / params.dataset / f"{backbone}-panns"
    if not (folder / "metrics.json").exists():
        raise GlatError(f"{folder}/metrics.json: no such file; `glat weights {backbone}` makes it")
    run, asked = read_run(folder / "config.yaml"), str(file or place(params.weights[backbone]))
    if run.init["global"] != asked:
        raise GlatError(f"{folder}: of {run.init['global']}, not of {asked}; `glat weights {backbone}` scores that")
    return read(System(f"{BACKBONES[backbone].title}, PANNs' weights", [run]))


def row_of(one: Measured) -> dict[str, Any]:
    """One row of the table: `measured.score_columns`, the published scores, and `reach` of mAP."""
    backbone, row = one.first["backbone"], {"method": one.system.label, "backbone": one.first["backbone"]}
    row |= score_columns(one) | {"classes": one.first["classes"]}
    printed = published.ORIGINAL[backbone]
    row |= {f"published_{metric}": getattr(printed, metric) for metric in METRICS} | {
        "published_clips": PUBLISHED_CLIPS
    }
    deviation = variances(estimates(one, "mAP")).clips ** 0.5
    found = reach(
        row["mAP"],
        deviation,
        row["evaluation_clips"],
        printed.mAP,
        confidence([one]),
        row["classes_scored"] == row["classes"],
    )
    return row | found._asdict()


def sentence(row: dict[str, Any]) -> str:
    """What came out, in words."""
    said = (
        f"{row['method']}: mAP {row['mAP']:.4f} on {row['evaluation_clips']} clips, {row['difference']:+.4f} from the "
        f"published {row['published_mAP']:.3f} on {PUBLISHED_CLIPS}; clips lost at random explain up to "
        f"{row['lost']:.4f}, another draw of clips {row['drawn']:.4f}. "
        f"{row['verdict'].capitalize()}: {MEANING[row['verdict']]}."
    )
    if row["classes_scored"] < row["classes"]:
        said += (
            f" {row['classes'] - row['classes_scored']} classes have no positive among these clips and are left out of "
            "the mean, which alone moves it."
        )
    return said


def markdown(rows: list[dict[str, Any]], level: float) -> str:
    """The table with what it means."""
    header = ["Weights", "mAP", "published", "mAUC", "published", "d′", "published", "verdict"]
    lines = []
    for row in rows:
        scores = [cell for m in METRICS for cell in (text.score(row, m), text.number(row[f"published_{m}"]))]
        lines.append([row["method"], *scores, row["verdict"]])
    told = [
        f"# PANNs' weights on `{rows[0]['dataset']}`",
        f"In brackets: the {level:.0%} interval over clips. {text.behind(rows)}",
        text.markdown(header, lines).rstrip(),
        "They were published without their training's curve: whether it had converged can't be judged here.",
        *(sentence(row) for row in rows),
    ]
    return "\n\n".join(told) + "\n"


def write(params: Params, folder: Path) -> None:
    """Write panns.csv and panns.md into `folder`, of the weights that params.yaml names.

    Raises:
        GlatError: weights that were not evaluated, or not on the same clips.
    """
    found = [measured(params, backbone) for backbone in params.weights]
    if not found:
        raise GlatError("weights: params.yaml names none; give the address or path of PANNs' checkpoint of a backbone")
    same_clips(found)
    rows = [row_of(one) for one in found]
    tables.write(pd.DataFrame(rows), markdown(rows, confidence(found)), folder / "panns")

"""Localisation as Markdown: the windows by class, and what streams find over time."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..lib.escaping import markdown as escaped
from ..training.convergence import NO_VERDICT
from . import text
from .columns import convergence_columns, provenance_columns
from .measured import Measured
from .verdicts import ONE_SEED

# The measures of sound event detection as a table shows them, in its order.
MEASURES = {
    "psds1": "PSDS1", "psds1_macro": "PSDS1, alpha_st = 0", "segment_auroc": "AUROC, 1 s, FPR to 0.1", "f1": "F1 at 0.5",
    "f1_best": "F1, best thresholds", "framed_auroc": "framed AUROC", "framed_d_prime": "framed d′",
}  # fmt: skip
_STREAMS = {"global": ", global stream", "local": ", local stream", "fused": ", both"}


def label(one: Measured) -> str:
    """A system's name with the mark of a training that had not converged."""
    return text.with_mark(one.system.label, convergence_columns(one))


def column_name(row: dict[str, Any]) -> str:
    """What a row of the table of detection is of, as in "CNN10 + GL-AT, local stream"."""
    return str(row["method"]) + ("" if row["windows"] != "attention" else _STREAMS[row["stream"]])


def windows_markdown(
    table: pd.DataFrame, gain: pd.DataFrame, glat: Measured, tau: float, rho: float, level: float
) -> str:
    """The localisation as a Markdown table with an explanation of its columns."""
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
        "all windows selected for it", "hit", "random", "covered", "random",
    ]  # fmt: skip
    what = f"""Means over {len(glat.metrics)} run(s), for the windows of {tau:g} s that were selected for a class:

- windows in clips of the class: the number of such windows in clips that contain the class, over all runs;
- hit: the share of them that overlaps an event of the class [{level:.0%} interval over clips and runs];
- centre error: the mean distance from a window's centre to the centre of the nearest such event;
- all windows selected for it: the number of such windows in all clips. Most of these clips lack the class, since each
  clip gets N windows whatever it contains, so few of these windows can hit;
- covered: the share of the clips with the class in which any window, selected for whatever class, overlaps an event
  of it;
- random: the value to its left, for windows that are anywhere in the same clips with equal probability."""
    mark = {"method": glat.system.label} | convergence_columns(glat)
    parts = [
        f"# Where {label(glat)} listens, on `{glat.first['dataset']}`",
        what,
        text.provenance([provenance_columns(glat)]),
        text.markdown(header, lines).rstrip(),
        (
            f"AP gain against event duration, over {len(gain)} classes: Spearman's rho = {text.number(rho, 2)}. "
            f"{_class_verdicts(gain)}"
        ),
        *text.mark_notes([mark]),
    ]
    return "\n\n".join(parts) + "\n"


def _class_verdicts(gain: pd.DataFrame) -> str:
    """The classes whose AP is higher or lower, by p corrected for their number, or why there is no verdict."""
    for reason in (ONE_SEED, NO_VERDICT):
        if not len(gain) or (gain["gain_verdict"] == reason).all():
            return f"Single classes: {reason}."
    counts = []
    for verdict in ("higher", "lower"):
        classes = gain.loc[gain["gain_verdict"] == verdict, "display_name"].tolist()
        counts.append(f"{verdict} in {len(classes)}" + (f" ({', '.join(classes)})" if 0 < len(classes) <= 10 else ""))
    return f"AP is {' and '.join(counts)} of them, by p corrected for their number (Holm); the others are undecided."


def detection_markdown(table: pd.DataFrame, level: float) -> str:
    """The measures of sound event detection, a row a stream, with what they are."""
    rows = table.to_dict("records")
    names = [name for name in MEASURES if name in set(table["measure"])]
    lines = []
    for name in dict.fromkeys(map(column_name, rows)):
        of = {row["measure"]: row for row in rows if column_name(row) == name}
        lines.append([text.with_mark(name, of["psds1"]), *(_value(of[measure]) for measure in names)])
    first = rows[0]
    what = (
        f"Scores over time against the strong labels of {first['clips']} clips, {first['classes']} classes and "
        f"{first['events']} events, by sed_scores_eval; means over {first['seeds']} run(s) [{level:.0%} interval by "
        f"{first['resamples']} resamples of clips, and over runs]; in round brackets, the difference from the backbone alone, "
        "by the same resamples. What each measure is: docs/localisation.md."
    )
    parts = ["## When each sound is heard", what]
    if framed := [row for row in rows if row["measure"] == "framed_auroc"]:
        parts.append(
            f"Framed labels: {framed[0]['clips']} clips, {framed[0]['classes']} classes with pieces of both kinds."
        )
    parts += [text.markdown(["Scores of", *(MEASURES[name] for name in names)], lines).rstrip()]
    return "\n\n".join([*parts, *text.mark_notes([row for row in rows if row["measure"] == "psds1"])]) + "\n"


def _value(row: dict[str, Any]) -> str:
    """A measure [interval] (its difference [interval]); of what has no interval (`bootstrap`), the number alone."""
    shown = f"{text.number(row['value'])}{_ends(row['low'], row['high'], '.3f')}"
    if pd.isna(row["minus_alone"]):
        return shown
    return f"{shown} ({row['minus_alone']:+.3f}{_ends(row['minus_alone_low'], row['minus_alone_high'], '+.3f')})"


def _ends(low: float, high: float, form: str) -> str:
    return "" if pd.isna(low) else f" [{low:{form}}, {high:{form}}]"

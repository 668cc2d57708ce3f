"""Thresholds of each class, chosen on labelled clips: by the best F1, or by a precision that is wanted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..lib.documents import read_json
from ..lib.errors import GlatError
from ..lib.files import whole

FILE = "thresholds.json"
VERSION = 1
DEFAULT = 0.5  # of a class that no clip could choose one for, and where none are asked for
NEVER = 2.0  # over any score: of a class that never has the precision that is wanted


class Choice(NamedTuple):
    """The threshold of each class (L,), and what a decision by it has on the clips that it was chosen by. NaN where no clip
    has the class, and where no threshold has the precision that is wanted."""

    threshold: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def choose(target: np.ndarray, scores: np.ndarray, precision: float | None = None) -> Choice:
    """Thresholds t of a decision `score >= t`, by clips' labels (clips, L) bool and scores (clips, L).

    precision: of the thresholds that have it on these clips, the one of the highest recall; None: the one of the highest F1.
    Of equal ones, the highest. A threshold lies half-way between the lowest score that it takes and the next one below.
    """
    clips, classes = target.shape
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked = np.take_along_axis(scores, order, 0).astype(float)  # (clips, L), descending
    hits = np.take_along_axis(target, order, 0).cumsum(0)  # true positives of the first k
    positives = target.sum(0)
    taken = np.arange(1, clips + 1)[:, None]
    below = np.concatenate([ranked[1:], np.zeros((1, classes))])
    with np.errstate(invalid="ignore", divide="ignore"):
        precisions, recalls = hits / taken, hits / positives
        f1 = 2 * hits / (taken + positives)
    allowed = (ranked > below) | (np.arange(clips)[:, None] == clips - 1)  # between equal scores there is no threshold
    if precision is None:
        merit = f1
    else:
        allowed &= (precisions >= precision) & (hits > 0)
        merit = recalls
    merit = np.where(allowed, merit, -1.0)
    best = merit.argmax(0)  # (L,)
    column = np.arange(classes)
    found = Choice(*(a[best, column].copy() for a in ((ranked + below) / 2, precisions, recalls, f1)))
    for values in found:
        values[(positives == 0) | (merit[best, column] < 0)] = np.nan
    return found


class Thresholds(NamedTuple):
    """What a run's thresholds.json holds, for its L classes. A class without a threshold has `DEFAULT` where no clip had it,
    and `NEVER` where none has the wanted precision."""

    tags: np.ndarray  # (L,) of scores of clips
    events: np.ndarray  # (L,) of filtered scores over time, for an event to begin
    median: float  # seconds of that filter
    lacking: int  # classes of which no clip had a label


def write(
    path: Path, labels: list[dict[str, str]], positives: np.ndarray, found: dict[str, Choice], facts: dict[str, Any]
) -> None:
    """Write thresholds.json: of each class, its labelled clips and the `Choice` of "tags" and "events"; facts: how they were
    chosen, `median` and `checkpoint` among it."""
    classes = []
    for index, one in enumerate(labels):
        row: dict[str, Any] = {"mid": one["mid"], "display_name": one["display_name"], "clips": int(positives[index])}
        for name, choice in found.items():
            numbers = {key: float(values[index]) for key, values in choice._asdict().items()}
            # Not rounded: sure scores lie close together, and clips would change sides.
            row[name] = {key: None if np.isnan(value) else value for key, value in numbers.items()}
        classes.append(row)
    with whole(path) as part:
        part.write_text(json.dumps({"version": VERSION, **facts, "classes": classes}, indent=1) + "\n")


def read(path: Path, mids: list[str], checkpoint: str, again: str = "") -> Thresholds:
    """Read them, for the classes `mids` of a network whose checkpoint.pt has the digest `checkpoint`. again: how to make them.

    Raises:
        GlatError: there is no such file, it is damaged, or it is of another network.
    """
    again = again or f"`glat calibrate {path.parent}` makes it"
    content = read_json(path, f"no thresholds were calibrated; {again}", again)
    try:
        if content["version"] != VERSION:
            raise GlatError(f"{path}: of version {content['version']}, expected {VERSION}; {again}")
        classes, positives = content["classes"], np.array([one["clips"] for one in content["classes"]], int)
        if [one["mid"] for one in classes] != mids or checkpoint != content["checkpoint"]:
            raise GlatError(f"{path}: calibrated for another network than the one beside it; {again}")
        values = {name: _values(classes, name, positives) for name in ("tags", "events")}
        if not 0 <= (median := float(content["median"])) < 3600:
            raise ValueError("median")
    except (LookupError, TypeError, ValueError, ArithmeticError):
        raise GlatError(f"{path}: damaged; {again}") from None
    return Thresholds(**values, median=median, lacking=int((positives == 0).sum()))


def _values(classes: list[dict[str, Any]], name: str, positives: np.ndarray) -> np.ndarray:
    given = [one[name]["threshold"] for one in classes]
    found = np.array([np.nan if value is None else float(value) for value in given])
    if ((found < 0) | (found > 1)).any():
        raise ValueError(name)
    return np.where(np.isnan(found), np.where(positives == 0, DEFAULT, NEVER), found)

"""How well scores over time find events: the measures of sound event detection of each stream, with intervals."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from importlib.util import find_spec
from itertools import chain
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..config.experiments import runs_with_frames
from ..config.params import Params
from ..config.runs import Run
from ..lib.errors import GlatError
from ..scoring import detection, framed
from ..scoring.bootstrap import bounded, clip_weights, spread
from ..scoring.frames import FRAMES, Clip, Frames
from ..scoring.resampled import resample
from ..scoring.strong import framed_labels
from .columns import convergence_columns, provenance_columns
from .measured import Measured

DETECTION = ["method", "windows", "stream", "measure", "value", "low", "high", "minus_alone", "minus_alone_low",
             "minus_alone_high", "clips", "classes", "events", "resamples", "seeds"]  # fmt: skip
UNBOUNDED = ("framed_d_prime",)


class Shown(NamedTuple):
    """One column of the comparison: a system's stream."""

    one: Measured
    windows: str  # "none", "attention" or another selection
    stream: str


class Found(NamedTuple):
    """One measure of one system: by seed, and in resamples of clips, (S,) and (S, R)."""

    by_seed: np.ndarray
    draws: np.ndarray


def shown(systems: list[Measured]) -> list[Shown]:
    """The backbone alone; GL-AT's global stream, local stream and both; and GL-AT with random windows, where it is there."""
    plain, glat, *others = systems
    found = [
        Shown(plain, "none", "fused"),
        *(Shown(glat, "attention", stream) for stream in ("global", "local", "fused")),
    ]
    return found + [Shown(one, "random", "fused") for one in others]


def why_not(params: Params, systems: list[Measured]) -> str:
    """Why there is nothing to measure, as a sentence; empty if there is."""
    kept = set(runs_with_frames(params))
    if not all(run.name in kept for one in systems for run in one.system.runs):
        return f"the scores over time were not kept (localisation.frames: {params.localisation.frames})"
    for one in systems:
        for run in chain.from_iterable(one.runs.values()):
            if not (run.folder / FRAMES).exists():
                return f"{run.folder / FRAMES} is not there; evaluate the run again"
    if not find_spec("sed_scores_eval"):
        return "sed_scores_eval is not installed: pip install 'glat[sed]'"
    return ""


def detection_table(params: Params, systems: list[Measured], strong: pd.DataFrame, level: float) -> pd.DataFrame:
    """One row a system and measure (`DETECTION`, and where each system comes from): the mean over seeds and its interval, and
    the same of the difference from the backbone alone, by the same resamples of clips.

    systems: as `experiments.localisation` has them, read and of the same clips.
    """
    pieces = framed_labels(params)
    columns, rows, alone = shown(systems), [], dict[str, Found]()
    for number, column in enumerate(columns):
        found, facts = _measure(column, strong, pieces, params.localisation.resamples)
        alone = alone or found
        where = provenance_columns(column.one) | convergence_columns(column.one)
        for name, one in found.items():
            value = (spread if name in UNBOUNDED else bounded)(one.by_seed, one.draws, level)
            row = {
                "method": column.one.system.label,
                "windows": column.windows,
                "stream": column.stream,
                "measure": name,
            }
            row |= value._asdict() | dict.fromkeys(DETECTION[7:10], np.nan)
            if (
                number
                and list(column.one.metrics) == list(columns[0].one.metrics)
                and len(one.by_seed) == len(alone[name].by_seed)
            ):
                apart = spread(one.by_seed - alone[name].by_seed, one.draws - alone[name].draws, level)
                row |= {"minus_alone": apart.value, "minus_alone_low": apart.low, "minus_alone_high": apart.high}
            rows.append(row | facts[name] | {"resamples": one.draws.shape[1], "seeds": len(one.by_seed)} | where)
    return pd.DataFrame(rows)


def _measure(
    column: Shown, strong: pd.DataFrame, pieces: pd.DataFrame, resamples: int
) -> tuple[dict[str, Found], dict[str, dict[str, int]]]:
    """The measures of one column, and of each the number of clips, classes and events (of framed labels: pieces)."""
    values: dict[str, list[float]] = {}
    draws: dict[str, list[np.ndarray]] = {}
    facts: dict[str, dict[str, int]] = {}

    def add(name: str, value: float, drawn: np.ndarray, fact: dict[str, int]) -> None:
        values.setdefault(name, []).append(value)
        draws.setdefault(name, []).append(drawn)
        facts[name] = fact

    for runs in column.one.runs.values():
        files = [_frames(run) for run in runs]
        mids, names = files[0].mid, [name for one in files for name in one.clip]
        events = detection.true_events(strong, names, mids)
        found = detection.detect(_clips(files, events), mids, events, column.stream)
        weights = clip_weights(resamples, len(found.seconds))
        exact, drawn = detection.measure(found), resample(found, weights)
        fact = {"clips": len(found.seconds), "classes": len(found.classes), "events": int(found.events.sum())}
        for name, value in exact.items():
            add(name, value, drawn[name], fact)
        heard = {name: number for number, name in enumerate(name for name in names if name in set(pieces["clip"]))}
        if points := framed.framed_points(_clips(files, heard), heard, mids, pieces, column.stream):
            once = framed.framed_measures(points, np.ones((1, len(heard))))
            drawn = framed.framed_measures(points, clip_weights(resamples, len(heard)))
            fact = {"clips": len(heard), "classes": len(points), "events": sum(int(of.tp.sum()) for of in points)}
            for name, single in once.items():
                add(name, float(single[0]), drawn[name], fact)
    return {name: Found(np.array(values[name]), np.array(draws[name])) for name in values}, facts


def _frames(run: Run) -> Frames:
    """A run's scores over time. Raises GlatError if they are not those of its evaluation."""
    frames = Frames(run.folder / FRAMES)
    names = (run.folder / "clips.txt").read_text().split("\n")
    if sorted(frames.clip) != sorted(filter(None, names)):
        raise GlatError(f"{frames.path}: not of the clips that clips.txt beside it lists; evaluate the run again")
    return frames


def _clips(files: list[Frames], names: Collection[str]) -> Iterator[Clip]:
    for frames in files:
        yield from frames.read([row for row, name in enumerate(frames.clip) if name in names])

"""`glat calibrate`: thresholds of each class for one run, chosen on clips that it was not trained on, kept in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config.params import Params
from ..config.runs import Run, check_splits, split_packs
from ..data.packs.read import Packs
from ..lib.errors import GlatError, tell, warn
from ..lib.files import digest
from ..scoring.parts import pool_parts
from ..scoring.predict import batches, check_finite
from . import thresholds
from .events import MedianFilter, odd_steps
from .hearing import BATCH
from .options import MEDIAN
from .overlaps import Steps
from .tagging import RunTagger, load


def splits_of(params: Params, run: Run, asked: Sequence[str] = ()) -> tuple[list[str], str]:
    """The splits to calibrate a run on, and what they are to it: "validation", "evaluation", "training" or "unused".

    Without `asked`, those of `validate`. Raises GlatError where there are none, or no such split: thresholds are not chosen on
    clips that score the run, or that trained it, unless somebody names them.
    """
    entry = params.datasets[run.dataset]
    check_splits(params, run.dataset, list(asked))
    splits = list(asked) or entry.validation
    if not splits:
        raise GlatError(
            f"datasets.{run.dataset} has no splits of `validate` to choose thresholds on; give it some in params.yaml, or name "
            f"a split with --split: thresholds chosen on clips of {entry.training_splits(run.fold)[0]}, which the run was "
            f"trained on, are too high, and on {entry.evaluation_splits(run.fold)[0]}, its scores there are no test of them"
        )
    roles = {"training": entry.training_splits(run.fold), "evaluation": entry.evaluation_splits(run.fold)}
    for role, names in roles.items():
        if set(splits) & set(names):
            return splits, role
    return splits, "validation" if set(splits) <= set(entry.validation) else "unused"


def calibrate(
    folder: Path, params: Params, asked: Sequence[str] = (), precision: float | None = None, median: float = MEDIAN
) -> Path:
    """Write `thresholds.json` of the run in a folder; returns its path.

    A clip's threshold is chosen on scores of clips; that of events on each clip's highest score over time behind the median
    filter of `median` seconds, so that a clip has an event where it has the label. precision: see `thresholds.choose`. Of a
    recording that is longer than a clip, the clip with the highest score counts.

    Raises:
        GlatError: the run or a pack can't be read, they don't fit together, or there are no clips to choose by.
    """
    tagger = load(folder)
    run, path = tagger.run, folder / thresholds.FILE
    if run.dataset not in params.datasets:
        raise GlatError(f"{folder}: trained on {run.dataset}, which is not one of the datasets of params.yaml")
    splits, role = splits_of(params, run, asked)
    named = f"{path}: {' and '.join(splits)}"
    if role == "training":
        warn(f"{named}: the run was trained on these clips and knows them: its thresholds will be too high for others")
    if role == "evaluation":
        warn(f"{named}: the run is evaluated on these clips: what is decided by these thresholds has no test on them")
    packs = Packs(split_packs(params, run.dataset, splits))
    classes = [dict(one) for one in packs.classes[["mid", "display_name"]].to_dict("records")]
    if [one["mid"] for one in classes] != tagger.mids or packs.sample_rate != tagger.sample_rate:
        raise GlatError(
            f"{packs.paths[0]}: its classes or its rate are not those of {folder}; calibrate on {run.dataset}"
        )
    target = packs.labels.dense(np.arange(len(packs))).astype(bool)
    scores = _scores(tagger, packs, median)
    found = {name: thresholds.choose(target, of, precision) for name, of in scores.items()}
    facts: dict[str, Any] = {
        "checkpoint": digest(folder / "checkpoint.pt"),
        "splits": splits,
        "role": role,
        "clips": len(packs),
        "aim": "F1" if precision is None else {"precision": precision},
        "median": median,
    }
    positives = target.sum(0)
    thresholds.write(path, classes, positives, found, facts)
    tell(f"{path}: chosen on {len(packs)} clips of {' and '.join(splits)} ({role}){_lacking(positives, found)}")
    return path


def _lacking(positives: np.ndarray, found: dict[str, thresholds.Choice]) -> str:
    """How many classes have no threshold, as the end of a sentence."""
    parts = []
    if none := int((positives == 0).sum()):
        parts.append(f"{none} classes are on no clip and keep {thresholds.DEFAULT:g}")
    for name, choice in found.items():
        if never := int((np.isnan(choice.threshold) & (positives > 0)).sum()):
            parts.append(f"{never} never have the wanted precision, so that none of their {name} are told")
    return f"; of {len(positives)} classes, {', '.join(parts)}" if parts else ""


def _scores(tagger: RunTagger, packs: Packs, median: float) -> dict[str, np.ndarray]:
    """Of each clip (clips, L): "tags", its scores, and "events", the highest over time of the filtered ones."""
    device = next(tagger.network.parameters()).device.type
    clip, offset = packs.parts(np.arange(len(packs)))
    parts: dict[str, list[np.ndarray]] = {"tags": [], "events": []}
    how: dict[str, Any] = {"title": "calibrate", "device": device, "seed": tagger.seed}
    with torch.inference_mode():
        for batch in batches(packs, clip, offset, BATCH[device], **how):
            streams, timeline = tagger.network.timeline(batch.waveform, batch.draw())
            check_finite(streams.fused, batch)
            parts["tags"].append(streams.fused.cpu().numpy())
            steps = Steps(timeline.frame, packs.clip_seconds, packs.clip_seconds)
            width = odd_steps(median, steps.seconds)
            over_time = timeline.fused.cpu().numpy()  # (B, T, L)
            parts["events"].append(np.stack([_highest(steps.spread(one, 0.0)[1], width) for one in over_time]))
    return {name: pool_parts(np.concatenate(values), clip, "maximum") for name, values in parts.items()}


def _highest(scores: np.ndarray, width: int) -> np.ndarray:
    """(n, L) -> (L,) the highest median over `width` steps."""
    smooth = MedianFilter(width)
    parts = [part for part in (smooth.add(scores), smooth.end()) if len(part)]
    return np.concatenate(parts).max(0)

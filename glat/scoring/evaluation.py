"""Evaluating a trained run: predictions of both streams and their fusion, kept, and the metrics computed from them."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from ..config.runs import Run, read_run
from ..config.settings import Evaluation
from ..config.training import Execution
from ..data.packs.read import Packs
from ..lib import hardware
from ..lib.errors import GlatError, tell
from ..lib.files import remove, whole
from ..lib.layout import METRICS
from ..lib.provenance import maker
from ..training import checkpoints, convergence
from .cost import Stopwatch, multiply_adds
from .frames import FRAMES, frame_writer
from .jackknife import accuracy
from .manifest import MANIFEST, choose, write_manifest
from .predict import predict
from .predictions import STREAMS, VERSION, Influence, clips_hash, write_influence, write_predictions
from .stream_metrics import jackknife_by_class, per_class, score


def evaluate(
    checkpoint: Path,
    packs: list[str],
    settings: Evaluation,
    folder: Path,
    *,
    execution: Execution = Execution(),  # noqa: B008 - it is frozen
    threads: int | None = None,
    frames: bool = False,
) -> None:
    """Evaluate a checkpoint on packs.

    Writes `predictions.h5`, `influence.npz`, `per_class.csv`, `clips.txt` (the names of the clips:
    `glat.scoring.manifest`) and `metrics.json` into `folder`. With `settings.only`, only the clips that it lists count.
    execution: on what, and how precisely; weights that were trained elsewhere are scored in float32, as they were published.
    frames: whether to keep the scores over time, in `frames.h5` (`glat.scoring.frames`); that of an earlier evaluation goes.

    metrics.json is written last: where it is, the evaluation is complete.

    Raises:
        GlatError: a checkpoint or pack that can't be read, a list that names none of the packs' clips, a checkpoint of
            another run than config.yaml beside it, or classes and rate that differ between checkpoint and pack.
    """
    hardware.use_threads(threads)
    made, corpus = _open(checkpoint, packs, folder)
    only = choose(corpus.clips, settings.only) if settings.only else None
    if only:
        tell(only.sentence)
    heard = only.indices if only else np.arange(len(corpus))
    clips, target = corpus.clips[heard], corpus.labels.dense(heard)
    accelerator = hardware.accelerator(execution.accelerator)
    precision = hardware.precision("float32" if made.run.published else execution.precision, accelerator)
    device = "cuda" if accelerator == "gpu" else "cpu"
    how: dict[str, Any] = {"batch_size": settings.batch_size, "device": device, "precision": precision}
    how |= {"seed": settings.seed, "only": heard, "workers": execution.workers, "pool": settings.pool}
    for name in (METRICS, FRAMES):  # of an earlier evaluation: they do not fit what is written now
        remove(folder / name)
    with frame_writer(folder / FRAMES) if frames else nullcontext() as keep:
        predictions, seconds = predict(made.tagger, corpus, **how, keep=keep)
        if keep:
            keep.finish(corpus, heard)
    found, classwise = {}, {}
    for name in STREAMS:
        if name in predictions:
            found[name], classwise[name] = jackknife_by_class(target, predictions[name], settings.confidence)
    right = {name: one for name in found if (one := accuracy(target, predictions[name])) is not None}
    same = clips_hash(clips, target)
    parts = len(corpus.parts(heard)[0]) / len(heard)
    metrics = _run_facts(made, folder) | {
        "clips": len(clips),
        "clips_hash": same,
        "manifest": {"file": MANIFEST, "sha256": write_manifest(folder / MANIFEST, clips)},
        "only": only.facts if only else None,
        "classes": len(made.classes),
        "classes_scored": int(target.any(0).sum()),
        "collapsed": bool(np.ptp(predictions["fused"], axis=0).max() < 1e-6),
        "streams": score(found, settings.confidence, right),
        "cost": {
            "multiply_adds_per_clip": multiply_adds(made.tagger, corpus.clip_seconds) * parts,
            "seconds_per_clip": seconds,
            "clock": Stopwatch(device).clock,
        },
        "evaluation": settings.model_dump(),
        "precision": precision,
    }
    write_predictions(folder / "predictions.h5", predictions, clips, target, corpus.classes)
    write_influence(folder / "influence.npz", Influence(same, found, right))
    with whole(folder / "per_class.csv") as part:
        per_class(target, classwise, corpus.classes).to_csv(part, index=False, float_format="%.6f")
    with whole(folder / METRICS) as part:
        part.write_text(json.dumps(metrics | maker(accelerator), indent=1) + "\n")


def _open(checkpoint: Path, packs: list[str], folder: Path) -> tuple[checkpoints.Checkpoint, Packs]:
    """A finished training and the packs to score it on, which fit each other and what the folder's config.yaml asks for."""
    made = checkpoints.restore(checkpoint)
    if (folder / "config.yaml").exists():
        _same_run(made.run, read_run(folder / "config.yaml"), checkpoint)
    corpus = Packs(packs)
    if list(corpus.classes["mid"]) != [one["mid"] for one in made.classes]:
        raise GlatError(
            f"{packs[0]}: its class list is not that of {checkpoint}; evaluate on a pack of {made.run.dataset}"
        )
    if (rate := made.run.audio.sample_rate) != corpus.sample_rate:
        raise GlatError(f"{packs[0]}: {corpus.sample_rate} Hz, but {checkpoint} was trained at {rate} Hz")
    return made, corpus


def _same_run(made: Run, asked: Run, checkpoint: Path) -> None:
    """Raise GlatError unless a checkpoint is of the run that its folder's config.yaml asks for."""
    for key, wanted in asked.model_dump().items():
        if (found := getattr(made, key)) != getattr(asked, key):
            raise GlatError(f"{checkpoint}: trained with {key} {found}, but config.yaml says {wanted}; train it again")


def _run_facts(made: checkpoints.Checkpoint, folder: Path) -> dict[str, Any]:
    """What metrics.json says of the run itself."""
    run = made.run
    return {
        "version": VERSION,
        "run": run.name,
        "dataset": run.dataset,
        "backbone": run.backbone,
        "glat": run.glat.model_dump() if run.glat else None,
        "seed": run.seed,
        "steps": run.training.steps,
        "selected": made.selected,
        "parameters": made.tagger.parameter_count(),
        "convergence": convergence.judge(run, folder),
        "checkpoint": made.digest,
        "trained": made.trained,
    }

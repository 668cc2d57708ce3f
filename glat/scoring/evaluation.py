"""Evaluating a trained run: predictions of both streams and their fusion, kept, and the metrics computed from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..config.runs import Run, read_run
from ..config.settings import Evaluation
from ..config.training import Execution
from ..data.packs.read import PackedClips, Packs, as_is
from ..data.randomness import clip_generators
from ..lib import hardware
from ..lib.errors import GlatError, tell
from ..lib.files import remove, whole
from ..lib.provenance import maker
from ..models.tagger import Tagger
from ..training import checkpoints, convergence
from .cost import Stopwatch, multiply_adds
from .frames import FRAMES, FrameWriter, frame_writer
from .intervals import d_prime_interval, interval
from .jackknife import Estimate, Jackknife, accuracy, checked_estimates, over_classes
from .manifest import MANIFEST, choose, write_manifest
from .metrics import d_primes
from .parts import pool_parts
from .predictions import STREAMS, VERSION, Influence, clips_hash, write_influence, write_predictions

TIMED = 10  # batches that are timed where scores over time are kept


def predict(
    tagger: Tagger,
    packs: Packs,
    *,
    batch_size: int,
    device: str,
    precision: str,
    seed: int,
    only: np.ndarray | None = None,
    workers: int = 0,
    pool: str = "mean",
    keep: FrameWriter | None = None,
) -> tuple[dict[str, np.ndarray], float]:
    """Scores and windows of every clip (or of those at the indices `only`), in the packs' order, and the seconds that a
    clip took (`cost.Stopwatch`). device: "cpu" or "cuda"; precision: "float32" or "bf16"; workers: processes that read.

    The first are "fused" and "global" (clips, L) float32, and with GL-AT also "local" (clips, L), "windows" (clips, N)
    starts in seconds and "classes" (clips, N), the class that each window was chosen for. The random selection draws
    by `seed` and each clip's name.

    A clip that is longer than the network hears at a time is scored part by part (`Packs.parts`), and `pool`, the mean or
    the maximum, is taken of the parts' scores. Then there are "part" (P,), the row of each part's clip, and "begin" (P,),
    where in its clip it begins, in seconds; "windows", from there on, and "classes" are (P, N).

    keep: takes the scores over time of each batch. They cost more than the others and are no part of the seconds, so the first
    batches are scored once more to be timed.

    Raises:
        GlatError: a clip whose scores are not finite.
    """
    how: dict[str, Any] = {"collate_fn": as_is, "num_workers": workers, "pin_memory": device == "cuda"}
    hardware.use_tf32(False)
    clip, offset = packs.parts(np.arange(len(packs)) if only is None else only)
    loader = DataLoader(PackedClips(packs, clip, offset), batch_size, **how)
    tagger = tagger.to(device, memory_format=torch.channels_last).eval()
    parts: dict[str, list[np.ndarray]] = {}
    watch = Stopwatch(device)
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
        for batch in tqdm(loader, "evaluate", unit="batch", disable=None):
            draw = partial(clip_generators, seed, part_names(packs, batch))
            waveform = batch["waveform"].to(device, non_blocking=True)
            if keep is None or len(watch.laps) < TIMED:
                with watch.lap(len(waveform)):
                    streams = tagger.streams(waveform, draw())
            if keep is not None:
                streams, over_time = tagger.timeline(waveform, draw())
                keep.add(over_time)
            if not streams.fused.isfinite().all():  # nor are the streams that it is made of
                bad = int(batch["index"][~streams.fused.isfinite().all(1).cpu()][0])
                raise GlatError(f"clip {packs.clips[bad]}: its scores are not finite; set execution.precision: float32")
            for name, value in streams._asdict().items():
                if value is not None and not (name == "global_" and streams.local is None):
                    parts.setdefault(name.rstrip("_"), []).append(value.cpu().numpy())
    found = {name: np.concatenate(values) for name, values in parts.items()}
    for name in found.keys() & set(STREAMS):
        found[name] = pool_parts(found[name], clip, pool)
    if packs.longer and "windows" in found:
        number = np.cumsum(np.diff(clip, prepend=clip[:1]) != 0)
        found |= {"part": number, "begin": offset / packs.sample_rate}
    return found, watch.seconds_per_clip * len(clip) / len(found["fused"])


def part_names(packs: Packs, batch: dict[str, torch.Tensor]) -> list[str]:
    """What random windows are drawn by: the clip's name and, behind its first part, where the part begins."""
    rows = zip(packs.clips[batch["index"].numpy()], batch["offset"].tolist(), strict=True)
    return [f"{name}+{offset}" if offset else name for name, offset in rows]


def score(
    found: dict[str, Jackknife], confidence: float, right: Mapping[str, Estimate] = MappingProxyType({})
) -> dict[str, Any]:
    """Metrics of each stream with their intervals over clips: what metrics.json holds under "streams". right: `accuracy` by
    stream, where each clip has one label.

    Each metric is {"value", "low", "high"}, and mAP has what it is without its lean as "centre"
    (`glat.scoring.jackknife`); None stands for a value that is not finite (d' of a mean AUC of 1).
    """
    streams: dict[str, Any] = {}
    for name, stream in found.items():
        bounds = {"mAP": interval([stream.mAP], confidence), "mAUC": interval([stream.mAUC], confidence)}
        bounds["d_prime"] = d_prime_interval([stream.d_prime], [stream.mAUC], confidence)
        if name in right:
            bounds["accuracy"] = interval([right[name]], confidence)
        metrics = {metric: found._asdict() for metric, found in bounds.items()}
        metrics["mAP"]["centre"] = stream.mAP.centre
        streams[name] = {
            metric: {key: value if np.isfinite(value) else None for key, value in values.items()}
            for metric, values in metrics.items()
        }
    return streams


def jackknife_by_class(target: np.ndarray, score: np.ndarray, confidence: float) -> tuple[Jackknife, np.ndarray]:
    """One stream's means over classes, and (L, 2, 3): of each class AP and AUC, each with the ends of its interval over
    clips, NaN where the class has no positive. The classes are ranked once for both.

    target: (clips, L) bool; score: (clips, L), finite.
    """
    bounds = np.full((target.shape[1], 2, 3), np.nan)

    def classes():
        for label, found in enumerate(checked_estimates(target, score)):
            if found:
                bounds[label] = [interval([metric], confidence) for metric in found]
            yield found

    return over_classes(classes(), len(target)), bounds


def per_class(target: np.ndarray, streams: dict[str, np.ndarray], classes: pd.DataFrame) -> pd.DataFrame:
    """AP, AUC and d' of every class and stream with their intervals (`jackknife_by_class`), empty where there is none."""
    table = classes[["mid", "display_name"]].copy()
    table["positives"] = target.sum(0)
    for name, bounds in streams.items():
        for metric, ends in (("AP", bounds[:, 0]), ("AUC", bounds[:, 1]), ("d_prime", d_primes(bounds[:, 1]))):
            for end, values in zip(("", "_low", "_high"), np.where(np.isinf(ends), np.nan, ends).T, strict=True):
                table[f"{metric}_{name}{end}"] = values
    return table


def _same_run(made: Run, asked: Run, checkpoint: Path) -> None:
    """Raise GlatError unless a checkpoint is of the run that its folder's config.yaml asks for."""
    for key, wanted in asked.model_dump().items():
        if (found := getattr(made, key)) != getattr(asked, key):
            raise GlatError(f"{checkpoint}: trained with {key} {found}, but config.yaml says {wanted}; train it again")


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
    tagger, run, classes, trained, digest, selected = checkpoints.restore(checkpoint)
    if (folder / "config.yaml").exists():
        _same_run(run, read_run(folder / "config.yaml"), checkpoint)
    corpus = Packs(packs)
    if list(corpus.classes["mid"]) != [c["mid"] for c in classes]:
        raise GlatError(f"{packs[0]}: its class list is not that of {checkpoint}; evaluate on a pack of {run.dataset}")
    if (rate := run.audio.sample_rate) != corpus.sample_rate:
        raise GlatError(f"{packs[0]}: {corpus.sample_rate} Hz, but {checkpoint} was trained at {rate} Hz")
    only = choose(corpus.clips, settings.only) if settings.only else None
    if only:
        tell(only.sentence)
    heard = only.indices if only else np.arange(len(corpus))
    clips, target = corpus.clips[heard], corpus.labels.dense(heard)
    accelerator = hardware.accelerator(execution.accelerator)
    precision = hardware.precision("float32" if run.published else execution.precision, accelerator)
    device = "cuda" if accelerator == "gpu" else "cpu"
    how: dict[str, Any] = {"batch_size": settings.batch_size, "device": device, "precision": precision}
    how |= {"seed": settings.seed, "only": heard, "workers": execution.workers, "pool": settings.pool}
    remove(folder / FRAMES)
    with frame_writer(folder / FRAMES) if frames else nullcontext() as keep:
        predictions, seconds = predict(tagger, corpus, **how, keep=keep)
        if keep:
            keep.finish(corpus, heard)
    found, classwise = {}, {}
    for name in STREAMS:
        if name in predictions:
            found[name], classwise[name] = jackknife_by_class(target, predictions[name], settings.confidence)
    right = {name: one for name in found if (one := accuracy(target, predictions[name])) is not None}
    same = clips_hash(clips, target)
    collapsed = bool(np.ptp(predictions["fused"], axis=0).max() < 1e-6)
    metrics = {
        "version": VERSION,
        "run": run.name,
        "dataset": run.dataset,
        "backbone": run.backbone,
        "glat": run.glat.model_dump() if run.glat else None,
        "seed": run.seed,
        "steps": run.training.steps,
        "selected": selected,
        "parameters": tagger.parameter_count(),
        "clips": len(clips),
        "clips_hash": same,
        "manifest": {"file": MANIFEST, "sha256": write_manifest(folder / MANIFEST, clips)},
        "only": only.facts if only else None,
        "classes": len(classes),
        "classes_scored": int(target.any(0).sum()),
        "collapsed": collapsed,
        "convergence": convergence.judge(run, folder),
        "streams": score(found, settings.confidence, right),
        "cost": {
            "multiply_adds_per_clip": multiply_adds(tagger, corpus.clip_seconds)
            * len(corpus.parts(heard)[0])
            / len(heard),
            "seconds_per_clip": seconds,
            "clock": Stopwatch(device).clock,
        },
        "evaluation": settings.model_dump(),
        "precision": precision,
        "checkpoint": digest,
        "trained": trained,
    } | maker(accelerator)
    write_predictions(folder / "predictions.h5", predictions, clips, target, corpus.classes)
    write_influence(folder / "influence.npz", Influence(same, found, right))
    with whole(folder / "per_class.csv") as part:
        per_class(target, classwise, corpus.classes).to_csv(part, index=False, float_format="%.6f")
    with whole(folder / "metrics.json") as part:
        part.write_text(json.dumps(metrics, indent=1) + "\n")

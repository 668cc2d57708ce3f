"""What of the settings a run can't be trained with: where two of them don't fit together."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

from ..lib import layout
from ..models.conflicts import conflicts
from .network import Network
from .params import Params
from .runs import Run


def faults_of(params: Params, run: Run) -> list[str]:
    """What of the settings this run can't be trained with: where two of them don't fit together, a sentence a fault."""
    entry, execution, faults = run.entry, params.execution_of(run.dataset, run.backbone), []
    if math.isinf(run.width):
        faults.append(f"datasets.{run.dataset}.width: no width for {run.backbone}; name it, or a `default`")
    if run.training.batch_size % execution.processes:
        common = params.training_of(run.dataset).batch_size, params.execution_of(run.dataset).processes
        own = common != (run.training.batch_size, execution.processes)
        of = f" of {run.backbone}" if own else ""
        faults.append(
            f"datasets.{run.dataset}: training.batch_size {run.training.batch_size}{of} does not divide among "
            f"{execution.devices} devices on {execution.nodes} nodes (execution.devices, execution.nodes)"
        )
    elif run.training.batch_size % (execution.processes * run.training.accumulate):
        share = f"the {run.training.batch_size // execution.processes} clips of a batch that a process has"
        faults.append(f"training.accumulate: {run.training.accumulate} parts, but {share} don't divide into as many")
    for key, named in (("global", params.init.global_), ("local", params.init.local)):
        path = run.init[key]
        if path and path == named.get(run.backbone) and Path(path).is_relative_to(layout.RUNS / run.dataset):
            what = f"{path} is a run that these settings would change"
            faults.append(f"init.{key}.{run.backbone}: {what}; copy the file elsewhere")
    faults += _training_faults(run)
    if run.network and (reason := _network_fault(run)):
        where = f"networks.{run.backbone}" if run.backbone in params.networks else "backbones"
        faults.append(f"{where}: {reason}")
    if run.training.select == "best" and params.evaluation.pool != "mean":
        what = "training.select 'best' scores the parts of a clip by their mean"
        faults.append(f"evaluation.pool: {params.evaluation.pool!r}, but {what}; set mean, or training.select: last")
    if run.glat is None:
        return faults
    # A value that `glat` has itself is its own; another one is of a sweep.
    n = "glat.n" if run.glat.n == params.glat.n else "fig2.n"
    tau = "glat.tau" if run.glat.tau == params.glat.tau else "fig2.tau"
    least = entry.min_frames * ((run.network and run.network.front_end.hop) or entry.hop or run.hop) / 32000
    if run.glat.n > run.classes:
        faults.append(f"{n}: {run.glat.n} windows, but {run.dataset} has only {run.classes} classes to choose them by")
    if run.glat.tau > run.audio.clip_seconds:
        faults.append(f"{tau}: {run.glat.tau} s is longer than a clip (audio.clip_seconds: {run.audio.clip_seconds})")
    if run.glat.tau < least:
        faults.append(f"{tau}: {run.glat.tau} s, but {entry.title} needs windows of at least {least:.2f} s")
    faults += [f"glat.extra_taus: {tau} s {why}" for tau in run.glat.extra_taus if (why := _unfit(run, tau, least))]
    if run.glat.extra_taus and run.training.spec_augment.where == "windows":
        what = "training.spec_augment.where 'windows' masks windows of one length; set clip"
        faults.append(f"glat.extra_taus: {run.glat.extra_taus}, but {what}")
    faults += [f"glat.{key}: {getattr(run.glat, key)!r}, but {why}" for key, why in conflicts(dict(run.glat))]
    published = run.network and run.network.pretrained
    if run.glat.training in ("frozen_global", "none") and run.init["global"] is None and not published:
        needed = f"weights of the global stream for {run.backbone}"
        faults.append(f"init.global: glat.training {run.glat.training!r} needs {needed}")
    return faults


def _network_fault(run: Run) -> str:
    """Why a network of a library or of one's own cannot be made; empty if it can. It is tried, which takes seconds, once."""
    assert run.network
    glat = run.glat.model_dump_json() if run.glat else ""
    hears = run.audio.sample_rate, run.audio.clip_seconds, run.hop
    return _tried(run.network.model_dump_json(), run.classes, run.width, glat, *hears)


@cache
def _tried(network: str, classes: int, width: float, glat: str, rate: int, seconds: float, hop: int) -> str:
    from ..models.factory import check  # imports torch

    try:
        check(
            Network.model_validate_json(network), classes, width, json.loads(glat) if glat else None, rate, seconds, hop
        )
    except ValueError as error:
        return str(error)
    return ""


def _unfit(run: Run, tau: float, least: float) -> str:
    """Why a window of tau seconds can't be cut, where the network needs `least` seconds; empty if it can."""
    if tau > run.audio.clip_seconds:
        return f"is longer than a clip (audio.clip_seconds: {run.audio.clip_seconds})"
    return f"is too short: {run.entry.title} needs at least {least:.2f} s" if tau < least else ""


def _training_faults(run: Run) -> list[str]:
    """What of a run's training can't be done with its weights to start from and its validation clips."""
    training, faults = run.training, []
    if training.schedule in ("linear", "exponential") and training.decay.start >= training.decay.end:
        what = f"{training.decay.start}, but it ends at {training.decay.end} of the steps (training.decay.end)"
        faults.append(f"training.decay.start: {what}; give a lower share")
    if training.freeze and run.glat:
        for name in sorted(set(training.freeze) & set(run.streams_from_scratch)):
            remedy = f"name others in init.{name}.{run.backbone}, or take it out"
            faults.append(f"training.freeze: the {name} stream of {run.backbone} has random weights; {remedy}")
        if run.frozen_streams == {"global", "local"}:
            faults.append("training.freeze: both streams are frozen, which leaves nothing to train; take one out")
        if run.glat.sharing != "none":
            faults.append(f"training.freeze: glat.sharing {run.glat.sharing!r} shares what it freezes; set 'none'")
    for setting, teacher in training.teachers.items():
        if teacher.file == run.folder / layout.TEACHER:
            what = f"{run.folder} would learn from itself"
            faults.append(f"training.{setting}.teacher: {what}; name another run, or set it for other backbones alone")
    if (taught := training.distillation) and run.glat and run.frozen_streams.issuperset(taught.streams):
        what = "glat.training" if run.glat.training == "frozen_global" else "training.freeze"
        faults.append(
            f"training.distillation.stream: {taught.stream!r}, which {what} keeps as it is; name another stream"
        )
    if training.rise != "linear" and not training.warmup:
        faults.append(f"training.rise: {training.rise!r}, but training.warmup: 0 has no rise; set it above 0")
    if training.mixup_pairs and not training.mixup_alpha:
        faults.append("training.mixup_pairs: true, but training.mixup_alpha: 0 mixes nothing; set it above 0")
    if training.average is not None:
        span = (training.average.last - 1) * training.average.every
        if span >= training.steps:
            what = f"{training.average.last} networks, {training.average.every} steps apart"
            faults.append(f"training.average: {what}, but the training of {run.name} ends after {training.steps} steps")
        if training.ema is not None:
            faults.append(
                "training.average: a training keeps one average; set training.ema or training.average to null"
            )
        if training.select == "best":
            what = "averages the last networks, and training.select: best keeps another one"
            faults.append(f"training.average: it {what}; set training.ema, or training.select: last")
    for stream in run.streams_from_scratch if training.freeze_backbone else ():
        what = f"the {stream} stream of {run.backbone} starts from random weights"
        remedy = f"name others in init.{stream}.{run.backbone}, or set 0 for it under training.by_backbone"
        faults.append(f"training.freeze_backbone: {training.freeze_backbone} steps, but {what}; {remedy}")
    if training.select == "best":
        every, steps = training.validation.every, training.steps
        if not run.validation_packs:
            needed = f"validation clips; name splits for them in datasets.{run.dataset}.validate"
            faults.append(f"training.select: 'best' needs {needed}")
        if every > steps:
            faults.append(
                f"training.validation.every: {every}, but the training of {run.name} ends after {steps} steps"
            )
    return faults

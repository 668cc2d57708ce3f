"""One training from its folder's first file to its last: the lock, the resume point, Lightning's Trainer, the checkpoint."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment

from ..config.runs import Run, read_run
from ..config.training import Execution
from ..data.packs.read import Packs
from ..lib import hardware
from ..lib.cores import cores
from ..lib.errors import GlatError, tell
from ..lib.provenance import maker
from . import checkpoints, convergence, resume, stage
from .averaging import Average
from .best import Best
from .distillation import read_teacher
from .enhancement import add_labels
from .progress import Curve, EndAtOnce, Kept, PlainProgress, decided_by_first, run_lock
from .stage import Batches, Stage

DONE = -1  # in place of a step to start at: another process has trained the run meanwhile


def check_equal_weights(trainer: lightning.Trainer, module: Stage) -> None:
    """Raise GlatError if the processes of a distributed training did not end with the same weights. These are on the CPU by
    then, of which NCCL knows nothing."""
    total = torch.stack([p.detach().double().abs().sum() for p in module.parameters()]).sum()
    sums = trainer.strategy.all_gather(total.to(trainer.strategy.root_device)).reshape(-1)
    if (sums != sums[0]).any():
        what = f"the {trainer.world_size} processes ended with different weights"
        raise GlatError(f"{module.run.folder}: {what}: {sums.tolist()}")


def train(
    run: Run,
    folder: Path,
    *,
    execution: Execution = Execution(),  # noqa: B008 - it is frozen
    threads: int | None = None,
    callbacks: Sequence[lightning.Callback] = (),
) -> None:
    """Train a run and write `checkpoint.pt` and `train.csv` into its folder; `callbacks` look on, and change nothing.

    execution: how; no weight depends on it. threads: to compute on (None: all cores). A training that was killed, or that
    has more steps than before, is resumed (`glat.training.resume`). Where another process trains the same run, this one
    waits for it, and trains only if that did not leave what is wanted.

    Raises:
        GlatError: packs that don't fit the run, a batch that does not divide, a loss that is not finite, or settings
            that changed under the training.
    """
    with run_lock(folder / ".lock") as waited:
        _train(run, folder, waited, execution=execution, threads=threads, callbacks=callbacks)


def _train(
    run: Run,
    folder: Path,
    waited: bool,
    *,
    execution: Execution,
    threads: int | None,
    callbacks: Sequence[lightning.Callback],
) -> None:
    settings, world = run.training, execution.processes
    if settings.batch_size % world:
        raise GlatError(f"training.batch_size: {settings.batch_size} clips don't divide among {world} processes")
    if settings.batch_size % (world * settings.accumulate):
        share, parts = settings.batch_size // world, settings.accumulate
        raise GlatError(
            f"training.accumulate: {share} clips (training.batch_size) don't divide into {parts} equal parts"
        )
    packs = Packs(run.packs)
    _check_packs(packs, run)
    add_labels(run, packs)
    validation = _validation(run, packs)
    accelerator = hardware.accelerator(execution.accelerator)
    precision = hardware.precision(execution.precision, accelerator)
    # Before, not after: a training of days outlives the next commit.
    here = {"accelerator": accelerator, "precision": precision}
    made_by = maker(accelerator, world) | {"execution": execution.model_dump() | here}
    cluster = hardware.cluster(execution.devices, execution.nodes)
    if isinstance(cluster, LightningEnvironment) and not hardware.first_process():
        hardware.end_with_parent()  # which holds the run's lock
    # A task of srun has cores of its own; processes that Lightning or torchrun starts share those of their node.
    sharing = 1 if isinstance(cluster, SLURMEnvironment) else execution.devices
    hardware.use_threads(max(1, (threads or cores()) // sharing))
    hardware.use_tf32(True)
    classes = packs.classes[["mid", "display_name"]].to_dict("records")
    synchronised = world > 1 and settings.sync_batchnorm
    teacher = read_teacher(run, packs, "distillation")
    tagger = stage.network(run, classes, accelerator if synchronised else None)
    if execution.compile:
        stage.compile_backbones(tagger)
    facts = resume.facts(run, packs, execution, validation)
    made_from, done = resume.fingerprint(facts), folder / "checkpoint.pt"
    every, path = execution.checkpoint_every, folder / "resume.ckpt"
    point = resume.ResumePoint(path, facts, settings.steps, every, settings.extendable)
    save = partial(checkpoints.save, tagger, run, classes, fingerprint=made_from, trained=made_by)
    kept = Kept(run, folder, execution.keep_every, save)

    if run.untrained:
        if hardware.first_process():
            save(0, done)
            Curve(folder / "train.csv", execution.log_every, settings.batch_size).finish()
            of = run.init["global"] or run.backbone
            tell(f"{folder}: nothing is trained (glat.training: none); its weights are those of {of}")
        return

    def start_or_done() -> int:
        if waited and done.exists():
            theirs = checkpoints.read(done)
            if (theirs.get("fingerprint"), theirs.get("run")) == (made_from, run.model_dump(by_alias=True)):
                tell(f"{folder}: trained meanwhile by the other process")
                return DONE
        step = point.step()
        if (
            not step and hardware.first_process()
        ):  # what an earlier training left would stand beside what this one leaves
            kept.remove()
            (folder / convergence.WATCHED).unlink(missing_ok=True)
        return step

    # In a network of ours, without a frozen backbone, all weights have a gradient in each step, and nobody has to look.
    ddp = "ddp_find_unused_parameters_true" if settings.freeze_backbone or run.network else "ddp"
    start = decided_by_first(cluster, start_or_done)
    if start == DONE:
        return
    curve = Curve(folder / "train.csv", execution.log_every, settings.batch_size)
    changing = stage.callbacks(run, packs, validation)
    where = f"{accelerator}, {precision}, {torch.get_num_threads()} threads"
    progress = PlainProgress(run, start, execution.log_every, where)
    if start == settings.steps:
        tell(f"{folder}: all of its {start} steps were trained before")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # its advice on hardware and products
    with warnings.catch_warnings():
        # Lightning advises on loaders and on resuming inside an epoch; both are ours on purpose.
        warnings.filterwarnings("ignore", module="lightning")
        trainer = lightning.Trainer(
            accelerator=accelerator,
            devices=execution.devices,
            num_nodes=execution.nodes,
            strategy=ddp if world > 1 else "auto",
            plugins=[cluster],
            precision="bf16-mixed" if precision == "bf16" else "32-true",
            max_steps=settings.steps,
            max_epochs=-1,
            # The curve has a last line where one of `changing` ends the training; the point is of those before it.
            callbacks=[EndAtOnce(), *changing, curve, kept, progress, point, *callbacks],
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=progress.live,
            use_distributed_sampler=False,
            benchmark=accelerator == "gpu",  # cuDNN's fastest algorithms for shapes that stay
            default_root_dir=folder,
        )
        average = next((one for one in changing if isinstance(one, Average)), None)
        module = Stage(tagger, run, len(packs), packs.longer, average)
        batches = Batches(run, packs, start, execution.workers, teacher)
        try:
            trainer.fit(module, batches, ckpt_path=point.path if start else None, weights_only=True)
        except torch.OutOfMemoryError:
            clips = settings.batch_size // world // settings.accumulate
            raise GlatError(
                f"{folder}: the GPU's memory does not hold {clips} clips at once. Twice the GPUs (execution.devices: "
                f"{2 * execution.devices}) train with the same batches, {max(1, clips // 2)} clips each; or set "
                f"training.batch_size: {max(1, settings.batch_size // 2)}, or training.accumulate: "
                f"{2 * settings.accumulate}, with which batch norm is over {max(1, clips // 2)} clips"
            ) from None
    check_equal_weights(trainer, module)
    if trainer.is_global_zero:
        if (folder / "config.yaml").exists() and read_run(folder / "config.yaml") != run:
            raise GlatError(f"{folder}/config.yaml: changed while this training ran; its weights were not kept")
        if average:
            tagger.load_state_dict(average.weights)
        best = next((one for one in changing if isinstance(one, Best)), None)
        selected = best.take(module, trainer.global_step) if best else None
        save(best.step if best else settings.steps, done, selected=selected)
        curve.finish()
        if not point.keep:
            point.remove()
    trainer.strategy.barrier()


def _check_packs(packs: Packs, run: Run) -> None:
    """Raise GlatError unless packs are what a run is trained on."""
    for key, found, wanted in (
        ("classes", len(packs.classes), run.classes),
        ("audio.sample_rate", packs.sample_rate, run.audio.sample_rate),
        ("audio.clip_seconds", packs.clip_seconds, run.audio.clip_seconds),
    ):
        if found != wanted:
            raise GlatError(f"{packs.paths[0]}: {key} is {found} there, but {wanted} in run {run.name}; pack again")


def _validation(run: Run, packs: Packs) -> Packs | None:
    """The clips that a run's network is selected by, none of which may be among those that it trains on: None if it is the
    last one. Raises GlatError where they don't fit the run."""
    if run.training.select != "best":
        return None
    if not run.validation_packs:
        raise GlatError(f"{run.folder}: training.select: best, but it names no validation_packs; configure it again")
    validation = Packs(run.validation_packs)
    _check_packs(validation, run)
    if list(validation.classes["mid"]) != list(packs.classes["mid"]):
        raise GlatError(f"{validation.paths[0]}: its class list differs from that of {packs.paths[0]}; pack again")
    if len(shared := np.intersect1d(packs.clips, validation.clips)):
        what = f"{len(shared)} of its clips are training clips too, {shared[0]} the first"
        raise GlatError(f"{validation.paths[0]}: {what}; a network is selected by clips that it does not train on")
    return validation

"""One training from its folder's first file to its last: the lock, the resume point, Lightning's Trainer, the checkpoint."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import lightning
import torch

from ..config.runs import Run, read_run
from ..data.packs.read import Packs
from ..lib import dependencies, hardware
from ..lib.cores import cores
from ..lib.errors import GlatError, tell
from ..lib.provenance import maker
from ..models import registry
from . import checkpoints, convergence, stage
from .progress import Curve, EndAtOnce, Kept, PlainProgress, ResumePoint, alone
from .stage import Batches, Stage


def fingerprint(run: Run, packs: Packs, precision: str) -> str:
    """A hash of the run, its data, the weights it starts from and its code: a half-done training goes on only where
    all of them are the same."""
    files = [Path(path) for path in run.init.values() if path]
    code = dependencies.digest(stage.__name__, registry.module(run.backbone))
    provenance = [str(shard["provenance"]) for shard in packs.attributes]  # with a hash of the waveforms
    facts = [run.model_dump_json(), precision, code, *provenance, *packs.clips, *packs.classes["mid"]]
    digest = hashlib.sha256("\n".join(facts).encode())
    digest.update(packs.labels.indptr.tobytes() + packs.labels.indices.tobytes())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def check_equal_weights(trainer: lightning.Trainer, module: Stage) -> None:
    """Raise GlatError if the processes of a distributed training did not end with the same weights."""
    total = sum(p.detach().double().abs().sum() for p in module.parameters())
    sums = module.all_gather(total).reshape(-1)
    if (sums != sums[0]).any():
        raise GlatError(
            f"{module.run.folder}: the {trainer.world_size} processes ended with different weights: {sums.tolist()}"
        )


def train(run: Run, folder: Path, threads: int | None = None, callbacks: Sequence[lightning.Callback] = ()) -> None:
    """Train a run and write `checkpoint.pt` and `train.csv` into its folder; `callbacks` look on, and change nothing.

    While it trains, `resume.ckpt` holds the last checkpoint; a training that was killed goes on from it. Where another
    process trains the same run, this one waits for it, and trains only if that did not leave what is wanted.

    Raises:
        GlatError: packs that don't fit the run, a batch that does not divide, a loss that is not finite, or settings
            that changed under the training.
    """
    with alone(folder / ".lock") as waited:
        _train(run, folder, threads, waited, callbacks)


def _train(run: Run, folder: Path, threads: int | None, waited: bool, callbacks: Sequence[lightning.Callback]) -> None:
    settings = run.training
    world = settings.processes
    if settings.batch_size % world:
        raise GlatError(f"training.batch_size: {settings.batch_size} clips don't divide among {world} processes")
    packs = Packs(run.packs)
    for key, found, wanted in (
        ("classes", len(packs.classes), run.classes),
        ("audio.sample_rate", packs.sample_rate, run.audio.sample_rate),
        ("audio.clip_seconds", packs.clip_seconds, run.audio.clip_seconds),
    ):
        if found != wanted:
            raise GlatError(f"{run.packs[0]}: {key} is {found} there, but {wanted} in run {run.name}; pack again")
    accelerator = hardware.accelerator(settings.accelerator)
    precision = hardware.precision(settings.precision, accelerator)
    made_by = maker(accelerator, world)  # before, not after: a training of days outlives the next commit
    hardware.use_threads(max(1, (threads or cores()) // (settings.devices if accelerator == "cpu" else 1)))
    classes = packs.classes[["mid", "display_name"]].to_dict("records")
    tagger = stage.network(run, classes, accelerator)
    made_from = fingerprint(run, packs, precision)
    done = folder / "checkpoint.pt"
    if waited and done.exists() and checkpoints.read(done).get("fingerprint") == made_from:
        tell(f"{folder}: trained meanwhile by the other process")
        return
    resume = ResumePoint(folder / "resume.ckpt", made_from, settings.checkpoint_every)
    start = resume.step()
    if not start:
        resume.remove()  # of other settings or code: it would be taken up later, beside what this training leaves
        (folder / convergence.WATCHED).unlink(missing_ok=True)  # of an earlier training, too
    curve = Curve(folder / "train.csv", settings, start)
    save = lambda step, path: checkpoints.save(tagger, run, classes, step, path, made_from, made_by)
    kept = Kept(run, folder, start, save)
    plateau = stage.callbacks(run, packs)
    progress = PlainProgress(run, start, f"{accelerator}, {precision}, {torch.get_num_threads()} threads")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # its advice on hardware and products
    with warnings.catch_warnings():
        # Lightning advises on loaders and on resuming inside an epoch; both are ours on purpose.
        warnings.filterwarnings("ignore", module="lightning")
        trainer = lightning.Trainer(
            accelerator=accelerator,
            devices=settings.devices,
            num_nodes=settings.nodes,
            strategy="ddp" if world > 1 else "auto",
            plugins=hardware.starter(world),
            precision="bf16-mixed" if precision == "bf16" else "32-true",
            max_steps=settings.steps,
            max_epochs=-1,
            callbacks=[EndAtOnce(), curve, *plateau, kept, progress, resume, *callbacks],  # resume: of those before it
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=progress.live,
            use_distributed_sampler=False,
            default_root_dir=folder,
        )
        module = Stage(tagger, run)
        trainer.fit(module, Batches(run, packs, start), ckpt_path=resume.path if start else None, weights_only=True)
    check_equal_weights(trainer, module)
    if trainer.is_global_zero:
        if (folder / "config.yaml").exists() and read_run(folder / "config.yaml") != run:
            raise GlatError(f"{folder}/config.yaml: changed while this training ran; its weights were not kept")
        save(trainer.global_step, done)
        curve.finish()
        resume.remove()
    trainer.strategy.barrier()

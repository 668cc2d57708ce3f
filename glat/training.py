"""Training a run: batch k and its augmentation are a function of (seed, k), whatever the number of processes, so a resumed
training goes on exactly as an unbroken one would have, and several processes train as one does.

Dropout alone is drawn by each process for its own clips: a function of (seed, k, process).
"""

from __future__ import annotations

import hashlib
import logging
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import lightning
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from . import checkpoints, convergence, hardware
from .augment import augment
from .batchnorm import synchronise
from .cores import cores
from .data.labels import Labels
from .data.packed import PackedClips, Packs, as_is
from .data.sampling import BalancedBatches
from .errors import GlatError, tell
from .heldout import HeldOut, held_out
from .models import Streams, Tagger
from .progress import Curve, EndAtOnce, Kept, PlainProgress, ResumePoint, alone
from .provenance import maker
from .randomness import Use, generator, torch_generator, torch_seed
from .registry import sources
from .runs import Run, read_run

# What a training's weights and its resume point are made by, beside the networks; rules/train.smk names them too.
CODE = (
    "training.py", "augment.py", "batchnorm.py", "heldout.py", "metrics.py", "progress.py", "randomness.py", "hdf5.py",
    "data/sampling.py", "data/packed.py", "data/codecs.py", "data/labels.py",
)  # fmt: skip


def bce(scores: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy of probabilities (B, L), the mean over clips and classes; NaN if a score is not finite."""
    if not scores.isfinite().all():
        return scores.sum() * math.nan  # torch refuses such scores, on a GPU with a crash
    with torch.autocast(scores.device.type, enabled=False):
        return F.binary_cross_entropy(scores.float(), target)


def losses(streams: Streams, target: Tensor, frozen_global: bool = False) -> dict[str, Tensor]:
    """Loss of each stream and their sum (paper, eq. 5): BCE(y_g, y) + BCE(y_l, y); without BCE(y_g, y) if frozen."""
    parts = {"global": bce(streams.global_, target)}
    if streams.local is not None:
        parts["local"] = bce(streams.local, target)
    total = parts["local"] if frozen_global else sum(parts.values())
    return {"loss": total} | {f"loss_{name}": part for name, part in parts.items()}


class Stage(lightning.LightningModule):
    """One run's network, loss and optimiser for Lightning's Trainer."""

    def __init__(self, tagger: Tagger, run: Run):
        super().__init__()
        self.tagger, self.run = tagger, run
        self.row: dict[str, float] = {}  # what the last step measured on this process's clips, for the curve
        self.reduction = 1.0  # of the learning rate, by a plateau of held-out clips

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        settings, seed, step, rank = self.run.training, self.run.seed, self.global_step, self.global_rank
        waveform, target = batch["waveform"], batch["target"]
        clips = len(waveform)
        logmel, target = self.whole_batch(self.tagger.front_end(waveform), target)  # (B, 1, frames, mels), (B, L)
        masks, mixing = (generator(use, seed, step) for use in (Use.MASKS, Use.MIXUP))
        whole = augment(logmel, target, settings, masks, mixing, self.tagger.windows(logmel.shape[2]))
        logmel, target, masked, keep_windows = whole.part(rank, self.trainer.world_size)
        windows = None
        if self.run.glat and self.run.glat.selection == "random":
            places = range(rank * clips, (rank + 1) * clips)  # in the batch
            windows = [torch_generator(Use.TRAINING_WINDOWS, seed, step, place) for place in places]
        torch.manual_seed(torch_seed(Use.DROPOUT, seed, step, rank))
        streams = self.tagger.from_logmel(logmel, self.tagger.seconds(waveform), windows, masked, keep_windows)
        frozen = bool(self.run.glat and self.run.glat.training == "frozen_global")
        values = losses(streams, target, frozen)
        self.row = {name: value.item() for name, value in values.items()}
        if not math.isfinite(self.row["loss"]):
            raise GlatError(
                f"{self.run.folder}: step {step + 1}: the loss is {self.row['loss']}: {self.cause(waveform)}"
            )
        return values["loss"]

    def whole_batch(self, *parts: Tensor) -> list[Tensor]:
        """Parts of a batch, (B / processes, ...) each, with those of all processes: (B, ...) in order of rank."""
        if self.trainer.world_size == 1:
            return list(parts)
        return [self.all_gather(part).flatten(0, 1) for part in parts]

    @torch.no_grad()
    def collapsed(self, waveform: Tensor) -> bool:
        """Whether the network, as it would be used (no dropout, the kept batch statistics), scores all clips the same."""
        self.tagger.eval()
        with torch.autocast(waveform.device.type, torch.bfloat16, enabled=self.trainer.precision == "bf16-mixed"):
            scores = self.tagger.streams(waveform, torch_generator(Use.COLLAPSE, self.run.seed)).fused
        self.tagger.train()
        return len(waveform) > 1 and scores.float().std(0).max().item() < 1e-6

    def cause(self, waveform: Tensor) -> str:
        """Why a loss is not finite, in words, with what to do."""
        if not waveform.isfinite().all():
            return "the batch holds samples that are not finite; pack the data again"
        if not all(p.isfinite().all() for p in self.tagger.parameters()):
            return "weights are not finite; lower training.learning_rate or set training.gradient_clip"
        return "the network's output overflowed; lower training.learning_rate or set training.precision: float32"

    def configure_gradient_clipping(self, optimizer, *_args, **_kwargs) -> None:
        """Clip the norm of each stream's gradient by itself: one norm over both would couple losses that have nothing to
        do with each other (ours). Weights that both streams share are clipped once, with the global stream."""
        limit, seen, norms = self.run.training.gradient_clip or math.inf, set(), []
        for backbone in self.tagger.backbones().values():
            weights = [p for p in backbone.parameters() if p.grad is not None and p not in seen]
            seen.update(weights)
            norms.append(torch.nn.utils.clip_grad_norm_(weights, limit).item())
        norm = math.hypot(*norms)
        if not math.isfinite(norm):
            raise GlatError(
                f"{self.run.folder}: step {self.global_step + 1}: the gradient is not finite although the loss is; "
                "lower training.learning_rate or set training.precision: float32"
            )
        self.row |= {"learning_rate": optimizer.param_groups[0]["lr"], "gradient_norm": norm}

    def configure_optimizers(self):
        settings = self.run.training
        weights = [p for p in self.tagger.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(weights, lr=settings.learning_rate, amsgrad=settings.amsgrad)

        def factor(step: int) -> float:
            rise = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
            fall = (1 + math.cos(math.pi * step / settings.steps)) / 2 if settings.schedule == "cosine" else 1.0
            return rise * fall * self.reduction

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class FromStep:
    """A batch sampler over steps `start` .. `steps` - 1 whose length is that of the whole training, as Lightning,
    which counts the batches before the resume point too, needs it."""

    def __init__(self, batches: BalancedBatches, start: int, steps: int, rank: int, world: int):
        self.parts, self.steps = batches.from_step(start, steps, rank, world), steps

    def __iter__(self):
        return iter(self.parts)

    def __len__(self) -> int:
        return self.steps


class Batches(lightning.LightningDataModule):
    """The training batches of a run from its packs, each process its own part of the same batch k."""

    def __init__(self, run: Run, packs: Packs, start: int):
        super().__init__()
        self.run, self.packs, self.start = run, packs, start

    def train_dataloader(self) -> DataLoader:
        settings, packs = self.run.training, self.packs
        # Unbalanced is balanced over a single class that every clip has.
        labels = packs.labels if settings.balanced else Labels.from_dense(np.ones((len(packs), 1), bool))
        left_out = held_out(self.run, len(packs))
        batches = BalancedBatches(labels, settings.batch_size, self.run.seed, left_out)
        sampler = FromStep(batches, self.start, settings.steps, self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(
            PackedClips(packs),
            batch_sampler=sampler,
            collate_fn=as_is,
            num_workers=settings.workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=settings.workers > 0,
        )


def fingerprint(run: Run, packs: Packs, precision: str) -> str:
    """A hash of the run, its data, the weights it starts from and its code: a half-done training goes on only where
    all of them are the same."""
    package = Path(__file__).parent
    files = [package / name for name in (*sources(run.backbone), *CODE)]
    files += [Path(path) for path in run.init.values() if path]
    provenance = [str(shard["provenance"]) for shard in packs.attributes]  # with a hash of the waveforms
    facts = [run.model_dump_json(), precision, *provenance, *packs.clips, *packs.classes["mid"]]
    digest = hashlib.sha256("\n".join(facts).encode())
    digest.update(packs.labels.indptr.tobytes() + packs.labels.indices.tobytes())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def check_equal_weights(trainer: lightning.Trainer, stage: Stage) -> None:
    """Raise GlatError if the processes of a distributed training did not end with the same weights."""
    total = sum(p.detach().double().abs().sum() for p in stage.parameters())
    sums = stage.all_gather(total).reshape(-1)
    if (sums != sums[0]).any():
        raise GlatError(
            f"{stage.run.folder}: the {trainer.world_size} processes ended with different weights: {sums.tolist()}"
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
    torch.manual_seed(torch_seed(Use.INITIALISATION, run.seed))
    classes = packs.classes[["mid", "display_name"]].to_dict("records")
    tagger = checkpoints.build(run, classes).to(memory_format=torch.channels_last)
    if settings.synchronised:
        tagger = synchronise(tagger, accelerator)
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
    plateau = [HeldOut(run, packs)] if settings.schedule == "plateau" else []
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
        stage = Stage(tagger, run)
        trainer.fit(stage, Batches(run, packs, start), ckpt_path=resume.path if start else None, weights_only=True)
    check_equal_weights(trainer, stage)
    if trainer.is_global_zero:
        if (folder / "config.yaml").exists() and read_run(folder / "config.yaml") != run:
            raise GlatError(f"{folder}/config.yaml: changed while this training ran; its weights were not kept")
        save(trainer.global_step, done)
        curve.finish()
        resume.remove()
    trainer.strategy.barrier()

"""Training a run: batch k and its augmentation are a function of (seed, k), whatever the number of processes, so a resumed
training goes on exactly as an unbroken one would have, and several processes train as one does.

Dropout alone is drawn by each process for its own clips: a function of (seed, k, process).
"""

from __future__ import annotations

import math
import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..data.lists.labels import Labels
from ..data.packs.read import Crops, Packs, as_is
from ..data.randomness import Use, generator, torch_generator, torch_seed
from ..data.sampling import BalancedBatches
from ..lib.errors import GlatError
from ..models.frontend import FrontEnd
from ..models.tagger import Tagger
from . import checkpoints
from .augmentation import Augmented, augment
from .averaging import Average
from .batchnorm import synchronise
from .best import Best
from .distillation import Lesson, Lessons, Teacher
from .freezing import FrozenBackbone, FrozenStreams
from .heldout import HeldOut, held_out_clips
from .losses import losses, smooth
from .optimisation import optimiser, rate_factor
from .waveforms import augment_waveforms

if TYPE_CHECKING:
    from ..config.runs import Run

COMPILERS = ("cc", "gcc", "clang", "c++", "g++", "clang++")


def network(run: Run, classes: list[dict[str, str]], synchronise_on: str | None = None) -> Tagger:
    """The network that a run starts to train, from its seed and the weights that `run.init` names.

    synchronise_on: the accelerator of several processes, over all of which a batch norm is then; None: each by itself.
    """
    torch.manual_seed(torch_seed(Use.INITIALISATION, run.seed))
    tagger = checkpoints.build(run, classes).to(memory_format=torch.channels_last)
    for stream in run.frozen_streams:
        tagger.backbones()[stream].requires_grad_(False)
    return synchronise(tagger, synchronise_on) if synchronise_on else tagger


def compile_backbones(tagger: Tagger, backend: str = "inductor") -> None:
    """Have torch.compile make one program of each backbone's convolutions, for training: there all shapes are static. In
    use, where batches differ in size, the network stays as it is. Raises GlatError where there is no compiler."""
    named = [os.environ.get(key, "") for key in ("CC", "CXX")]
    if backend == "inductor" and not any(map(shutil.which, (*named, *COMPILERS))):
        raise GlatError("execution.compile: true needs a C compiler, and none is found here; install gcc or set false")
    for backbone in set(tagger.backbones().values()):
        plain = backbone.features
        compiled = torch.compile(plain, dynamic=False, backend=backend)
        backbone.features = lambda *x, b=backbone, c=compiled, p=plain: (c if b.training else p)(*x)  # type: ignore[method-assign]


def callbacks(run: Run, packs: Packs, validation: Packs | None = None) -> list[lightning.Callback]:
    """What changes a training from outside its steps: an average of its networks, what is frozen, always or at first, a
    learning rate that falls on a plateau, and the choice of a network by validation clips."""
    settings = run.training
    found: list[lightning.Callback] = []
    if settings.ema is not None or settings.average is not None:
        found.append(Average(run))
    if run.frozen_streams:
        found.append(FrozenStreams(run.frozen_streams))
    if settings.freeze_backbone:
        found.append(FrozenBackbone(settings.freeze_backbone))
    if settings.schedule == "plateau":
        found.append(HeldOut(run, packs))
    return [*found, Best(run, validation)] if validation else found


class LogMels:
    """The log-mels of a corpus of `clips` clips. On a CPU, those of a small corpus are kept: there the front end, which has
    nothing to learn, takes as long as a narrow network's step. Those of clips that are cropped or augmented anew each time are
    not."""

    MOST = 2**28  # bytes that are kept

    def __init__(self, front_end: FrontEnd, clips: int, cropped: bool = False):
        self.front_end, self.clips, self.cropped = front_end, clips, cropped
        self.kept: dict[int, Tensor] = {}  # by the clip's index in the packs

    def __call__(self, waveform: Tensor, index: Tensor) -> Tensor:
        """Waveforms (B, samples) of the clips at `index` (B,) -> (B, 1, frames, mels)."""
        size = 4 * self.front_end.mels * (waveform.shape[1] // self.front_end.hop + 1)
        if self.cropped or waveform.device.type != "cpu" or self.clips * size > self.MOST:
            return self.front_end(waveform)
        numbers = index.tolist()
        for row, number in enumerate(numbers):
            if number not in self.kept:  # each alone: in a batch, its neighbours decide how the last bit is rounded
                self.kept[number] = self.front_end(waveform[row : row + 1])
        return torch.cat([self.kept[number] for number in numbers])


class Stage(lightning.LightningModule):
    """One run's network, loss and optimiser for Lightning's Trainer. clips: how many there are to train on; cropped: whether
    there are some of which a step hears a part."""

    def __init__(self, tagger: Tagger, run: Run, clips: int, cropped: bool = False, average: Average | None = None):
        super().__init__()
        self.tagger, self.run, self.average = tagger, run, average
        self.logmels = LogMels(tagger.front_end, clips, cropped or run.training.augmentation.of_waveforms)
        # What the last step measured on this process's clips, for the curve: on its device, since to read a number
        # there waits for all that a GPU has to do.
        self.row: dict[str, Tensor] = {}
        self.reduction = 1.0  # of the learning rate, by a plateau of held-out clips

    def in_use(self) -> AbstractContextManager[None]:
        """Within this context, the network has the weights that it would be used with: the averaged ones, if there are any."""
        return self.average.in_use(self.tagger) if self.average else nullcontext()

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        parts, rank, world = self.run.training.accumulate, self.global_rank, self.trainer.world_size
        seconds = self.tagger.seconds(batch["waveform"])
        if parts > 1:
            self.optimizers().zero_grad()  # here, not between the last part's loss and its gradient: `optimizer_zero_grad`
        whole = self.augmented(batch)
        torch.manual_seed(torch_seed(Use.DROPOUT, self.run.seed, self.global_step, rank))
        self.row = {}
        # A stride of `world`, so that each part is of the same clips for any number of processes.
        for number in range(rank, parts * world, world):
            values = self.losses_of(whole.part(number, parts * world), number, seconds)
            values = {name: value / parts for name, value in values.items()}
            self.row = {name: value.detach() + self.row.get(name, 0.0) for name, value in values.items()}
            if number + world < parts * world:
                with torch.autocast(self.device.type, enabled=False):
                    values["loss"].backward()
        self.check_on_cpu(self.global_step + 1)
        return values["loss"]

    def augmented(self, batch: dict[str, Tensor]) -> Augmented:
        """The batch of all processes as it is trained on, from this one's part of it."""
        settings = self.run.training
        waveform, target = batch["waveform"], batch["target"]
        if "lesson" in batch:  # is mixed as the labels are
            target = torch.cat([target, batch["lesson"]], 1)

        def draw(use: Use) -> np.random.Generator:
            return generator(use, self.run.seed, self.global_step)

        if settings.augmentation.of_waveforms:
            world, rank = self.trainer.world_size, self.global_rank
            waveform, target = self.whole_batch(waveform.float() * 2.0**-15, target)
            waveform, target = augment_waveforms(
                waveform, target, settings.augmentation, self.run.audio.sample_rate, draw
            )
            waveform, target = waveform.chunk(world)[rank], target.chunk(world)[rank]
        logmel, target = self.whole_batch(self.logmels(waveform, batch["index"]), target)
        masks, mixing, style = map(draw, (Use.MASKS, Use.MIXUP, Use.MIX_STYLE))
        return augment(logmel, target, settings, masks, mixing, self.tagger.windows(logmel.shape[2]), style)

    def losses_of(self, part: Augmented, number: int, seconds: float) -> dict[str, Tensor]:
        """The losses of a part of the batch, the `number`th of as many clips each, of `seconds`."""
        seed, clips = self.run.seed, len(part.logmel)
        windows = None
        if self.run.glat and self.run.glat.selection == "random":
            places = range(number * clips, (number + 1) * clips)  # in the batch
            windows = [torch_generator(Use.TRAINING_WINDOWS, seed, self.global_step, place) for place in places]
        streams = self.tagger.from_logmel(part.logmel, seconds, windows, part.masked, part.keep_windows)
        settings, (target, *lesson) = self.run.training, part.target.split(self.run.classes, 1)
        lesson = Lesson(*lesson) if lesson else None
        target = smooth(target, settings.label_smoothing)
        learned = bool(self.run.glat and self.run.glat.fusion == "learned")
        return losses(streams, target, self.run.frozen_streams, lesson, settings.distillation, learned)

    def optimizer_zero_grad(self, *arguments) -> None:
        """As Lightning has it, but for a batch in parts, where it would clear the gradients of all parts but the last."""
        if self.run.training.accumulate == 1:
            super().optimizer_zero_grad(*arguments)

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

    def check(self, values: dict[str, Tensor] | dict[str, float], step: int) -> None:
        """Raise GlatError, with the cause and what to do, unless all that was measured up to a step is finite.

        A GPU is asked where a line of the curve is written, and before anything is saved; a CPU at each step.
        """
        for name, value in values.items():
            if not math.isfinite(value):
                what = name.replace("gradient_norm", "gradient").partition("_")[0]
                if all(p.isfinite().all() for p in self.tagger.parameters()):
                    why = "the network's output overflowed; lower training.learning_rate or set execution.precision: float32"
                else:
                    why = "weights are not finite; lower training.learning_rate or set training.gradient_clip"
                raise GlatError(f"{self.run.folder}: step {step}: the {what} is {float(value)}: {why}")

    def check_on_cpu(self, step: int) -> None:
        if self.device.type == "cpu":
            self.check(self.row, step)

    def configure_gradient_clipping(self, optimizer, *_args, **_kwargs) -> None:
        """Clip the norm of each stream's gradient by itself: one norm over both would couple losses that have nothing to
        do with each other (ours). Weights that both streams share are clipped once, with the global stream."""
        limit, seen, norms = self.run.training.gradient_clip, set(), []
        for backbone in self.tagger.backbones().values():
            weights = [p for p in backbone.parameters() if p.grad is not None and p not in seen]
            seen.update(weights)
            if weights:
                norms.append(torch.nn.utils.get_total_norm([p.grad for p in weights]))  # type: ignore[misc]
                if limit:
                    torch.nn.utils.clip_grads_with_norm_(weights, limit, norms[-1])
        norm = torch.linalg.vector_norm(torch.stack(norms))
        rate = torch.tensor(optimizer.param_groups[0]["lr"], dtype=torch.float64)
        self.row |= {"learning_rate": rate, "gradient_norm": norm}
        self.check_on_cpu(self.global_step + 1)

    def configure_optimizers(self):
        settings = self.run.training
        weights = optimiser(self.tagger, settings, fused=self.device.type == "cuda")
        schedule = torch.optim.lr_scheduler.LambdaLR(weights, lambda step: rate_factor(settings, step) * self.reduction)
        return {"optimizer": weights, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


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

    def __init__(self, run: Run, packs: Packs, start: int, workers: int = 0, teacher: Teacher | None = None):
        super().__init__()
        self.run, self.packs, self.start, self.workers, self.teacher = run, packs, start, workers, teacher

    def train_dataloader(self) -> DataLoader:
        settings, packs = self.run.training, self.packs
        # Unbalanced is balanced over a single class that every clip has.
        labels = packs.labels if settings.balanced else Labels.from_dense(np.ones((len(packs), 1), bool))
        left_out = held_out_clips(self.run, len(packs))
        clips = settings.batch_size * (2 if settings.mixup_pairs else 1)
        batches = BalancedBatches(labels, clips, self.run.seed, left_out)
        sampler = FromStep(batches, self.start, settings.steps, self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(
            Lessons(packs, self.teacher) if self.teacher else Crops(packs),
            batch_sampler=sampler,
            collate_fn=as_is,
            num_workers=self.workers,
            pin_memory=self.trainer.strategy.root_device.type == "cuda",
            persistent_workers=self.workers > 0,
        )

"""The sections of params.yaml that say how networks are trained: the method, the weights to start from, the training, and
how it is executed. A run's config.yaml holds all of them but the execution.

Defaults are those of params.yaml (a test compares them), for checkpoints, runs and callers that leave a key out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from ..lib.layout import TEACHER
from .types import (
    BackboneName,
    Count,
    InputPath,
    Name,
    Natural,
    Override,
    Positive,
    Seeds,
    Settings,
    Share,
    UniqueList,
    off,
)


class Glat(Settings):
    """Settings of GL-AT; `glat.models.TwoStream` says what each does."""

    n: Count = 5
    tau: Positive = 3.0
    selection: Literal["attention", "soft", "random", "uniform"] = "attention"
    suppress: bool = False
    frame_classifier: Literal["global", "local"] = "global"
    frame_dropout: bool = False
    frame_time: Literal["middle", "start"] = "middle"
    training: Literal["joint", "frozen_global", "none"] = "joint"
    sharing: Literal["none", "classifier", "backbone"] = "none"
    scoring: Literal["all", "own"] = off("all")
    fusion: Literal["mean_max", "learned"] = off("mean_max")
    extra_taus: UniqueList[Positive] = off([])

    @property
    def taus(self) -> list[float]:
        """The lengths of windows in seconds, of each of which there are N."""
        return [self.tau, *self.extra_taus]


class Init(Settings):
    """Files of weights to start from, by stream and backbone."""

    global_: dict[BackboneName, InputPath] = Field(default={}, alias="global")
    local: dict[BackboneName, InputPath] = Field(default={})


class SpecAugment(Settings):
    where: Literal["clip", "windows"] = "clip"
    time_stripes: Natural = 2
    time_width: Natural = 64
    mel_stripes: Natural = 2
    mel_width: Natural = 8


class WaveformMixup(Settings):
    rate: Share = 0.0
    alpha: Positive = 2.0


class MixStyle(Settings):
    rate: Share = 0.0
    alpha: Positive = 0.4


class Augmentation(Settings):
    """Augmentation of later work than the paper: `glat.training.waveforms` and `glat.training.augmentation.mix_style` say what
    each does."""

    roll: Annotated[float, Field(ge=0)] = 0.0
    gain: Annotated[float, Field(ge=0)] = 0.0
    waveform_mixup: WaveformMixup = WaveformMixup()
    mix_style: MixStyle = MixStyle()

    @property
    def of_waveforms(self) -> bool:
        """Whether a clip's waveform differs from step to step."""
        return bool(self.roll or self.gain or self.waveform_mixup.rate)


class Plateau(Settings):
    """`schedule: plateau`: every `every` steps, mAP on training clips that no step trains on, a share `held_out` drawn by
    the run's seed; after more than `patience` looks in a row without a better one, the learning rate times `factor`."""

    every: Count = 1000
    patience: Natural = 3
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.8
    held_out: Annotated[float, Field(gt=0, le=0.5)] = 0.01


class Decay(Settings):
    """`schedule: linear` and `exponential`: the learning rate is whole up to a share `start` of all steps, `last` of it from
    the share `end` on, and on a line between them, of the rate or of its logarithm. The values are EfficientAT's, whose line
    is from epoch 80 to 175 of 200."""

    start: Share = 0.4
    end: Share = 0.875
    last: Annotated[float, Field(gt=0, le=1)] = 0.01


class Validation(Settings):
    """`select: best`: every `every` steps, mAP on all clips of the dataset's `validate` splits; after `patience` looks in a row
    without a better one, the training ends (None: only with its last step)."""

    every: Count = 1000
    patience: Count | None = None


class LastNetworks(Settings):
    """`average`: the mean of the last `last` networks, `every` steps apart, the last of all among them."""

    last: Annotated[int, Field(ge=2)] = 5
    every: Count = 1000


def _hdf5_or_folder(path: str) -> str:
    if (suffix := Path(path).suffix.lower()) in (".npy", ".npz", ".pkl", ".pickle", ".pt", ".csv"):
        raise ValueError(f"a {suffix} file; convert it to HDF5, as docs/recipe.md shows")
    return path


class TeacherFile(Settings):
    """Scores of the training clips by another network, a teacher: an HDF5 file, or a run's folder. known: it must know at least
    this share of the clips, and of the classes."""

    teacher: Annotated[InputPath, AfterValidator(_hdf5_or_folder)]
    known: Annotated[float, Field(gt=0, le=1)] = 0.9

    @property
    def file(self) -> Path:
        """The file itself: of a run's folder, what `glat teach` writes there."""
        path = Path(self.teacher)
        return path if path.suffix.lower() in (".h5", ".hdf5", ".hdf") or path.is_file() else path / TEACHER


class Distillation(TeacherFile):
    """Learning from a teacher (`glat.training.distillation`): a stream's loss is (1 - weight) L + weight T, where L is its loss
    by the labels and T its loss by the teacher's scores. temperature: by which the teacher's logits are divided."""

    weight: Annotated[float, Field(gt=0, le=1)] = 0.9
    temperature: Positive = 1.0
    stream: Literal["both", "global", "local"] = "both"

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that learn from it."""
        return ("global", "local") if self.stream == "both" else (self.stream,)


class EnhancedLabels(TeacherFile):
    """Labels that a teacher adds to those of the lists (`glat.training.enhancement`). threshold: the score from which it adds a
    class: the mean, the median or a percentile of its scores of the clips that have the label."""

    threshold: Literal["mean", "median"] | Annotated[float, Field(ge=0, le=100)] = "mean"


class Execution(Settings):
    """How trainings and evaluations are executed: nothing here changes the mathematics, so no run depends on it.

    What does depend on it: how sums are rounded (`precision`, accelerator, `compile`, processes), and dropout, which each
    process draws for its own part of a batch. Batch k, its augmentation and its batch norm are the same for any number of
    processes.
    """

    precision: Literal["auto", "bf16", "float32"] = "auto"
    checkpoint_every: Count = 2000
    keep_every: Count | None = None
    log_every: Count = 100
    workers: Natural = 0
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    compile: bool = False
    devices: Count = 1
    nodes: Count = 1

    @property
    def processes(self) -> int:
        return self.devices * self.nodes


class Executions(Execution):
    """`Execution` of all networks, and what is different for some, by backbone."""

    by_backbone: dict[BackboneName, Override[Execution]] = Field(default={})


class Training(Settings):
    """How one network is trained: all that changes its weights, besides the network itself and its data."""

    steps: Count = 800_000
    batch_size: Count = 32
    learning_rate: Positive = 1e-3
    amsgrad: bool = False
    optimizer: Literal["adam", "adamw"] = off("adam")
    weight_decay: Annotated[float, Field(ge=0)] = off(0.0)
    accumulate: Count = off(1)
    schedule: Literal["constant", "cosine", "plateau", "linear", "exponential"] = "constant"
    decay: Decay = off(Decay())
    plateau: Plateau = Plateau()
    warmup: Natural = 0
    rise: Literal["linear", "exponential"] = off("linear")
    balanced: bool = True
    mixup_alpha: Annotated[float, Field(ge=0)] = 1.0
    mixup_pairs: bool = off(False)
    spec_augment: SpecAugment = SpecAugment()
    augmentation: Augmentation = off(Augmentation())
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = off(0.0)
    gradient_clip: Positive | None = None
    sync_batchnorm: bool = True
    freeze_backbone: Natural = 0
    backbone_learning_rate: Positive = 1.0
    layer_decay: Annotated[float, Field(gt=0, le=1)] = off(1.0)
    freeze: UniqueList[Literal["global", "local"]] = off([])
    select: Literal["last", "best"] = "last"
    validation: Validation = Validation()
    ema: Annotated[float, Field(gt=0, lt=1)] | None = off(None)
    average: LastNetworks | None = off(None)
    distillation: Distillation | None = off(None)
    enhanced_labels: EnhancedLabels | None = off(None)

    @property
    def teachers(self) -> dict[str, TeacherFile]:
        """The teachers that it has, by the name of the setting."""
        found: dict[str, TeacherFile | None] = {
            "distillation": self.distillation,
            "enhanced_labels": self.enhanced_labels,
        }
        return {name: teacher for name, teacher in found.items() if teacher}

    @property
    def extendable(self) -> bool:
        """Whether more steps continue the same training: neither a learning rate nor what is averaged depends on how many
        there are in all."""
        return self.schedule in ("constant", "plateau") and self.average is None


class Trainings(Training):
    """`Training` of all networks, and what is different for some, by backbone."""

    by_backbone: dict[BackboneName, Override[Training]] = Field(default={})


class Ladder(Settings):
    """Recipes of training, one on top of the other: each rung has a name and the settings that it adds to those below it. On
    top of all: GL-AT, and variants of it by the names of `controls.variants`. beside: other backbones, each with the steps of
    its own trainings."""

    backbone: BackboneName = "cnn10"
    rungs: dict[Name, Override[Training]] = Field(default={})
    variants: UniqueList[str] = Field(default=[])
    beside: dict[BackboneName, Count] = Field(default={})
    seeds: Seeds | None = None

    def up_to(self, rung: str) -> list[dict[str, Any]]:
        """The settings of the rungs from the lowest one to this one."""
        names = list(self.rungs)
        return [dict(self.rungs[name]) for name in names[: names.index(rung) + 1]]

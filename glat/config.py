"""params.yaml as typed, checked settings, and the runs that follow from them.

A wrong key or value is told in one sentence with its path and what is allowed (`GlatError`).
"""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import GlatError
from .registry import BACKBONES

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Glat(Settings):
    """Settings of GL-AT; `glat.models.TwoStream` says what each does."""

    n: Count = 5
    tau: Positive = 3.0
    selection: Literal["attention", "random", "uniform"] = "attention"
    suppress: bool = False
    frame_classifier: Literal["global", "local"] = "global"
    frame_time: Literal["middle", "start"] = "middle"
    training: Literal["joint", "frozen_global"] = "joint"
    sharing: Literal["none", "classifier", "backbone"] = "none"


class Init(Settings):
    """Files of weights to start from, by stream and backbone."""

    global_: dict[str, str] = Field(default_factory=dict, alias="global")
    local: dict[str, str] = Field(default_factory=dict)


class Audio(Settings):
    sample_rate: Count = 32000
    clip_seconds: Positive = 10.0
    min_seconds: Positive = 0.5


class SpecAugment(Settings):
    time_stripes: Natural = 2
    time_width: Natural = 64
    mel_stripes: Natural = 2
    mel_width: Natural = 8


class Training(Settings):
    steps: Count
    batch_size: Count = 32
    learning_rate: Positive = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: Natural = 0
    balanced: bool = True
    mixup_alpha: Annotated[float, Field(ge=0)] = 1.0
    spec_augment: SpecAugment = SpecAugment()
    gradient_clip: Positive | None = None
    precision: Literal["auto", "bf16", "float32"] = "auto"
    checkpoint_every: Count = 2000
    log_every: Count = 100
    workers: Natural = 0
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Count = 1
    nodes: Count = 1


class Evaluation(Settings):
    batch_size: Count = 32
    resamples: Count = 1000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    seed: Natural = 0


class Table2(Settings):
    backbone: str = "cnn10"


class Fig2(Settings):
    """The sweeps of Fig. 2: `n` at glat.tau and `tau` at glat.n, for the seeds given (null: all of `seeds`)."""

    backbone: str = "cnn10"
    n: list[Count] = Field(min_length=1)
    tau: list[Positive] = Field(min_length=1)
    seeds: list[Natural] | None = None


class Controls(Settings):
    backbones: list[str] = ["cnn10"]
    seeds: list[Natural] | None = None


class Report(Settings):
    clips: Natural = 4


class Dataset(Settings):
    """Where a corpus comes from, its size, what of it trains and evaluates, and the size of the networks for it.

    width: channels relative to the published networks, for all backbones or by name, where `default` is that of those
    not named. dropout: a factor on the
    published dropout rates. hop: of the log-mel front end in samples at 32 kHz, where a backbone has none of its own.
    """

    source: dict[str, Any]
    classes: Count
    shard_size: Count
    splits: dict[str, Count]
    train: list[str] = Field(min_length=1)
    evaluate: list[str] = Field(min_length=1)
    width: Positive | dict[str, Positive] = 1.0
    dropout: Annotated[float, Field(ge=0, le=2)] = 1.0
    hop: Count = 320
    training: dict[str, Any] = {}

    def width_of(self, backbone: str) -> float | None:
        """The width of a backbone's network; None if there is none for it."""
        if isinstance(self.width, dict):
            return self.width.get(backbone, self.width.get("default"))
        return self.width

    def shards(self, split: str) -> int:
        """Number of shards of up to `shard_size` segments."""
        return ceil(self.splits[split] / self.shard_size)


class Params(Settings):
    """All of params.yaml."""

    dataset: str
    seeds: list[Natural] = Field(min_length=1)
    backbones: list[str] = Field(min_length=1)
    glat: Glat
    init: Init = Init()
    audio: Audio
    training: Training
    evaluation: Evaluation
    table2: Table2 = Table2()
    fig2: Fig2
    controls: Controls = Controls()
    report: Report = Report()
    datasets: dict[str, Dataset]

    @model_validator(mode="after")
    def _fits_together(self) -> Params:
        for key, named in (("init.global", self.init.global_), ("init.local", self.init.local)):
            for backbone, path in named.items():
                if Path(path).parts[:2] == ("runs", self.dataset):
                    raise ValueError(
                        f"{key}.{backbone}: {path} is a run that these settings would change; copy the file elsewhere"
                    )
        if self.dataset not in self.datasets:
            raise ValueError(f"dataset: {self.dataset!r} is not an entry of datasets: {', '.join(self.datasets)}")
        for key, named in (("init.global", self.init.global_), ("init.local", self.init.local)):
            if unknown := [name for name in named if name not in BACKBONES]:
                raise ValueError(f"{key}: {unknown[0]!r} is not a backbone; allowed are {', '.join(BACKBONES)}")
        if self.glat.training == "frozen_global" and self.glat.sharing != "none":
            raise ValueError("glat.sharing: with glat.training 'frozen_global' only 'none' leaves weights to train")
        for key, names in (
            ("backbones", self.backbones),
            ("table2.backbone", [self.table2.backbone]),
            ("fig2.backbone", [self.fig2.backbone]),
            ("controls.backbones", self.controls.backbones),
        ):
            for name in names:
                if name not in BACKBONES:
                    raise ValueError(f"{key}: {name!r} is not known; allowed are {', '.join(BACKBONES)}")
        for key, values in (
            ("seeds", self.seeds),
            ("backbones", self.backbones),
            ("fig2.n", self.fig2.n),
            ("fig2.tau", self.fig2.tau),
            ("fig2.seeds", self.fig2.seeds or []),
            ("controls.backbones", self.controls.backbones),
            ("controls.seeds", self.controls.seeds or []),
        ):
            if len(set(values)) < len(values):
                raise ValueError(f"{key}: an entry is there twice: {values}")
        if self.glat.training == "frozen_global" and (
            lost := [b for b in self.all_backbones if b not in self.init.global_]
        ):
            raise ValueError(
                f"init.global: glat.training 'frozen_global' needs weights of the global stream for {', '.join(lost)}"
            )
        for key, taus in (("glat.tau", [self.glat.tau]), ("fig2.tau", self.fig2.tau)):
            if max(taus) > self.audio.clip_seconds:
                raise ValueError(
                    f"{key}: {max(taus)} s is longer than a clip (audio.clip_seconds: {self.audio.clip_seconds})"
                )
        for name, dataset in self.datasets.items():
            for key in ("train", "evaluate"):
                if len(set(getattr(dataset, key))) < len(getattr(dataset, key)):
                    raise ValueError(f"datasets.{name}.{key}: a split is there twice: {getattr(dataset, key)}")
                for split in getattr(dataset, key):
                    if split not in dataset.splits:
                        raise ValueError(
                            f"datasets.{name}.{key}: {split!r} is not one of its splits: {', '.join(dataset.splits)}"
                        )
            if lost := [b for b in self.all_backbones if dataset.width_of(b) is None]:
                raise ValueError(f"datasets.{name}.width: no width for {', '.join(lost)}; name it, or a `default`")
            training = self.training_of(name)
            if training.batch_size % (training.devices * training.nodes):
                raise ValueError(
                    f"datasets.{name}: training.batch_size {training.batch_size} does not divide among "
                    f"{training.devices} devices on {training.nodes} nodes"
                )
        for key, taus, backbones in (
            ("glat.tau", [self.glat.tau], self.all_backbones),
            ("fig2.tau", self.fig2.tau, [self.fig2.backbone]),
        ):
            for name in backbones:
                entry = BACKBONES[name]
                least = entry.min_frames * (entry.hop or self.chosen.hop) / 32000
                if min(taus) < least:
                    raise ValueError(f"{key}: {min(taus)} s, but {entry.title} needs windows of at least {least:.2f} s")
        for key, counts in (("glat.n", [self.glat.n]), ("fig2.n", self.fig2.n)):
            if max(counts) > self.chosen.classes:
                raise ValueError(
                    f"{key}: {max(counts)} windows, but {self.dataset} has only {self.chosen.classes} classes to choose "
                    "them by"
                )
        return self

    @property
    def all_backbones(self) -> list[str]:
        """Every backbone that some result needs."""
        return list(
            dict.fromkeys([*self.backbones, self.table2.backbone, self.fig2.backbone, *self.controls.backbones])
        )

    @property
    def chosen(self) -> Dataset:
        return self.datasets[self.dataset]

    def training_of(self, dataset: str) -> Training:
        """`training` with what the dataset's own entry overrides."""
        try:
            return Training.model_validate(_merge(self.training.model_dump(), self.datasets[dataset].training))
        except ValidationError as error:
            raise ValueError(sentence(error, f"datasets.{dataset}.training.")) from None


def load(path: str | Path = "params.yaml", overrides: dict[str, Any] | None = None) -> Params:
    """Read and check a params file; `overrides` maps dotted keys to values that replace the file's.

    Raises:
        GlatError: no such file, not YAML, or a key or value that is not allowed.
    """
    try:
        settings = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise GlatError(f"{path}: no such file; run from the project's root or name it with --params") from None
    except (OSError, UnicodeDecodeError) as error:
        raise GlatError(f"{path}: cannot be read as settings: {error}") from None
    except yaml.YAMLError as error:
        raise GlatError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(settings, dict):
        raise GlatError(f"{path}: expected keys and values, found {type(settings).__name__}")
    for key, value in (overrides or {}).items():
        nested: Any = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        settings = _merge(settings, nested)
    return parse(settings, str(path))


def parse(settings: dict[str, Any], name: str = "params.yaml") -> Params:
    """Check settings that were read already (Snakemake's `config`); `name` goes into the messages."""
    try:
        return Params.model_validate(settings)
    except ValidationError as error:
        raise GlatError(f"{name}: {sentence(error)}") from None


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def sentence(error: ValidationError, prefix: str = "") -> str:
    """The first thing that pydantic found wrong, as `path: what is wrong`."""
    first = error.errors()[0]
    place = prefix + ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key {place}; see the comments in params.yaml for the keys there are"
    if first["type"] == "missing":
        return f"key {place} is missing"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    message = first["msg"]
    return f"{place}: {first['input']!r} is not allowed: {message[0].lower()}{message[1:]}"

"""The settings of params.yaml by section, each with its type and range; `glat.config.params` puts them together and checks them
against each other."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..lib.escaping import NAME

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
# More than any network has, and no more than one machine has the memory for: a checkpoint says these of itself.
Rate = Annotated[int, Field(ge=1, le=768_000)]
Hop = Annotated[int, Field(ge=1, le=3200)]
ClipSeconds = Annotated[float, Field(gt=0, le=3600)]
Width = Annotated[float, Field(gt=0, le=64)]
Seeds = Annotated[list[Natural], Field(min_length=1)]


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError(
            f"{text!r} cannot be a name: use up to 100 letters, digits, '_', '.' and '-', and begin with a letter, a digit "
            "or '_'"
        )
    return text


# It stands in paths, and in commands of Snakemake's and DVC's.
Name = Annotated[str, AfterValidator(_name)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")]


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Glat(Settings):
    """Settings of GL-AT; `glat.models.TwoStream` says what each does."""

    n: Count = 5
    tau: Positive = 3.0
    selection: Literal["attention", "random", "uniform"] = "attention"
    suppress: bool = False
    frame_classifier: Literal["global", "local"] = "global"
    frame_dropout: bool = False
    frame_time: Literal["middle", "start"] = "middle"
    training: Literal["joint", "frozen_global"] = "joint"
    sharing: Literal["none", "classifier", "backbone"] = "none"


class Init(Settings):
    """Files of weights to start from, by stream and backbone."""

    global_: dict[str, str] = Field(default_factory=dict, alias="global")
    local: dict[str, str] = Field(default_factory=dict)


class Weights(Settings):
    """Published weights: an address or a path, and the checksums that their publisher gives."""

    file: str
    md5: Annotated[str, Field(pattern="^[0-9a-fA-F]{32}$")] | None = None
    sha256: Sha256 | None = None


class Listed(Settings):
    """A list of a dataset: its address or path, and its checksum."""

    file: str
    sha256: Sha256


class Fetch(Settings):
    """What a file from an address may be: how large, and how long its fetching may take, all tries together."""

    max_gigabytes: Positive = 4.0
    max_hours: Annotated[float, Field(gt=0, le=8760)] = 12.0


class Waveform(Settings):
    """What a network hears: rate in Hz and length in seconds."""

    sample_rate: Rate = 32000
    clip_seconds: ClipSeconds = 10.0


class Limits(Settings):
    """What one sound may cost: bytes of its file, seconds of sound decoded for it, seconds that decoding may take."""

    bytes: Positive = 16e9
    seconds: Positive = 43200.0
    time: Positive = 600.0


class Audio(Waveform):
    """And what packs of it are made."""

    @property
    def waveform(self) -> Waveform:
        """What of it a run depends on."""
        return Waveform(sample_rate=self.sample_rate, clip_seconds=self.clip_seconds)

    min_seconds: Positive = 0.5
    codec: Literal["pcm16", "flac"] = "pcm16"
    limits: Limits = Limits()


class SpecAugment(Settings):
    where: Literal["clip", "windows"] = "clip"
    time_stripes: Natural = 2
    time_width: Natural = 64
    mel_stripes: Natural = 2
    mel_width: Natural = 8


class Plateau(Settings):
    """`schedule: plateau`: every `every` steps, mAP on training clips that no step trains on, a share `held_out` drawn by
    the run's seed; after more than `patience` looks in a row without a better one, the learning rate times `factor`."""

    every: Count = 1000
    patience: Natural = 3
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.8
    held_out: Annotated[float, Field(gt=0, le=0.5)] = 0.01


class Training(Settings):
    """How one network is trained."""

    steps: Count
    batch_size: Count = 32
    learning_rate: Positive = 1e-3
    amsgrad: bool = False
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    plateau: Plateau = Plateau()
    warmup: Natural = 0
    balanced: bool = True
    mixup_alpha: Annotated[float, Field(ge=0)] = 1.0
    spec_augment: SpecAugment = SpecAugment()
    gradient_clip: Positive | None = None
    sync_batchnorm: bool | None = None
    precision: Literal["auto", "bf16", "float32"] = "auto"
    checkpoint_every: Count = 2000
    keep_every: Count | None = None
    log_every: Count = 100
    workers: Natural = 0
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Count = 1
    nodes: Count = 1

    @property
    def processes(self) -> int:
        return self.devices * self.nodes

    @property
    def synchronised(self) -> bool:
        """Whether batch norm is over the clips of all processes."""
        return self.processes > 1 and self.sync_batchnorm is not False


class Trainings(Training):
    """How networks are trained: all of them, and what is different for some, by backbone."""

    by_backbone: dict[str, dict[str, Any]] = {}


class Evaluation(Settings):
    batch_size: Count = 32
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    seed: Natural = 0
    only: str | None = None  # a file that lists the clips to score: `glat.scoring.manifest.read_list`


class Table1(Settings):
    """Backbones of which Table 1, where it has them, shows two networks on the whole clip beside GL-AT."""

    two_networks: list[str] = ["cnn10"]


class Table2(Settings):
    backbone: str = "cnn10"


class Fig2(Settings):
    """The sweeps of Fig. 2: `n` at glat.tau and `tau` at glat.n, for the seeds given (null: all of `seeds`)."""

    backbone: str = "cnn10"
    n: list[Count] = Field(min_length=1)
    tau: list[Positive] = Field(min_length=1)
    seeds: Seeds | None = None


class Controls(Settings):
    """Which controls, by the names of `glat.config.experiments.QUESTIONS` (null: all), of which backbones, with which seeds."""

    backbones: list[str] = Field(default=["cnn10"], min_length=1)
    settings: list[str] | None = None
    seeds: Seeds | None = None


class Report(Settings):
    clips: Natural = 4


class Audit(Settings):
    """How many clips of a split the audit listens to, and the seed that they are drawn with."""

    clips: Count = 200
    seed: Natural = 0


class Served(Settings):
    """What a model of MLflow takes from whoever asks it: in one sound, bytes, seconds of sound and seconds of decoding,
    and in one request, sounds and seconds of sound."""

    max_bytes: Count = 50_000_000
    max_seconds: Positive = 600.0
    max_sounds: Count = 64
    timeout: Positive = 30.0


class Tracking(Settings):
    """What MLflow is told; no training and no score depends on it. The looks of `watch`, where there are any, may mark a
    training as not converged (`glat.training.convergence`); nothing else depends on them."""

    enabled: bool = True
    models: list[Literal["table1", "table2", "fig2a", "fig2b", "controls"]] | None = None
    registered_model: Name | None = None
    watch: Annotated[float, Field(ge=0, le=1)] = 0.06
    served: Served = Served()


class Dataset(Settings):
    """Where a corpus comes from, its size, what of it trains and evaluates, and the size of the networks for it.

    width: channels relative to the published networks, for all backbones or by name, where `default` is that of those
    not named. dropout: a factor on the
    published dropout rates. hop: of the log-mel front end in samples at 32 kHz, where a backbone has none of its own.
    """

    source: dict[str, Any]
    metadata: str | dict[str, str | Listed] | None = (
        None  # where the lists come from, for a source that has none of its own
    )
    classes: Count
    shard_size: Count
    splits: dict[Name, Count]
    train: list[Name] = Field(min_length=1)
    evaluate: list[Name] = Field(min_length=1)
    width: Width | dict[str, Width] = 1.0
    dropout: Annotated[float, Field(ge=0, le=2)] = 1.0
    hop: Hop = 320
    training: dict[str, Any] = {}

    def lists(self) -> dict[str, str]:
        """Where each list comes from, by name: a path or an address. Empty for a source that makes its own.

        Raises:
            ValueError: a list that is needed has no place, or a name is none of a list.
        """
        needed = ["class_labels_indices.csv", *(f"{split}_segments.csv" for split in self.splits)]
        optional = [f"{split}_strong.tsv" for split in self.splits]
        if self.metadata is None:
            return {}
        if isinstance(self.metadata, str):
            found = {name: str(Path(self.metadata) / name) for name in needed}
            return found | {name: str(path) for name in optional if (path := Path(self.metadata) / name).is_file()}
        if lost := [name for name in needed if name not in self.metadata]:
            raise ValueError(f"metadata: {lost[0]} is missing; give its address or path, or a folder that has them all")
        if extra := [name for name in self.metadata if name not in needed + optional]:
            raise ValueError(f"metadata: {extra[0]} is no list of this dataset; it has {', '.join(needed + optional)}")
        return {name: one.file if isinstance(one, Listed) else one for name, one in self.metadata.items()}

    def checksums(self) -> dict[str, str]:
        """The SHA-256 that lists must have, by name, where it is given."""
        given = self.metadata if isinstance(self.metadata, dict) else {}
        return {name: one.sha256 for name, one in given.items() if isinstance(one, Listed)}

    def width_of(self, backbone: str) -> float | None:
        """The width of a backbone's network; None if there is none for it."""
        if isinstance(self.width, dict):
            return self.width.get(backbone, self.width.get("default"))
        return self.width

    def shards(self, split: str) -> int:
        """Number of shards of up to `shard_size` segments."""
        return ceil(self.splits[split] / self.shard_size)

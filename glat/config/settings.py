"""The sections of params.yaml but for those of `glat.config.training`, each with its own checks; `glat.config.params` puts
them together. Defaults are those of params.yaml (a test compares them), for callers that leave a key out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from ..lib import addresses
from ..lib.errors import GlatError
from ..lib.layout import CLASS_LIST, WEIGHTS, segment_list, shard_count, strong_list
from .training import Executions, Glat, Init, Trainings
from .types import (
    BackboneName,
    Backbones,
    ClipSeconds,
    Count,
    Dropout,
    Hop,
    InputPath,
    Md5,
    Name,
    Natural,
    Override,
    Positive,
    Rate,
    Seeds,
    Settings,
    Sha256,
    Share,
    UniqueList,
    Width,
    check_path,
)

AUDIOSET_CLASSES = "https://storage.googleapis.com/us_audioset/youtube_corpus/v1/csv/class_labels_indices.csv"


class Weights(Settings):
    """Published weights: an address or a path, and the checksums that their publisher gives. classes: the address or path of
    the class list of their outputs, which such a file does not hold; None: it is not known."""

    file: InputPath
    md5: Md5 | None = None
    sha256: Sha256 | None = None
    classes: InputPath | None = AUDIOSET_CLASSES

    @property
    def path(self) -> Path:
        """Where the file lies once it is there (`_place`)."""
        return _place(self.file, bool(self.md5 or self.sha256), "the checkpoint")

    @property
    def class_list(self) -> Path | None:
        """Where the class list lies once it is there, in the same way."""
        return _place(self.classes, False, "the class list") if self.classes else None


def _place(file: str, checked: bool, what: str) -> Path:
    """Where a file lies once it is there: a path is itself, an address has a place in `weights/`. Of those without a checksum,
    the name tells the address too: nothing else would tell two files of one name apart.

    Raises:
        GlatError: an address that does not name a file.
    """
    if not addresses.is_address(file):
        return Path(file)
    if not (name := addresses.file_name(file)):
        raise GlatError(f"{file}: this address does not name a file; give the address of {what}")
    path = WEIGHTS / name
    return path if checked else path.with_name(f"{path.stem}-{addresses.address_hash(file)}{path.suffix}")


class Listed(Settings):
    """A list of a dataset: its address or path, and its checksum."""

    file: str
    sha256: Sha256


class Fetch(Settings):
    """`glat.lib.addresses.Limits`."""

    max_gigabytes: Positive = 4.0
    max_hours: Annotated[float, Field(gt=0, le=8760)] = 12.0

    @property
    def limits(self) -> addresses.Limits:
        return addresses.Limits(self.max_gigabytes, self.max_hours)


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
    """The waveform's format, and the packs'."""

    min_seconds: Positive = 0.5
    codec: Literal["pcm16", "flac"] = "pcm16"
    limits: Limits = Limits()

    @property
    def waveform(self) -> Waveform:
        """What of it a run depends on."""
        return Waveform(sample_rate=self.sample_rate, clip_seconds=self.clip_seconds)


class Evaluation(Settings):
    batch_size: Count = 32
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    seed: Natural = 0
    pool: Literal["mean", "maximum"] = "mean"  # the scores of the parts of a clip that is longer than clip_seconds
    only: InputPath | None = None  # a file that lists the clips to score: `glat.scoring.manifest.read_list`


class Table1(Settings):
    """Backbones of which Table 1, where it has them, shows two networks on the whole clip beside GL-AT."""

    two_networks: list[BackboneName] = Field(default=["cnn10"])


class Table2(Settings):
    backbone: BackboneName = "cnn10"


class Fig2(Settings):
    """The sweeps of Fig. 2: `n` at glat.tau and `tau` at glat.n, for the seeds given (null: all of `seeds`)."""

    backbone: BackboneName = "cnn10"
    n: UniqueList[Count] = Field(default=[1, 2, 3, 4, 5, 6, 7], min_length=1)
    tau: UniqueList[Positive] = Field(default=[1, 2, 3, 4, 5, 10], min_length=1)
    seeds: Seeds | None = None


class Controls(Settings):
    """Which controls, by the names of `glat.config.experiments.QUESTIONS` (null: all), and which variants of GL-AT, by those of
    `experiments.variants`, of which backbones, with which seeds."""

    backbones: Backbones = Field(default=["cnn10"])
    settings: list[str] | None = None
    variants: UniqueList[str] = Field(default=[])
    seeds: Seeds | None = None


class Report(Settings):
    clips: Natural


class Audit(Settings):
    """How many clips of a split the audit listens to, and the seed that they are drawn with."""

    clips: Count
    seed: Natural


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
    watch: Share = 0.06
    served: Served = Served()


def _check_places(metadata: str | dict[str, str | Listed] | None) -> str | dict[str, str | Listed] | None:
    for place in metadata.values() if isinstance(metadata, dict) else [metadata or ""]:
        check_path(place if isinstance(place, str) else place.file)
    return metadata


# Sections of params.yaml that a dataset may have values of its own for. `glat.config.params` puts them in their place;
# `training` and `execution`, which have exceptions for backbones too, it layers for each backbone.
OWN_SECTIONS = ("seeds", "backbones", "glat", "init", "audio", "evaluation", "table1", "table2", "fig2", "controls")


class Dataset(Settings):
    """A dataset: its source, its splits, and the size of the networks that are trained on it.

    metadata: where the lists come from, unless the source makes them. train, evaluate: the splits used for each. folds: in
    their place, splits of a cross-validation: each is evaluated on by a run that is trained on the others. validate: those
    by which `training.select: best` chooses a network; nothing trains on them or is evaluated by them. width: channels
    relative to the published networks, one number or one per backbone, with `default` for the others. dropout: a
    factor on the published rates. hop: of the log-mel front end, in samples at 32 kHz; a backbone with a hop of its own
    ignores it. Behind these, the dataset's own values for the sections of params.yaml of these names (`OWN_SECTIONS`,
    training, execution).
    """

    source: dict[str, Any]
    metadata: Annotated[str | dict[str, str | Listed] | None, AfterValidator(_check_places)] = None
    classes: Count
    shard_size: Count
    splits: dict[Name, Count]
    train: UniqueList[Name] = Field(default=[])
    evaluate: UniqueList[Name] = Field(default=[])
    folds: Annotated[UniqueList[Name], Field(min_length=2)] | None = None
    validation: UniqueList[Name] = Field(default=[], alias="validate")
    width: Width | dict[str, Width] = 1.0
    dropout: Dropout = 1.0
    hop: Hop = 320
    seeds: Seeds | None = None
    backbones: Backbones | None = None
    glat: Override[Glat] = Field(default={})  # type: ignore[assignment]  # kept as given, a dict
    init: Override[Init] = Field(default={})  # type: ignore[assignment]
    audio: Override[Audio] = Field(default={})  # type: ignore[assignment]
    evaluation: Override[Evaluation] = Field(default={})  # type: ignore[assignment]
    table1: Override[Table1] = Field(default={})  # type: ignore[assignment]
    table2: Override[Table2] = Field(default={})  # type: ignore[assignment]
    fig2: Override[Fig2] = Field(default={})  # type: ignore[assignment]
    controls: Override[Controls] = Field(default={})  # type: ignore[assignment]
    training: Override[Trainings] = Field(default={})  # type: ignore[assignment]
    execution: Override[Executions] = Field(default={})  # type: ignore[assignment]

    @field_validator("train", "evaluate", "folds", "validation")
    @classmethod
    def _check_splits(cls, named: list[str] | None, info: ValidationInfo) -> list[str] | None:
        splits = info.data.get("splits", named) or []  # where the splits are wrong themselves, that alone is said
        if unknown := [split for split in named or [] if split not in splits]:
            raise ValueError(f"{unknown[0]!r} is not one of its splits: {', '.join(splits)}")
        return named

    @model_validator(mode="after")
    def _check_roles(self) -> Self:
        if self.folds and (self.train or self.evaluate):
            raise ValueError("has folds, which take turns: leave out train and evaluate, or folds")
        if not self.folds and not (self.train and self.evaluate):
            lacking = "evaluate" if self.train else "train"
            raise ValueError(
                f"{lacking}: missing; name at least one of its splits, or give folds for a cross-validation"
            )
        return self

    def training_splits(self, fold: str | None = None) -> list[str]:
        """The splits that a run is trained on: all folds but its own; without a fold, all of them."""
        return [name for name in self.folds or self.train if name != fold]

    def evaluation_splits(self, fold: str | None = None) -> list[str]:
        """The splits that a run is evaluated on: its fold; without one, all of them."""
        return [fold] if fold else self.folds or self.evaluate

    @field_validator("validation")
    @classmethod
    def _check_apart(cls, named: list[str], info: ValidationInfo) -> list[str]:
        for role in ("train", "evaluate", "folds"):
            if shared := [split for split in named if split in (info.data.get(role) or [])]:
                raise ValueError(f"{shared[0]!r} is one of its splits of `{role}` too; validate on clips of their own")
        return named

    def lists(self) -> dict[str, str]:
        """Where each list comes from, by name: a path or an address. Empty for a source that makes its own.

        Raises:
            ValueError: a list that is needed has no place, or a name is none of a list.
        """
        needed = [CLASS_LIST, *map(segment_list, self.splits)]
        optional = [*map(strong_list, self.splits)]
        if self.metadata is None:
            return {}
        if isinstance(self.metadata, str):
            found = {name: str(Path(self.metadata) / name) for name in needed}
            return found | {name: str(path) for name in optional if (path := Path(self.metadata) / name).is_file()}
        if lost := [name for name in needed if name not in self.metadata]:
            raise ValueError(f"metadata: {lost[0]} is missing; give its address or path, or a folder that has them all")
        if extra := [name for name in self.metadata if name not in needed + optional]:
            known = ", ".join(needed + optional)
            raise ValueError(f"metadata: {extra[0]} is not one of this dataset's lists, which are {known}")
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
        return shard_count(self.splits[split], self.shard_size)

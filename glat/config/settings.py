"""The sections of params.yaml but for those of `training` and `dataset` beside this module, each with its own checks;
`glat.config.params` puts them together. Defaults are those of params.yaml (a test compares them), for callers that leave a
key out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ..lib import addresses
from ..lib.errors import GlatError
from ..lib.layout import WEIGHTS
from .types import (
    BackboneName,
    Backbones,
    ClipSeconds,
    Count,
    InputPath,
    Md5,
    Name,
    Natural,
    Positive,
    Rate,
    Seeds,
    Settings,
    Sha256,
    Share,
    UniqueList,
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


class Localisation(Settings):
    """frames: which runs keep their scores over time (`experiments.runs_with_frames`). roll_up: whether a strong label counts
    for the classes above it too (`glat.scoring.strong`). resamples: of the clips, for intervals (`glat.scoring.bootstrap`)."""

    frames: Literal["auto", "all", "none"] = "auto"
    roll_up: bool = True
    resamples: Annotated[int, Field(ge=20, le=100_000)] = 200


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
    """Which controls, by the names of `glat.config.controls.QUESTIONS` (null: all), and which variants of GL-AT, by those of
    `glat.config.controls.variants`, of which backbones, with which seeds."""

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

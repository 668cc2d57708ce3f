"""params.yaml as typed, checked settings, and the runs that follow from them.

A wrong key or value is told in one sentence with its path and what is allowed (`GlatError`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from .data.sources import SOURCES, identity
from .errors import GlatError
from .redaction import redact
from .registry import BACKBONES, PANNS
from .settings import (
    Audio,
    Audit,
    Controls,
    Count,
    Dataset,
    Evaluation,
    Fetch,
    Fig2,
    Glat,
    Init,
    Name,
    Natural,
    Positive,
    Report,
    Seeds,
    Settings,
    Table1,
    Table2,
    Tracking,
    Training,
    Trainings,
    Weights,
    sentence,
)

__all__ = [
    "Audio",
    "Count",
    "Evaluation",
    "Glat",
    "Name",
    "Natural",
    "Params",
    "Positive",
    "Settings",
    "Tracking",
    "Training",
    "load",
    "parse",
]


class Params(Settings):
    """All of params.yaml."""

    dataset: Name
    seeds: Seeds
    backbones: list[str] = Field(min_length=1)
    glat: Glat
    init: Init = Init()
    weights: dict[str, Weights] = Field(default_factory=dict)
    audio: Audio
    training: Trainings
    evaluation: Evaluation
    table1: Table1 = Table1()
    table2: Table2 = Table2()
    fig2: Fig2
    controls: Controls = Controls()
    report: Report = Report()
    audit: Audit = Audit()
    fetch: Fetch = Fetch()
    tracking: Tracking = Tracking()
    datasets: dict[Name, Dataset]

    @field_validator("weights", mode="before")
    @classmethod
    def _left_out(cls, weights: Any) -> Any:
        return {k: v for k, v in weights.items() if v is not None} if isinstance(weights, dict) else weights

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
        if unknown := [name for name in self.weights if name not in PANNS]:
            raise ValueError(f"weights: PANNs published none of {unknown[0]!r}; allowed are {', '.join(PANNS)}")
        if self.glat.training == "frozen_global" and self.glat.sharing != "none":
            raise ValueError("glat.sharing: with glat.training 'frozen_global' only 'none' leaves weights to train")
        for key, names in (
            ("backbones", self.backbones),
            ("table1.two_networks", self.table1.two_networks),
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
            # As a run's name writes them: two values that it can't tell apart are one.
            if len({value if isinstance(value, str) else f"{value:g}" for value in values}) < len(values):
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
            try:
                lists = dataset.lists()
            except ValueError as error:
                raise ValueError(f"datasets.{name}.{error}") from None
            if not lists and dataset.source.get("kind") in SOURCES.keys() - {"synthetic"}:
                raise ValueError(
                    f"datasets.{name}.metadata: missing; name the folder with the class list and the segment lists, or "
                    "the address of each"
                )
            if lost := [b for b in self.all_backbones if dataset.width_of(b) is None]:
                raise ValueError(f"datasets.{name}.width: no width for {', '.join(lost)}; name it, or a `default`")
            for backbone in dict.fromkeys([None, *self.all_backbones, *self.special(name)]):
                training = self.training_of(name, backbone)
                if training.batch_size % training.processes:
                    of = f" of {backbone}" if backbone in self.special(name) else ""
                    raise ValueError(
                        f"datasets.{name}: training.batch_size {training.batch_size}{of} does not divide among "
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

    def training_of(self, dataset: str, backbone: str | None = None) -> Training:
        """How a backbone is trained on a dataset (None: one that `by_backbone` does not name). Each goes before the last:
        `training`, the dataset's `training`, `training.by_backbone`, the dataset's `training.by_backbone`."""
        common = self._trainings(dataset)
        training = Training.model_validate(common.model_dump(exclude={"by_backbone"}))
        if backbone not in common.by_backbone:
            return training
        try:
            return Training.model_validate(_merge(training.model_dump(), common.by_backbone[backbone]))
        except ValidationError as error:
            own = backbone in self.datasets[dataset].training.get("by_backbone", {})
            place = f"{f'datasets.{dataset}.' if own else ''}training.by_backbone.{backbone}."
            raise ValueError(sentence(error, place)) from None

    def special(self, dataset: str) -> list[str]:
        """The backbones that are trained in a way of their own. Raises ValueError if one is not known."""
        by_backbone = self._trainings(dataset).by_backbone
        if unknown := [name for name in by_backbone if name not in BACKBONES]:
            own = unknown[0] in self.datasets[dataset].training.get("by_backbone", {})
            place = f"{f'datasets.{dataset}.' if own else ''}training.by_backbone"
            raise ValueError(f"{place}: {unknown[0]!r} is not a backbone; allowed are {', '.join(BACKBONES)}")
        return list(by_backbone)

    def _trainings(self, dataset: str) -> Trainings:
        """`training` with what the dataset's own entry overrides."""
        try:
            return Trainings.model_validate(_merge(self.training.model_dump(), self.datasets[dataset].training))
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


def public(params: Params) -> dict[str, Any]:
    """The settings as they may be written down (`glat.redaction`): of datasets the chosen one alone, its source without
    the ways by which audio is got."""
    settings = params.model_dump(mode="json", by_alias=True)
    chosen = settings["datasets"][params.dataset]
    chosen["source"] = identity(chosen["source"])
    return redact(settings | {"datasets": {params.dataset: chosen}})


def hand_down(changes: dict[str, Any]) -> None:
    """Give `changes` of settings to the `glat` commands that this process starts, through the environment."""
    os.environ["GLAT_SETTINGS"] = json.dumps(changes)


def plain(value: Any) -> Any:
    """Settings from Snakemake's command line, where whatever lies inside another is text: numbers, true, false and null
    as such."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, str):
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError:
            return value
        return read if value and isinstance(read, bool | int | float | None) else value
    return value


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        if key == "source" and both and value.get("kind", merged[key].get("kind")) != merged[key].get("kind"):
            both = False  # another kind of source has other settings
        merged[key] = _merge(merged[key], value) if both else value
    return merged

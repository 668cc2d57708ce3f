"""params.yaml as typed, checked settings, and the runs that follow from them.

All wrong keys and values are told at once, each in one sentence with its path and what is allowed (`GlatError`).
"""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from ..data.sources.registry import identity
from ..lib.documents import parse_yaml, read_yaml, sentences
from ..lib.errors import GlatError
from ..lib.redaction import redact
from ..models.registry import BACKBONES
from . import checks
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

    @property
    def chosen(self) -> Dataset:
        return self.datasets[self.dataset]

    def training_of(self, dataset: str, backbone: str | None = None) -> Training:
        """How a backbone is trained on a dataset (None: one that `by_backbone` does not name). Each of these overrides the
        ones before it: `training`, the dataset's `training`, `training.by_backbone`, the dataset's `training.by_backbone`.
        """
        common = self._trainings(dataset)
        training = Training.model_validate(common.model_dump(exclude={"by_backbone"}))
        if backbone not in common.by_backbone:
            return training
        try:
            return Training.model_validate(_merge(training.model_dump(), common.by_backbone[backbone]))
        except ValidationError as error:
            own = backbone in self.datasets[dataset].training.get("by_backbone", {})
            place = f"{f'datasets.{dataset}.' if own else ''}training.by_backbone.{backbone}."
            raise ValueError("\n".join(sentences(error, place, Training))) from None

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
            raise ValueError("\n".join(sentences(error, f"datasets.{dataset}.training.", Trainings))) from None


def load(path: str | Path = "params.yaml", overrides: dict[str, Any] | None = None) -> Params:
    """Read and check a params file; `overrides` maps dotted keys to values that replace the file's.

    Raises:
        GlatError: no such file, not YAML, or a key or value that is not allowed.
    """
    settings = read_yaml(path, "settings", "run from the project's root or name it with --params")
    if not isinstance(settings, dict):
        raise GlatError(f"{path}: expected keys and values, found {type(settings).__name__}")
    of_the_file = settings
    for key, value in (overrides or {}).items():
        nested: Any = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        settings = _merge(settings, nested)
    return parse(settings, named(path, settings != of_the_file))


def named(path: str | Path, changed: bool) -> str:
    """What errors call settings: their file, and the options that some were given by instead."""
    return f"settings ({path}, --config, --configfile, --set)" if changed else str(path)


def parse(settings: dict[str, Any], name: str = "params.yaml") -> Params:
    """Check settings that were read already (Snakemake's `config`); `name` goes into the messages.

    Raises:
        GlatError: what is wrong whatever is asked for (`checks.of_settings`), and then also what no result could be made
            with, a line a fault. Settings that are wrong for some results alone are not refused (`experiments.faults`).
    """
    params, faults = _validated(settings)
    told = [fault.partition(":")[0] for fault in faults]
    if params is not None:
        faults += checks.of_settings(params)
    if faults:
        faults += [] if params is None or len(faults) > len(told) else _of_runs(params)
        # Where a key's own value was refused, another stands in for it: of that one there is nothing to say.
        kept = [fault for at, fault in enumerate(faults) if at < len(told) or fault.partition(":")[0] not in told]
        raise GlatError("\n".join(f"{name}: {fault}" for fault in kept))
    return params


def _of_runs(params: Params) -> list[str]:
    from .experiments import faults  # which is made from settings

    return faults(params, "report")


def _validated(settings: dict[str, Any]) -> tuple[Params | None, list[str]]:
    """The settings, without what is wrong in itself where they can do without it, and those faults."""
    rest, faults = copy.deepcopy(settings), []
    try:
        params = Params.model_validate(rest)
    except ValidationError as error:
        faults += sentences(error, model=Params)
        for found in error.errors():
            _drop(rest, found["loc"])
        try:
            params = Params.model_validate(rest)
        except ValidationError:
            return None, faults
    found = list(dict.fromkeys(line for dataset in params.datasets for line in _of_training(params, dataset)))
    if not found:
        return params, faults
    _drop(rest, ("training", "by_backbone"))
    for dataset in params.datasets:
        _drop(rest, ("datasets", dataset, "training"))
    return Params.model_validate(rest), faults + found


def _of_training(params: Params, dataset: str) -> list[str]:
    try:
        for backbone in (None, *params.special(dataset)):
            params.training_of(dataset, backbone)
    except ValueError as error:
        return str(error).splitlines()
    return []


def _drop(settings: Any, place: tuple[str | int, ...]) -> None:
    for part in place[:-1]:
        settings = settings.get(part) if isinstance(settings, dict) else None
    if place and isinstance(settings, dict):
        settings.pop(place[-1], None)


def public(params: Params) -> dict[str, Any]:
    """The settings as they may be written down (`glat.lib.redaction`): of datasets the chosen one alone, its source without
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
    if isinstance(value, dict):  # a dataset's name is a text, whatever it reads as
        return {key: inner if key == "dataset" else plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, str):
        try:
            read = parse_yaml(value)
        except ValueError:
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

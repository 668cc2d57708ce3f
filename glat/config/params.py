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

from ..data.sources.registry import SOURCES, identity, makes_lists
from ..lib.documents import parse_yaml, read_yaml, sentences
from ..lib.errors import GlatError
from ..lib.redaction import redact
from ..models.registry import BACKBONES, Entry, entry
from .dataset import OWN_SECTIONS, Dataset
from .network import Network, short
from .settings import (
    Audio,
    Audit,
    Controls,
    Evaluation,
    Fetch,
    Fig2,
    Localisation,
    Report,
    Table1,
    Table2,
    Tracking,
    Weights,
)
from .training import Execution, Executions, Glat, Init, Ladder, Training, Trainings
from .types import Backbones, Name, PublishedName, Seeds, Settings


class Params(Settings):
    """All of params.yaml."""

    dataset: Name
    seeds: Seeds
    backbones: Backbones
    networks: dict[Name, Network] = Field(default={})
    glat: Glat
    init: Init = Init()
    weights: dict[PublishedName, Weights] = Field(default={})
    audio: Audio
    training: Trainings
    execution: Executions = Executions()
    evaluation: Evaluation
    localisation: Localisation = Localisation()
    table1: Table1
    table2: Table2
    fig2: Fig2
    controls: Controls
    ladder: Ladder = Ladder()
    report: Report
    audit: Audit
    fetch: Fetch = Fetch()
    tracking: Tracking = Tracking()
    datasets: dict[Name, Dataset]

    @field_validator("weights", mode="before")
    @classmethod
    def _drop_null(cls, weights: Any) -> Any:
        return {k: v for k, v in weights.items() if v is not None} if isinstance(weights, dict) else weights

    @field_validator("networks")
    @classmethod
    def _check_networks(cls, networks: dict[str, Network]) -> dict[str, Network]:
        if taken := [name for name in networks if name in BACKBONES]:
            raise ValueError(f"{taken[0]!r} is the name of a backbone of the project; choose another")
        return networks

    @field_validator("backbones")
    @classmethod
    def _check_backbones(cls, backbones: list[str]) -> list[str]:
        if len({short(name) for name in backbones}) < len(backbones):
            raise ValueError(f"two of {backbones} have the same name in files; give one another name under networks")
        return backbones

    def network(self, backbone: str) -> Network | None:
        """What `networks` says of a backbone, or its own name, as in `timm:resnet18`; None for one of the project's."""
        return self.networks.get(backbone) or (Network(model=backbone) if ":" in backbone else None)

    def entry(self, backbone: str) -> Entry:
        """What is known of a backbone."""
        return entry(backbone, self.network(backbone))

    @property
    def corpus(self) -> Dataset:
        return self.datasets[self.dataset]

    def training_of(self, dataset: str, backbone: str | None = None, rung: str | None = None) -> Training:
        """How a backbone is trained on a dataset (None: one that `by_backbone` does not name). Each of these overrides the
        ones before it: `training`, the dataset's `training`, `training.by_backbone`, the dataset's `training.by_backbone`,
        and those of `ladder.rungs` up to a rung.
        """
        layers = self._layers("training", dataset, backbone)
        for settings in self.ladder.up_to(rung) if rung else ():
            layers = _merge(layers, settings)
        return Training.model_validate(layers)

    def execution_of(self, dataset: str, backbone: str | None = None) -> Execution:
        """How the work on a backbone's network is executed, by the same layers. A dataset that is not there has none."""
        return Execution.model_validate(self._layers("execution", dataset, backbone))

    def special(self, dataset: str) -> list[str]:
        """The backbones that are trained in a way of their own."""
        own: Any = self.datasets[dataset].training
        return list(_merge(self.training.by_backbone, own.get("by_backbone", {})))

    def _layers(self, section: str, dataset: str, backbone: str | None) -> dict[str, Any]:
        own = getattr(self.datasets[dataset], section) if dataset in self.datasets else {}
        merged = _merge(getattr(self, section).model_dump(), own)
        return _merge(merged, merged.pop("by_backbone").get(backbone, {}))


def load(path: str | Path = "params.yaml", overrides: dict[str, Any] | None = None) -> Params:
    """Read and check a params file; `overrides` maps dotted keys to values that replace the file's, also where the file has
    a value of the dataset's own.

    Raises:
        GlatError: no such file, not YAML, or a key or value that is not allowed.
    """
    settings = read_yaml(path, "settings", "run from the project's root or name it with --params")
    if not isinstance(settings, dict):
        raise GlatError(f"{path}: expected keys and values, found {type(settings).__name__}")
    changes: dict[str, Any] = {}
    for key, value in (overrides or {}).items():
        nested: Any = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        changes = _merge(changes, nested)
    changed = _merge(_without_own(settings, changes), changes)
    return parse(changed, named(path, changed != settings))


def named(path: str | Path, changed: bool) -> str:
    """What errors call settings: their file, and the options that some were given by instead."""
    return f"settings ({path}, --config, --configfile, --set)" if changed else str(path)


def parse(settings: dict[str, Any], name: str = "params.yaml") -> Params:
    """Check settings that were read already; `name` goes into the messages.

    Raises:
        GlatError: what is wrong whatever is asked for, and then also what no result could be made with, a line a fault.
            Settings that are wrong for some results alone are not refused (`experiments.faults`).
    """
    from . import experiments  # which is made from settings

    params, faults = _validate(settings)
    params = params and _with_own(params)
    refused = [fault.partition(":")[0] for fault in faults]
    if params is not None:
        faults += _dataset_faults(params)
    if faults or params is None:
        faults += [] if params is None or len(faults) > len(refused) else experiments.faults(params, "report")
        # Where a key's own value was refused, another stands in for it: of that one there is nothing to say.
        news = [fault for fault in faults[len(refused) :] if fault.partition(":")[0] not in refused]
        raise GlatError("\n".join(f"{name}: {fault}" for fault in faults[: len(refused)] + news))
    return params


def _check(settings: dict[str, Any]) -> Params:
    networks = settings.get("networks")
    return Params.model_validate(settings, context={"networks": list(networks) if isinstance(networks, dict) else []})


def _validate(settings: dict[str, Any]) -> tuple[Params | None, list[str]]:
    """The settings, without what is wrong in itself where they can do without it, and those faults."""
    try:
        return _check(settings), []
    except ValidationError as error:
        rest, faults = copy.deepcopy(settings), sentences(error, model=Params)
        for found in error.errors():
            _drop(rest, found["loc"])
    try:
        return _check(rest), faults
    except ValidationError:
        return None, faults


def _with_own(params: Params) -> Params:
    """The settings with the chosen dataset's own values in their sections."""
    if params.dataset not in params.datasets:
        return params
    settings, entry = params.model_dump(by_alias=True), params.corpus
    own = {key: value for key in OWN_SECTIONS if (value := getattr(entry, key))}
    return _check(_merge(settings, own)) if own else params


def _without_own(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The settings of a file without those values of the chosen dataset's own that `changes` gives for all datasets."""
    datasets = settings.get("datasets")
    name = changes.get("dataset", settings.get("dataset"))
    if not isinstance(datasets, dict) or not isinstance(entry := datasets.get(name), dict):
        return settings
    sections = {key: changes[key] for key in (*OWN_SECTIONS, "training", "execution") if key in changes}
    return settings | {"datasets": datasets | {name: _subtract(entry, sections)}}


def _subtract(settings: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Settings without the keys that are given, to any depth."""
    rest = dict(settings)
    for key in settings.keys() & given.keys():
        if isinstance(settings[key], dict) and isinstance(given[key], dict):
            rest[key] = _subtract(settings[key], given[key])
        else:
            del rest[key]
    return rest


def _dataset_faults(params: Params) -> list[str]:
    """Why the chosen dataset can't be had. Another one's lists need not be there."""
    if params.dataset not in params.datasets:
        return [f"dataset: {params.dataset!r} is not an entry of datasets: {', '.join(params.datasets)}"]
    try:
        lists = params.corpus.lists()
    except ValueError as error:
        return [f"datasets.{params.dataset}.{error}"]
    if not lists and (kind := params.corpus.source.get("kind")) in SOURCES and not makes_lists(kind):
        needed = "name the folder with the class list and the segment lists, or the address of each"
        return [f"datasets.{params.dataset}.metadata: missing; {needed}"]
    return []


def _drop(settings: Any, place: tuple[str | int, ...]) -> None:
    for part in place[:-1]:
        settings = settings.get(part) if isinstance(settings, dict) else None
    if place and isinstance(settings, dict):
        settings.pop(place[-1], None)


def public(params: Params) -> dict[str, Any]:
    """The settings as they may be written down (`glat.lib.redaction`): of datasets the chosen one alone, its source without
    the ways by which audio is got. How it is executed stands under `execution` alone, on which nothing depends."""
    settings = params.model_dump(mode="json", by_alias=True)
    own = settings["datasets"][params.dataset]
    own["source"] = identity(own["source"])
    del own["execution"]
    execution = params.execution_of(params.dataset).model_dump()
    return redact(settings | {"execution": execution, "datasets": {params.dataset: own}})


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

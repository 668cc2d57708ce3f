"""The settings of a dataset: its source, its splits, and values of its own for other sections of params.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from ..lib.layout import CLASS_LIST, framed_list, segment_list, shard_count, strong_list
from .settings import Audio, Controls, Evaluation, Fig2, Listed, Localisation, Table1, Table2
from .training import Executions, Glat, Init, Ladder, Trainings
from .types import Backbones, Count, Dropout, Hop, Name, Override, Seeds, Settings, UniqueList, Width, check_path


def _check_places(metadata: str | dict[str, str | Listed] | None) -> str | dict[str, str | Listed] | None:
    for place in metadata.values() if isinstance(metadata, dict) else [metadata or ""]:
        check_path(place if isinstance(place, str) else place.file)
    return metadata


# Sections of params.yaml that a dataset may have values of its own for. `glat.config.params` puts them in their place;
# `training` and `execution`, which have exceptions for backbones too, it layers for each backbone.
OWN_SECTIONS = (
    "seeds",
    "backbones",
    "glat",
    "init",
    "audio",
    "evaluation",
    "localisation",
    "table1",
    "table2",
    "fig2",
    "controls",
    "ladder",
)


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
    localisation: Override[Localisation] = Field(default={})  # type: ignore[assignment]
    table1: Override[Table1] = Field(default={})  # type: ignore[assignment]
    table2: Override[Table2] = Field(default={})  # type: ignore[assignment]
    fig2: Override[Fig2] = Field(default={})  # type: ignore[assignment]
    controls: Override[Controls] = Field(default={})  # type: ignore[assignment]
    ladder: Override[Ladder] = Field(default={})  # type: ignore[assignment]
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
        optional = [name(split) for split in self.splits for name in (strong_list, framed_list)]
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

"""Runs: which trainings the settings ask for, what each depends on, and where its files are.

A run is a folder `runs/<dataset>/<name>/` that explains itself: `config.yaml` there holds all that its training depends
on and nothing else, so that `glat train runs/<dataset>/<name>/config.yaml` repeats it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from .config import Audio, Count, Glat, Natural, Params, Positive, Settings, Training, sentence
from .errors import GlatError
from .files import whole


class Run(Settings):
    """The resolved settings of one training: the content of a run's config.yaml."""

    dataset: str
    name: str
    backbone: str
    width: Positive
    dropout: Annotated[float, Field(ge=0)]
    hop: Count
    classes: Count
    seed: Natural
    glat: Glat | None
    init: dict[Literal["global", "local"], str | None]  # weights that a stream starts from
    audio: Audio
    training: Training
    packs: list[str]  # the training shards, relative to the project's root

    @property
    def folder(self) -> Path:
        return Path("runs") / self.dataset / self.name


def pack_path(dataset: str, split: str, shard: int, kind: Literal["h5", "ledger.csv"] = "h5") -> str:
    """data/<dataset>/packs/<split>/<shard>.h5, with the shard's number in three digits."""
    return f"data/{dataset}/packs/{split}/{shard:03d}.{kind}"


def split_packs(params: Params, dataset: str, splits: list[str]) -> list[str]:
    """The shards of several splits, in order."""
    entry = params.datasets[dataset]
    return [pack_path(dataset, split, shard) for split in splits for shard in range(entry.shards(split))]


def resolve(params: Params, backbone: str, seed: int, glat: dict[str, Any] | None = None) -> Run:
    """One run of the chosen dataset: the backbone alone (`glat` None) or in GL-AT (what differs from `params.glat`).

    The name holds the backbone, the settings that differ, and the seed, as in `cnn10-glat-n3-s0`: settings equal
    to the defaults of params.yaml are not named, so that the same run has one name wherever it is asked for.
    """
    name, method = backbone, None
    if glat is not None:
        method = Glat.model_validate(params.glat.model_dump() | glat)
        default = params.glat.model_dump()
        differing = {k: v for k, v in method.model_dump().items() if v != default[k]}
        name = "-".join([backbone, "glat", *(_short(k, v) for k, v in differing.items())])
    entry = params.chosen
    return Run(
        dataset=params.dataset,
        name=f"{name}-s{seed}",
        backbone=backbone,
        width=entry.width[backbone] if isinstance(entry.width, dict) else entry.width,
        dropout=entry.dropout,
        hop=entry.hop,
        classes=entry.classes,
        seed=seed,
        glat=method,
        init={stream: paths.get(backbone) for stream, paths in params.init.model_dump(by_alias=True).items()},
        audio=params.audio,
        training=params.training_of(params.dataset),
        packs=split_packs(params, params.dataset, entry.train),
    )


def _short(key: str, value: Any) -> str:
    if key in ("n", "tau"):
        return f"{key}{value:g}"
    return {True: key, False: f"no_{key}"}[value] if isinstance(value, bool) else str(value)


def table1_runs(params: Params) -> list[Run]:
    """Table 1 of the paper: every backbone without and with GL-AT, for every seed."""
    return [
        resolve(params, backbone, seed, glat)
        for backbone in params.backbones
        for glat in (None, {})
        for seed in params.seeds
    ]


def all_runs(params: Params) -> dict[str, Run]:
    """Every run that some result needs, by name."""
    return {run.name: run for run in table1_runs(params)}


def write_run(run: Run, path: str | Path) -> None:
    """Write a run's config.yaml."""
    with whole(path) as part:
        part.write_text(yaml.safe_dump(run.model_dump(by_alias=True), sort_keys=False))


def read_run(path: str | Path) -> Run:
    """Read a run's config.yaml. Raises GlatError naming the file and the key if it is not one."""
    try:
        return Run.model_validate(yaml.safe_load(Path(path).read_text()))
    except FileNotFoundError:
        raise GlatError(f"{path}: no such file; `glat configure` writes it") from None
    except yaml.YAMLError as error:
        raise GlatError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise GlatError(f"{path}: {sentence(error)}") from None

"""Runs: what a training depends on, and where its files are. Which runs there are: `glat.config.experiments`.

A run is a folder `runs/<dataset>/<name>/` that explains itself: `config.yaml` there holds all that its training depends
on and nothing else, so that `glat train runs/<dataset>/<name>/config.yaml` repeats it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from ..lib import layout
from ..lib.documents import read_json, read_yaml, sentence
from ..lib.errors import GlatError
from ..lib.files import digest, whole
from .params import Count, Glat, Name, Natural, Params, Settings, Training
from .settings import Hop, Waveform


class Run(Settings):
    """The resolved settings of one training: the content of a run's config.yaml."""

    dataset: Name
    name: Name
    backbone: Name
    width: Annotated[float, Field(gt=0, allow_inf_nan=True)]  # infinite: there is none for this backbone
    dropout: Annotated[float, Field(ge=0)]
    hop: Hop
    classes: Count
    seed: Natural
    glat: Glat | None
    init: dict[Literal["global", "local"], str | None]  # weights that a stream starts from
    audio: Waveform
    training: Training
    packs: list[str]  # the training shards, relative to the project's root

    @property
    def folder(self) -> Path:
        return layout.run(self.dataset, self.name)

    @property
    def group(self) -> str:
        """What names the runs that differ in the seed alone: `cnn10-glat` of `cnn10-glat-s0`."""
        return self.name.removesuffix(f"-s{self.seed}")


def split_packs(params: Params, dataset: str, splits: list[str], kind: Literal["h5", "ledger.csv"] = "h5") -> list[str]:
    """The shards of several splits, in order, or their ledgers."""
    entry, data = params.datasets[dataset], layout.Data(dataset)
    path = data.pack if kind == "h5" else data.ledger
    return [str(path(split, shard)) for split in splits for shard in range(entry.shards(split))]


def resolve(
    params: Params,
    backbone: str,
    seed: int,
    glat: dict[str, Any] | None = None,
    steps: int | None = None,
    start_from: Run | None = None,
) -> Run:
    """One run of the chosen dataset: the backbone alone (`glat` None) or in GL-AT (what differs from `params.glat`).

    `steps` replaces the step budget; the global stream starts from the trained `start_from` instead of `params.init`.

    The name holds the backbone, the settings that differ, and the seed, as in `cnn10-glat-n3-s0`: settings equal
    to the defaults of params.yaml are not named, so that the same run has one name wherever it is asked for.
    """
    parts, method = [backbone], None
    if glat is not None:
        method = Glat.model_validate(params.glat.model_dump() | glat)
        default = params.glat.model_dump()
        differing = {k: v for k, v in method.model_dump().items() if v != default[k]}
        parts += ["glat", *(_short(k, v) for k, v in differing.items())]
    training = params.training_of(params.dataset, backbone)
    if steps not in (None, training.steps):
        training = training.model_copy(update={"steps": steps})
        parts.append(f"steps{steps}")
    init = {"global": params.init.global_.get(backbone), "local": params.init.local.get(backbone) if method else None}
    if start_from:
        init["global"] = str(start_from.folder / layout.CHECKPOINT)
    entry = params.chosen
    return Run(
        dataset=params.dataset,
        name="-".join([*parts, f"s{seed}"]),
        backbone=backbone,
        width=entry.width_of(backbone) or math.inf,  # where there is none for it, `checks.of_run` says so
        dropout=entry.dropout,
        hop=entry.hop,
        classes=entry.classes,
        seed=seed,
        glat=method,
        init=init,
        audio=params.audio.waveform,
        training=training,
        packs=split_packs(params, params.dataset, entry.train),
    )


def _short(key: str, value: Any) -> str:
    if key in ("n", "tau"):
        return f"{key}{value:g}"
    if key in ("frame_classifier", "frame_time", "sharing"):
        return f"{key}_{value}"
    return {True: key, False: f"no_{key}"}[value] if isinstance(value, bool) else str(value)


def write_run(run: Run, path: str | Path) -> None:
    """Write a run's config.yaml."""
    with whole(path) as part:
        part.write_text(yaml.safe_dump(run.model_dump(by_alias=True), sort_keys=False))


def read_run(path: str | Path) -> Run:
    """Read a run's config.yaml. Raises GlatError naming the file and the key if it is not one."""
    settings = read_yaml(path, "a run's settings", f"`glat configure` writes it{beside(path)}")
    try:
        return checked(settings)
    except ValueError as error:
        raise GlatError(f"{path}: {error}") from None


def beside(path: str | Path) -> str:
    """What to say of a run's file that is not there: which other runs have it, and how it is made."""
    path = Path(path)
    if not layout.is_run_file(path):
        return ""
    others = sorted(one.parent.name for one in path.parent.parent.glob(f"*/{path.name}"))
    told = f"; {path.parent.parent} has {', '.join(others[:4])}{' and others' if others[4:] else ''}" if others else ""
    return f"{told}; `snakemake {path.parent / layout.CHECKPOINT}` trains a run that params.yaml asks for"


def checked(settings: Any, prefix: str = "") -> Run:
    """A run from settings that were read somewhere. Raises ValueError: what is wrong, under its key behind `prefix`."""
    try:
        run = Run.model_validate(settings)
    except ValidationError as error:
        raise ValueError(sentence(error, prefix, Run)) from None
    if math.isinf(run.width):
        raise ValueError(f"{prefix}width: inf is not allowed: a network has a width")
    return run


def evaluated(folder: Path) -> bool:
    """Whether a run's metrics.json is there, and of the checkpoint.pt that is there. A damaged one counts as there."""
    if not (folder / layout.METRICS).exists():
        return False
    try:
        metrics = read_json(folder / layout.METRICS, "", "")
    except GlatError:
        return True
    return metrics.get("checkpoint") == digest(folder / layout.CHECKPOINT)

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
from ..models import architecture
from ..models.registry import Entry, entry
from .network import Network, short
from .params import Params
from .settings import Waveform
from .training import Glat, Training
from .types import Count, Dropout, Hop, Name, Natural, NetworkName, Settings, off

Stream = Literal["global", "local"]


class Run(Settings):
    """The resolved settings of one training: the content of a run's config.yaml."""

    dataset: Name
    name: Name
    backbone: NetworkName
    network: Network | None = off(None)  # of a library or of one's own; None: one of the project's
    width: Annotated[float, Field(gt=0, allow_inf_nan=True)]  # infinite: there is none for this backbone
    dropout: Dropout
    hop: Hop
    classes: Count
    seed: Natural
    fold: Name | None = None  # that it is evaluated on, in a cross-validation
    glat: Glat | None
    init: dict[Stream, str | None]  # weights that a stream starts from
    init_classes: dict[Stream, str] = Field(default={})  # class lists of those that have none of their own
    audio: Waveform
    training: Training
    packs: list[str]  # the training shards, relative to the project's root
    validation_packs: list[str] = Field(default=[])  # those that `training.select: best` chooses by

    @property
    def folder(self) -> Path:
        return layout.run(self.dataset, self.name)

    @property
    def entry(self) -> Entry:
        """What is known of its backbone."""
        return entry(self.backbone, self.network)

    @property
    def group(self) -> str:
        """What names the runs that differ in seed and fold alone: `cnn10-glat` of `cnn10-glat-fold1-s0`."""
        return self.name.removesuffix(f"-s{self.seed}").removesuffix(f"-{self.fold}")

    @property
    def streams_from_scratch(self) -> list[str]:
        """The streams whose backbone starts from random weights."""
        begun: set[str] = {stream for stream, path in self.init.items() if path}
        if self.network and self.network.pretrained:
            begun |= {"global", "local"}
        if self.glat and "global" in begun and self.glat.training == "frozen_global":
            begun.add("local")  # both start from the same weights
        if self.glat and begun and self.glat.sharing == "backbone":
            return []
        return [stream for stream in ("global", "local") if stream not in begun and (self.glat or stream == "global")]

    @property
    def frozen_streams(self) -> set[str]:
        """The streams of GL-AT that are kept as they are."""
        return frozen_streams(self.glat, self.training) if self.glat else set()

    @property
    def published(self) -> bool:
        """Whether its weights were trained elsewhere: it has no packs to train on."""
        return not self.packs

    @property
    def untrained(self) -> bool:
        """Whether nothing is trained, and weights from `init` hear the windows too: it has no curve."""
        return bool(self.glat and self.glat.training == "none")


def frozen_streams(glat: Glat, training: Training) -> set[str]:
    """The streams that GL-AT keeps as they are with these settings."""
    return {*training.freeze, *(["global"] if glat.training == "frozen_global" else [])}


def check_splits(params: Params, dataset: str, splits: list[str]) -> None:
    """Raise GlatError for a split that a dataset does not have, and for no such dataset."""
    if dataset not in params.datasets:
        raise GlatError(f"dataset {dataset!r} is not an entry of datasets in params.yaml")
    known = params.datasets[dataset].splits
    if unknown := [name for name in splits if name not in known]:
        raise GlatError(f"{dataset} has no split {unknown[0]!r}; it has {', '.join(known)}")


def split_packs(params: Params, dataset: str, splits: list[str], kind: Literal["h5", "ledger.csv"] = "h5") -> list[str]:
    """The shards of several splits, in order, or their ledgers. Raises GlatError as `check_splits` does."""
    check_splits(params, dataset, splits)
    entry, data = params.datasets[dataset], layout.Data(dataset)
    path = data.pack if kind == "h5" else data.ledger
    return [str(path(split, shard)) for split in splits for shard in range(entry.shards(split))]


def evaluation_packs(params: Params, run: Run) -> list[str]:
    """The shards that a run is evaluated on. Raises GlatError for a run of a fold that its dataset no longer has."""
    if run.fold and run.fold not in params.datasets[run.dataset].splits:
        raise GlatError(
            f"{run.folder}: evaluated on {run.fold}, which is not one of datasets.{run.dataset}.splits any more; add it there"
        )
    return split_packs(params, run.dataset, params.datasets[run.dataset].evaluation_splits(run.fold))


def resolve(
    params: Params,
    backbone: str,
    seed: int,
    glat: dict[str, Any] | None = None,
    *,
    fold: str | None = None,
    rung: str | None = None,
    steps: int | None = None,
    start_from: Run | None = None,
) -> Run:
    """One run of the chosen dataset: the backbone alone (`glat` None) or in GL-AT (what differs from `params.glat`).

    `fold` is the one of `folds` that it is evaluated on; `rung`, the one of `ladder.rungs` that it is trained by; `steps`
    replaces the step budget; the global stream starts from the trained `start_from` instead of `params.init`.

    The name holds the backbone, the settings that differ, the fold and the seed, as in `cnn10-glat-n3-s0`: settings equal
    to the defaults of params.yaml are not named, so that the same run has one name wherever it is asked for.
    """
    parts, method = [short(backbone), *([f"rung_{rung}"] if rung else [])], None
    if glat is not None:
        method = Glat.model_validate(params.glat.model_dump() | glat)
        default = dict(params.glat)
        differing = {k: v for k, v in dict(method).items() if v != default[k]}
        parts += ["glat", *(_short(k, v) for k, v in differing.items())]
    training = params.training_of(params.dataset, backbone, rung)
    if steps not in (None, training.steps):
        training = training.model_copy(update={"steps": steps})
        parts.append(f"steps{steps}")
    if method and method.training == "none":  # its weights have learned from any teacher already
        training = training.model_copy(update=dict.fromkeys(training.teachers))
    begin = str(start_from.folder / layout.CHECKPOINT) if start_from else params.init.global_.get(backbone)
    init: dict[Stream, str | None] = {"global": begin, "local": params.init.local.get(backbone) if method else None}
    lists = {stream: _class_list(params, backbone, path) for stream, path in init.items()}
    corpus, network = params.corpus, params.network(backbone)
    return Run(
        dataset=params.dataset,
        name="-".join([*parts, *([fold] if fold else []), f"s{seed}"]),
        backbone=backbone,
        network=network,
        width=_width(params, backbone, network) or math.inf,  # where there is none for it, `faults_of` says so
        dropout=corpus.dropout,
        hop=corpus.hop,
        classes=corpus.classes,
        seed=seed,
        fold=fold,
        glat=method,
        init=init,
        init_classes={stream: path for stream, path in lists.items() if path},
        audio=params.audio.waveform,
        training=training,
        packs=split_packs(params, params.dataset, corpus.training_splits(fold)),
        validation_packs=split_packs(params, params.dataset, corpus.validation) if training.select == "best" else [],
    )


def _width(params: Params, backbone: str, network: Network | None) -> float | None:
    """The width of a backbone's network; None if there is none for it. A library's network has one size, which is 1."""
    return 1.0 if network and network.library else params.corpus.width_of(backbone)


def _class_list(params: Params, backbone: str, path: str | None) -> str | None:
    """The class list of published weights; None for other weights, and where the dataset's classes come from the same list."""
    known = params.weights.get(backbone)
    if path is None or known is None or Path(path) != known.path or known.classes is None:
        return None
    return None if params.corpus.lists().get(layout.CLASS_LIST) == known.classes else str(known.class_list)


def _short(key: str, value: Any) -> str:
    if key in ("n", "tau"):
        return f"{key}{value:g}"
    if key == "extra_taus":
        return key + "_".join(f"{tau:g}" for tau in value) if value else f"no_{key}"
    if key in ("frame_classifier", "frame_time", "sharing", "scoring", "fusion") or value == "none":
        return f"{key}_{value}"
    return {True: key, False: f"no_{key}"}[value] if isinstance(value, bool) else str(value)


def completed(run: Run) -> Run:
    """A run with all that its network is built by. Raises GlatError where a folder or the hub does not give it."""
    try:
        return run.model_copy(update={"network": architecture.complete(run.network)})
    except ValueError as error:
        raise GlatError(f"run {run.name}: {error}") from None


def write_run(run: Run, path: str | Path) -> None:
    """Write a run's config.yaml."""
    with whole(path) as part:
        part.write_text(yaml.safe_dump(run.model_dump(by_alias=True), sort_keys=False))


def read_run(path: str | Path) -> Run:
    """Read a run's config.yaml. Raises GlatError naming the file and the key if it is not one."""
    again = _hub_hint(Path(path)) or f"`glat configure` writes it{missing_hint(path)}"
    settings = read_yaml(path, "a run's settings", again)
    try:
        return parse_run(settings)
    except ValueError as error:
        raise GlatError(f"{path}: {error}") from None


def missing_hint(path: str | Path) -> str:
    """What to say of a run's file that is not there: which other runs have it, and how it is made."""
    path = Path(path)
    if hint := _hub_hint(path):
        return f"; {hint}"
    if not layout.is_run_file(path):
        return ""
    others = sorted(one.parent.name for one in path.parent.parent.glob(f"*/{path.name}"))
    hint = f"; {path.parent.parent} has {', '.join(others[:4])}{' and others' if others[4:] else ''}" if others else ""
    return f"{hint}; `snakemake {path.parent / layout.CHECKPOINT}` trains a run that params.yaml asks for"


def _hub_hint(path: Path) -> str:
    """What to say of a run's file where the folder is one that `glat export --hub` wrote."""
    is_hub = (path.parent / layout.HUB_CONFIG).is_file()
    return (
        "a folder for the Hub is for `glat tag` and `glat demo`; name the run that it was exported from"
        if is_hub
        else ""
    )


def parse_run(settings: Any, prefix: str = "") -> Run:
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

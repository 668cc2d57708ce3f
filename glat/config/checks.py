"""What of the settings does not fit together, a sentence a fault, each beginning with the key.

What a value says by itself, its type, its range or a name that there is not, is told always; what two settings say
together only to whoever needs both: a dataset's packs need no window of GL-AT to fit.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..data.sources.registry import SOURCES, source_class
from ..lib import layout
from ..models.registry import BACKBONES, PANNS

if TYPE_CHECKING:
    from .params import Params
    from .runs import Run


def of_settings(params: Params) -> list[str]:
    """Faults that are told whatever is asked for: names that there are not, entries that are there twice, a chosen
    dataset that can't be had, and paths that Snakemake would take for something else."""
    return [*_names(params), *_twice(params), *_splits(params), *_lists(params), *_patterns(params)]


def _names(params: Params) -> list[str]:
    known, faults = ", ".join(BACKBONES), []
    if params.dataset not in params.datasets:
        faults.append(f"dataset: {params.dataset!r} is not an entry of datasets: {', '.join(params.datasets)}")
    for key, names in (("init.global", params.init.global_), ("init.local", params.init.local)):
        faults += [f"{key}: {name!r} is not a backbone; allowed are {known}" for name in names if name not in BACKBONES]
    faults += [
        f"weights: PANNs published none of {name!r}; allowed are {', '.join(PANNS)}"
        for name in params.weights
        if name not in PANNS
    ]
    for key, names in (
        ("backbones", params.backbones),
        ("table1.two_networks", params.table1.two_networks),
        ("table2.backbone", [params.table2.backbone]),
        ("fig2.backbone", [params.fig2.backbone]),
        ("controls.backbones", params.controls.backbones),
    ):
        faults += [f"{key}: {name!r} is not known; allowed are {known}" for name in names if name not in BACKBONES]
    return faults


def _twice(params: Params) -> list[str]:
    values = {
        "seeds": params.seeds,
        "backbones": params.backbones,
        "fig2.n": params.fig2.n,
        "fig2.tau": params.fig2.tau,
        "fig2.seeds": params.fig2.seeds or [],
        "controls.backbones": params.controls.backbones,
        "controls.seeds": params.controls.seeds or [],
    }
    # As a run's name writes them: two values that it can't tell apart are one.
    return [
        f"{key}: an entry is there twice: {entries}"
        for key, entries in values.items()
        if len({entry if isinstance(entry, str) else f"{entry:g}" for entry in entries}) < len(entries)
    ]


def _splits(params: Params) -> list[str]:
    faults = []
    for name, dataset in params.datasets.items():
        for key in ("train", "evaluate"):
            named = getattr(dataset, key)
            if len(set(named)) < len(named):
                faults.append(f"datasets.{name}.{key}: a split is there twice: {named}")
            faults += [
                f"datasets.{name}.{key}: {split!r} is not one of its splits: {', '.join(dataset.splits)}"
                for split in dict.fromkeys(named)
                if split not in dataset.splits
            ]
    return faults


def _lists(params: Params) -> list[str]:
    dataset = params.datasets.get(params.dataset)
    if dataset is None:
        return []
    try:
        lists = dataset.lists()
    except ValueError as error:
        return [f"datasets.{params.dataset}.{error}"]
    if not lists and (kind := dataset.source.get("kind")) in SOURCES and not source_class(kind).makes_lists:
        needed = "name the folder with the class list and the segment lists, or the address of each"
        return [f"datasets.{params.dataset}.metadata: missing; {needed}"]
    return []


def _patterns(params: Params) -> list[str]:
    """Paths that become a rule's input, where a name in braces stands for whatever fits."""
    given = {f"init.global.{name}": path for name, path in params.init.global_.items()}
    given |= {f"init.local.{name}": path for name, path in params.init.local.items()}
    given |= {f"weights.{name}.file": weights.file for name, weights in params.weights.items()}
    given |= {"evaluation.only": params.evaluation.only or ""}
    if (dataset := params.datasets.get(params.dataset)) and isinstance(dataset.metadata, str):
        given |= {f"datasets.{params.dataset}.metadata": dataset.metadata}
    elif dataset and dataset.metadata:
        given |= {
            f"datasets.{params.dataset}.metadata.{name}": one if isinstance(one, str) else one.file
            for name, one in dataset.metadata.items()
        }
    return [
        f"{key}: {path!r} has a brace, which Snakemake would take for a pattern; rename the file"
        for key, path in given.items()
        if set(path) & set("{}") and "://" not in path
    ]


def of_run(params: Params, run: Run) -> list[str]:
    """Faults of the settings that this run can't be trained with."""
    entry, training, faults = BACKBONES[run.backbone], run.training, []
    if params.chosen.width_of(run.backbone) is None:
        faults.append(f"datasets.{run.dataset}.width: no width for {run.backbone}; name it, or a `default`")
    if training.batch_size % training.processes:
        common = params.training_of(run.dataset)
        own = (common.batch_size, common.processes) != (training.batch_size, training.processes)
        of = f" of {run.backbone}" if own else ""
        faults.append(
            f"datasets.{run.dataset}: training.batch_size {training.batch_size}{of} does not divide among "
            f"{training.devices} devices on {training.nodes} nodes"
        )
    for key, named in (("global", params.init.global_), ("local", params.init.local)):
        path = run.init[key]
        if (
            path is not None
            and path == named.get(run.backbone)
            and Path(path).is_relative_to(layout.RUNS / run.dataset)
        ):
            faults.append(
                f"init.{key}.{run.backbone}: {path} is a run that these settings would change; copy the file elsewhere"
            )
    if run.glat is None:
        return faults
    # A value that `glat` has itself is its own; another one is of a sweep.
    n, tau = (
        "glat.n" if run.glat.n == params.glat.n else "fig2.n",
        "glat.tau" if run.glat.tau == params.glat.tau else "fig2.tau",
    )
    least = entry.min_frames * (entry.hop or run.hop) / 32000
    if run.glat.n > run.classes:
        faults.append(f"{n}: {run.glat.n} windows, but {run.dataset} has only {run.classes} classes to choose them by")
    if run.glat.tau > run.audio.clip_seconds:
        faults.append(f"{tau}: {run.glat.tau} s is longer than a clip (audio.clip_seconds: {run.audio.clip_seconds})")
    if run.glat.tau < least:
        faults.append(f"{tau}: {run.glat.tau} s, but {entry.title} needs windows of at least {least:.2f} s")
    if run.glat.training == "frozen_global":
        if run.glat.sharing != "none":
            faults.append("glat.sharing: with glat.training 'frozen_global' only 'none' leaves weights to train")
        if run.init["global"] is None:
            faults.append(
                "init.global: glat.training 'frozen_global' needs weights of the global stream for " + run.backbone
            )
    return faults

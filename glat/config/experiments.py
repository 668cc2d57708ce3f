"""Which runs each result needs: the paper's tables and sweeps, and the controls that the paper lacks.

Results share runs: Fig. 2's point (N, tau) = (glat.n, glat.tau), Table 2 and the controls' own GL-AT are runs of
Table 1, and have one name and one folder wherever they are asked for.
"""

from __future__ import annotations

from typing import NamedTuple

from ..data.sources.registry import open_source
from ..lib.layout import strong_list
from .controls import RANDOM, controls
from .faults import faults_of
from .ladder import ladder
from .params import Params
from .runs import Run
from .systems import System, system, two_networks

FIG2 = {"a": "n", "b": "tau"}  # the setting along each panel of Fig. 2


class Point(NamedTuple):
    """One point of Fig. 2."""

    value: float
    system: System


def table1(params: Params) -> list[System]:
    """Table 1 of the paper: every backbone without and with GL-AT; and, of those in `params.table1.two_networks`,
    `TWO_NETWORKS`."""
    found = []
    for backbone in params.backbones:
        found += [system(params, backbone, glat) for glat in (None, {})]
        if backbone in params.table1.two_networks:
            found.append(two_networks(params, backbone))
    return found


def table2(params: Params) -> list[System]:
    """Table 2 of the paper: the backbone alone, then GL-AT's global stream, local stream, and both."""
    plain, both = (system(params, params.table2.backbone, glat) for glat in (None, {}))
    return [plain, *(System(both.label, both.runs, stream) for stream in ("global", "local", "fused"))]


def fig2(params: Params, setting: str) -> tuple[System, list[Point]]:
    """Fig. 2 of the paper: the plain backbone, and the points along `setting` ("n" or "tau"), in ascending order."""
    choice = params.fig2
    values = sorted(getattr(choice, setting))
    points = [Point(value, system(params, choice.backbone, {setting: value}, choice.seeds)) for value in values]
    return system(params, choice.backbone, None, choice.seeds), points


def localisation(params: Params) -> list[System]:
    """The first backbone of `params.controls` alone, in GL-AT, and, where it is among the controls, in GL-AT with random
    windows."""
    backbone = params.controls.backbones[0]
    found = [system(params, backbone, glat) for glat in (None, {})]
    if params.controls.settings is None or RANDOM in params.controls.settings:
        rows = [one for one in controls(params) if (one.backbone, one.setting) == (backbone, RANDOM)]
        found += [System(f"{one.system.label}, random windows", one.system.runs) for one in rows]
    return found


def runs_with_frames(params: Params) -> list[str]:
    """The names of the runs whose evaluation keeps scores over time, as `params.localisation.frames` says: "all" runs, "none",
    or, with "auto", those that `localisation` shows, where the dataset has strong labels of the clips."""
    if params.localisation.frames != "auto":
        return list(all_runs(params)) if params.localisation.frames == "all" else []
    corpus = params.corpus
    source = open_source(corpus.source, params.dataset)
    strong = source.has_strong_labels or any(
        strong_list(split) in corpus.lists() for split in corpus.evaluation_splits()
    )
    return [run.name for run in runs_of(localisation(params))] if strong else []


def systems_of(params: Params, result: str) -> list[System]:
    """The systems that a result (a name of `glat.results.registry.RESULTS`) shows."""
    if result in ("table1", "pr_curves"):
        return table1(params)
    if result == "table2":
        return table2(params)
    if result in ("fig2a", "fig2b"):
        plain, points = fig2(params, FIG2[result[-1]])
        return [plain, *(point.system for point in points)]
    if result == "controls":
        return [control.system for control in controls(params)]
    if result == "ladder":
        return [rung.system for rung in ladder(params)]
    if result == "localisation":
        return localisation(params)
    return [one for part in ("table1", "table2", "fig2a", "fig2b", "controls") for one in systems_of(params, part)]


# The results behind a target of the workflow, by its name without what follows a dot.
RESULT_OF: dict[str, tuple[str, ...]] = {
    **{
        name: (name,)
        for name in ("table1", "table2", "fig2a", "fig2b", "controls", "localisation", "pr_curves", "ladder")
    },
    **dict.fromkeys(("durations", "detection"), ("localisation",)),
    "fig2": ("fig2a", "fig2b"),
    "clips": ("table2",),
    **dict.fromkeys(("all", "report", "metrics", "train", "evaluate", "curves", "training"), ("report",)),
    **{f"training_{name}": ("report",) for name in ("table1", "fig2", "controls")},
}


def faults(params: Params, *results: str) -> list[str]:
    """What of the settings these results can't be made with, a sentence a fault."""
    runs = runs_of([one for result in results for one in systems_of(params, result)])
    return list(dict.fromkeys(fault for run in runs for fault in faults_of(params, run)))


def all_runs(params: Params) -> dict[str, Run]:
    """Every run that some result needs, by name."""
    results = ("report", "localisation", "ladder")
    return {run.name: run for run in runs_of([one for result in results for one in systems_of(params, result)])}


def runs_of(systems: list[System]) -> list[Run]:
    """The runs of several systems, each once, in order."""
    return list({run.name: run for one in systems for run in one.runs}.values())

"""Which runs each result needs: the paper's tables and sweeps, and the controls that the paper lacks.

Results share runs: Fig. 2's point (N, tau) = (glat.n, glat.tau), Table 2 and the controls' own GL-AT are runs of
Table 1, and have one name and one folder wherever they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..data.sources.registry import open_source
from ..lib.errors import GlatError
from ..lib.layout import strong_list
from .faults import faults_of
from .params import Params
from .runs import Run, resolve
from .training import Glat

FIG2 = {"a": "n", "b": "tau"}  # the setting along each panel of Fig. 2


class System(NamedTuple):
    """One method as a table or figure shows it: a label, its runs (one a seed, or one a seed and fold), the stream that is
    scored, and, in a table of the paper, the control that it is (`TWO_NETWORKS`)."""

    label: str
    runs: list[Run]
    stream: str = "fused"
    control: str = ""


class Point(NamedTuple):
    """One point of Fig. 2."""

    value: float
    system: System


class Control(NamedTuple):
    """One row of the controls: a question, the setting that answers it, and of a variant, the setting of the row that has its
    training's compute without GL-AT."""

    backbone: str
    question: str
    setting: str
    system: System
    baseline: str = ""


def title(run: Run) -> str:
    """A run's method as tables and figures name it."""
    return run.entry.title + (" + GL-AT" if run.glat else "")


def system(
    params: Params, backbone: str, glat: dict[str, Any] | None, seeds: list[int] | None = None, **settings: Any
) -> System:
    """The runs of a backbone alone (`glat` None) or in GL-AT, for `seeds` (default: those of params.yaml)."""
    folds: Sequence[str | None] = params.corpus.folds or [None]
    runs = [
        resolve(params, backbone, seed, glat, fold=fold, **settings) for seed in seeds or params.seeds for fold in folds
    ]
    return System(title(runs[0]), runs)


def table1(params: Params) -> list[System]:
    """Table 1 of the paper: every backbone without and with GL-AT; and, of those in `params.table1.two_networks`,
    `TWO_NETWORKS`."""
    found = []
    for backbone in params.backbones:
        found += [system(params, backbone, glat) for glat in (None, {})]
        if backbone in params.table1.two_networks:
            found.append(two_networks(params, backbone))
    return found


def two_networks(params: Params, backbone: str, seeds: list[int] | None = None) -> System:
    """`TWO_NETWORKS`: GL-AT as `params.glat` has it, but with one window as long as the clip, heard by a network of its
    own. Any selection chooses that window."""
    change = {"n": 1, "tau": params.audio.clip_seconds, "sharing": "none", "extra_taus": []}
    if params.glat.training == "none":
        change["training"] = "joint"
    found = system(params, backbone, change, seeds)
    return found._replace(label=f"{found.runs[0].entry.title}, {TWO_NETWORKS}", control=TWO_NETWORKS)


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


# The backbone alone, trained for longer.
EQUAL_COMPUTE = "equal compute"
RANDOM = "random"
# GL-AT whose one window is the clip: what a second network brings without any choice of where to listen, an ensemble of
# two at nearly GL-AT's cost.
TWO_NETWORKS = "two networks on the whole clip"
# Question, setting, and what it changes of params.glat. The setting that params.glat has itself is Table 1's run.
QUESTIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("which windows", "attention", {"selection": "attention", "suppress": False}),
    ("which windows", "attention, suppressed", {"selection": "attention", "suppress": True}),
    ("which windows", RANDOM, {"selection": "random", "suppress": False, "scoring": "all"}),
    ("which windows", "uniform", {"selection": "uniform", "suppress": False, "scoring": "all"}),
    ("frame's time", "middle", {"frame_time": "middle"}),
    ("frame's time", "start", {"frame_time": "start"}),
    ("frames scored by", "global classifier", {"frame_classifier": "global"}),
    ("frames scored by", "local classifier", {"frame_classifier": "local"}),
    ("training", "joint", {"training": "joint"}),
    ("training", "frozen global stream", {"training": "frozen_global", "sharing": "none"}),
    ("shared weights", "none", {"training": "joint", "sharing": "none"}),
    ("shared weights", "classifier", {"training": "joint", "sharing": "classifier"}),
    ("shared weights", "backbone", {"training": "joint", "sharing": "backbone"}),
]


def variants(tau: float) -> dict[str, dict[str, Any]]:
    """Variants of GL-AT that the controls above point at (docs/variants.md), by name: what each changes of a params.glat whose
    windows have tau seconds."""
    return {
        "shared backbone": {"training": "joint", "sharing": "backbone"},
        "own windows": {"scoring": "own"},
        "learned fusion": {"fusion": "learned"},
        "two lengths": {"extra_taus": [tau / 2]},
        "soft windows": {"selection": "soft"},
        "inference only": {"training": "none", "sharing": "backbone", "fusion": "mean_max"},
    }


def variant(params: Params, name: str) -> Glat:
    """The settings of GL-AT that a name of `params.controls.variants` stands for: that of a variant, or of several that are
    joined by " + ". Raises GlatError: no such variant."""
    known, changes = variants(params.glat.tau), dict[str, Any]()
    for part in name.split(" + "):
        if part not in known:
            allowed = f"allowed are {', '.join(map(repr, known))}, and several joined by ' + '"
            raise GlatError(f"controls.variants: {part!r} is not known; {allowed}")
        changes |= known[part]
    return Glat.model_validate(params.glat.model_dump() | changes)


def controls(params: Params) -> list[Control]:
    """For each backbone of `params.controls`: the backbone alone, GL-AT, two networks on the whole clip, the backbone
    alone with GL-AT's compute, `QUESTIONS`, and variants of GL-AT, each with the backbone alone with its compute; the first
    two always, the others as `params.controls.settings` and `variants` say.

    Raises:
        GlatError: a setting or a variant there that is none of these.
    """
    names = [TWO_NETWORKS, EQUAL_COMPUTE, *(setting for _, setting, _ in QUESTIONS)]
    wanted = params.controls.settings
    if unknown := [name for name in wanted or [] if name not in names]:
        raise GlatError(f"controls.settings: {unknown[0]!r} is not known; allowed are {', '.join(map(repr, names))}")
    rows = []
    methods = {name: variant(params, name) for name in params.controls.variants}
    for backbone in params.controls.backbones:
        seeds = params.controls.seeds or params.seeds
        plain = system(params, backbone, None, seeds)
        more = system(params, backbone, None, seeds, steps=equal_compute_steps(params, backbone))
        rows.append(Control(backbone, "method or compute", "backbone alone", plain))
        rows.append(Control(backbone, "method or compute", "GL-AT", system(params, backbone, {}, seeds)))
        if wanted is None or TWO_NETWORKS in wanted:
            two = two_networks(params, backbone, seeds)
            rows.append(Control(backbone, "method or compute", TWO_NETWORKS, two))
        if wanted is None or EQUAL_COMPUTE in wanted:
            rows.append(Control(backbone, "method or compute", EQUAL_COMPUTE, more))
        baselines, known = {}, {one.system.runs[0].name: one for one in rows if one.backbone == backbone}
        for name, method in methods.items():
            steps = equal_compute_steps(params, backbone, method)
            equal = system(params, backbone, None, seeds, steps=steps)
            if (run := equal.runs[0].name) not in known:
                setting = EQUAL_COMPUTE if run == more.runs[0].name else f"{EQUAL_COMPUTE}, {steps} steps"
                known[run] = Control(backbone, "method or compute", setting, equal)
                rows.append(known[run])
            baselines[name] = known[run].setting
        for question, setting, change in QUESTIONS:
            if wanted is not None and setting not in wanted:
                continue
            rows.append(Control(backbone, question, setting, _changed(params, plain, change)))
        for name, method in methods.items():
            changed = _changed(params, plain, dict(method))
            rows.append(Control(backbone, "variant", name, changed, baselines[name]))
    return rows


def _changed(params: Params, plain: System, change: dict[str, Any]) -> System:
    """GL-AT around the backbone of `plain` with `change` of params.glat. If the change is to train less than both streams, it
    starts from the runs of `plain`."""
    start = change.get("training") in ("frozen_global", "none") and change["training"] != params.glat.training
    runs = [
        resolve(params, of.backbone, of.seed, change, fold=of.fold, start_from=of if start else None)
        for of in plain.runs
    ]
    return System(f"{plain.label} + GL-AT", runs)


def equal_compute_steps(params: Params, backbone: str, glat: Glat | None = None) -> int:
    """Steps in which the backbone alone costs as many multiply-adds as GL-AT (None: that of params.glat) in its budget: the
    local stream hears N windows of tau seconds beside the clip's T0, so a step of GL-AT costs 1 + N tau / T0 steps of the
    backbone, where tau is the sum of all lengths if there are several; where the global stream is frozen,
    (1 + 3 N tau / T0) / 3, as that runs forward only, a third of a step. The training that its frozen weights come from does
    not count, since the backbone alone starts from them too (`init.global`). Where nothing but inference hears windows, GL-AT
    needs no training of its own, and the backbone alone keeps its steps.
    """
    glat = glat or params.glat
    windows = glat.n * sum(glat.taus) / params.audio.clip_seconds
    factor = (1 / 3 if glat.training == "frozen_global" else 1) + windows
    if glat.training == "none":
        factor = 1
    return round(params.training_of(params.dataset, backbone).steps * factor)


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
    if result == "localisation":
        return localisation(params)
    return [one for part in ("table1", "table2", "fig2a", "fig2b", "controls") for one in systems_of(params, part)]


# The results behind a target of the workflow, by its name without what follows a dot.
RESULT_OF: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("table1", "table2", "fig2a", "fig2b", "controls", "localisation", "pr_curves")},
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
    return {run.name: run for run in runs_of(systems_of(params, "report"))}


def runs_of(systems: list[System]) -> list[Run]:
    """The runs of several systems, each once, in order."""
    return list({run.name: run for one in systems for run in one.runs}.values())

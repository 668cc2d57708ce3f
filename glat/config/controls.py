"""Which runs the controls need: questions about the method that the paper leaves open, and variants of GL-AT."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..lib.errors import GlatError
from .params import Params
from .runs import frozen_streams, resolve
from .systems import TWO_NETWORKS, System, system, two_networks
from .training import Glat

# The backbone alone, trained for longer.
EQUAL_COMPUTE = "equal compute"
RANDOM = "random"
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


class Control(NamedTuple):
    """One row of the controls: a question, the setting that answers it, and of a variant, the setting of the row that has its
    training's compute without GL-AT."""

    backbone: str
    question: str
    setting: str
    system: System
    baseline: str = ""


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


def variant(params: Params, name: str, key: str = "controls.variants") -> Glat:
    """The settings of GL-AT that a name of `params.controls.variants`, or of another `key`, stands for: that of a variant, or
    of several that are joined by " + ". Raises GlatError: no such variant."""
    known, changes = variants(params.glat.tau), dict[str, Any]()
    for part in name.split(" + "):
        if part not in known:
            allowed = f"allowed are {', '.join(map(repr, known))}, and several joined by ' + '"
            raise GlatError(f"{key}: {part!r} is not known; {allowed}")
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
            rows.append(Control(backbone, question, setting, with_glat(params, plain, change)))
        for name, method in methods.items():
            changed = with_glat(params, plain, dict(method))
            rows.append(Control(backbone, "variant", name, changed, baselines[name]))
    return rows


def with_glat(params: Params, plain: System, change: dict[str, Any], rung: str | None = None) -> System:
    """GL-AT around the backbone of `plain` with `change` of params.glat, trained as a rung of the ladder is, if one is given.
    If the change is to train less than both streams, it starts from the runs of `plain`."""
    start = change.get("training") in ("frozen_global", "none") and change["training"] != params.glat.training
    runs = [
        resolve(params, of.backbone, of.seed, change, fold=of.fold, rung=rung, start_from=of if start else None)
        for of in plain.runs
    ]
    return System(f"{plain.label} + GL-AT", runs)


def equal_compute_steps(params: Params, backbone: str, glat: Glat | None = None, rung: str | None = None) -> int:
    """Steps in which the backbone alone costs as many multiply-adds as GL-AT (None: that of params.glat) in its budget, or in
    that of a rung of the ladder.

    The local stream hears N windows of tau seconds beside the clip's T0, so a step of GL-AT costs 1 + N tau / T0 steps of the
    backbone, where tau is the sum of all lengths if there are several. A stream that is frozen runs forward only, a third of
    a step. The training that its weights come from does not count, since the backbone alone starts from them too
    (`init.global`). Where nothing but inference hears windows, GL-AT needs no training of its own, and the backbone alone
    keeps its steps. A network whose cost is not that of its input's length has a share of GL-AT's compute that the results
    tell (`results.controls.equal_share`).
    """
    glat, training = glat or params.glat, params.training_of(params.dataset, backbone, rung)
    if glat.training == "none":
        return training.steps
    frozen = frozen_streams(glat, training)
    cost = {stream: 1 / 3 if stream in frozen else 1 for stream in ("global", "local")}
    return round(
        training.steps * (cost["global"] + cost["local"] * glat.n * sum(glat.taus) / params.audio.clip_seconds)
    )

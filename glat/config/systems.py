"""Systems: methods as tables and figures show them, each with its runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .params import Params
from .runs import Run, resolve

# GL-AT whose one window is the clip: what a second network brings without any choice of where to listen, an ensemble of
# two at nearly GL-AT's cost.
TWO_NETWORKS = "two networks on the whole clip"


class System(NamedTuple):
    """One method as a table or figure shows it: a label, its runs (one a seed, or one a seed and fold), the stream that is
    scored, and, in a table of the paper, the control that it is (`TWO_NETWORKS`)."""

    label: str
    runs: list[Run]
    stream: str = "fused"
    control: str = ""


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


def two_networks(params: Params, backbone: str, seeds: list[int] | None = None) -> System:
    """`TWO_NETWORKS`: GL-AT as `params.glat` has it, but with one window as long as the clip, heard by a network of its
    own. Any selection chooses that window."""
    change = {"n": 1, "tau": params.audio.clip_seconds, "sharing": "none", "extra_taus": []}
    if params.glat.training == "none":
        change["training"] = "joint"
    found = system(params, backbone, change, seeds)
    return found._replace(label=f"{found.runs[0].entry.title}, {TWO_NETWORKS}", control=TWO_NETWORKS)

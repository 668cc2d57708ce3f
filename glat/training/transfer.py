"""The classifier of a run that starts from weights of other classes: which of its rows come from there, and which are new."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from ..config.runs import Run
from ..data.lists.audioset import read_class_list
from ..lib.errors import GlatError, tell
from ..lib.hardware import first_process
from ..models.architecture import complete
from ..models.backbone import Backbone
from ..models.factory import make_backbone, mels_of
from ..models.registry import PANNS
from ..models.transfer import class_axes, onto_classes, outputs


def backbone_of(run: Run, classes: int) -> Backbone:
    """The backbone of a run, for any number of classes."""
    network = complete(run.network)
    mels = mels_of(run.backbone, run.audio.sample_rate, network)
    return make_backbone(run.backbone, classes, run.width, mels, network)


def listed_classes(run: Run, stream: str) -> list[dict[str, str]] | None:
    """The classes of weights that have no class list of their own; None where the run knows of none."""
    path = run.init_classes.get(stream)
    if path is None:
        return None
    if not Path(path).exists():
        hint = f"`glat weights {run.backbone} --until classes` fetches it" if run.backbone in PANNS else "put it there"
        raise GlatError(f"{path}: no such class list of {run.init[stream]}; {hint}")
    return read_class_list(path)[["mid", "display_name"]].to_dict("records")


def transfer(
    run: Run,
    stream: str,
    backbone: Backbone,
    weights: dict[str, torch.Tensor],
    known: list[dict[str, str]] | None,
    classes: list[dict[str, str]] | None,
    load: Callable[[dict[str, torch.Tensor]], None],
) -> list[str]:
    """Have `load` put weights of the classes `known` into a backbone of `classes`: the rows of its classifier by the classes'
    ids, and where one of the two lists isn't known, as they are. Returns the names of the classes that are new to the weights,
    whose rows stay as they were initialised.

    Raises:
        ValueError: weights of another number of classes than they have a list of, and what `load` raises.
    """
    axes = class_axes(lambda count: backbone_of(run, count))
    count = outputs(weights, axes)
    if known is None and count not in (None, run.classes):
        _refuse_unnamed(run, weights, count)
    theirs, ours = ([c["mid"] for c in some or ()] for some in (known, classes))
    if count is None or known is None or classes is None or theirs == ours:
        load(weights)
        return []
    if count != len(known):
        listed = run.init_classes.get(stream, "its class list")
        raise ValueError(f"it scores {count} classes, but {listed} names {len(known)}; give the list of its classes")
    load(onto_classes(weights, backbone.state_dict(), axes, theirs, ours))
    old, new = ([c["display_name"] for c in classes if (c["mid"] in theirs) == is_old] for is_old in (True, False))
    if first_process():
        what = f"of {len(ours)} classes, the classifier's rows of {len(old)} are taken over{_few(old)}"
        tell(f"{run.folder}: init.{stream}: {run.init[stream]}: {what}, those of {len(new)} are made anew{_few(new)}")
    return new


def _refuse_unnamed(run: Run, weights: dict[str, torch.Tensor], count: int) -> None:
    """Raise ValueError if weights differ from a run's network in their classes alone, of which there is no list."""
    with torch.device("meta"):
        theirs = backbone_of(run, count).state_dict()
    if all(name in weights and weights[name].shape == weight.shape for name, weight in theirs.items()):
        place = f"weights.{run.backbone}"
        raise ValueError(
            f"it scores {count} classes and does not say which, and this run has {run.classes}; make it {place}.file of "
            f"params.yaml, whose class list is {place}.classes"
        )


def _few(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f" ({', '.join(names[:most])}{more})" if names else ""

"""Weights that a library's network was published with, as a run of this project: what they score on the packs at hand."""

from __future__ import annotations

import hashlib

from ..config.network import short
from ..config.params import Params
from ..config.runs import Run, completed, split_packs
from ..config.systems import System, title
from ..config.training import Training
from ..lib import layout
from ..lib.errors import GlatError
from .weights import published_run, write


def run_of(params: Params, backbone: str, classes: int) -> Run:
    """The weights as a run, `<backbone>-published`, of a dataset with so many classes. How many steps it
    was trained for elsewhere is not known.

    Raises:
        GlatError: no network of a library, or it cannot be had.
    """
    network = params.network(backbone)
    if network is None or network.library is None:
        raise GlatError(f"networks.{backbone}: not a network of timm or transformers; `init` takes other weights")
    settings = {
        "network": network.model_copy(update={"pretrained": True}),
        "hop": params.corpus.hop,
        "classes": classes,
        "init": {"global": None, "local": None},
        "training": Training(steps=1),
    }
    run = published_run(params, backbone, layout.published_run(short(backbone), "published"), **settings)
    return completed(run)


def convert(params: Params, backbone: str) -> Run:
    """Write config.yaml and checkpoint.pt of a run from a library's weights. Where they are those of an earlier call, its
    checkpoint is kept.

    Raises:
        GlatError: packs that are not there, a network that cannot be had, or weights that do not know all classes.
    """
    from ..data.packs.read import Packs  # imports torch
    from ..training import checkpoints

    packs = split_packs(params, params.dataset, params.corpus.evaluation_splits())
    classes = Packs(packs[:1]).classes[["mid", "display_name"]].to_dict("records")
    run = run_of(params, backbone, len(classes))
    tagger, content = checkpoints.build(run, classes), hashlib.sha256()
    for name, weight in tagger.state_dict().items():
        content.update(name.encode() + weight.contiguous().numpy().tobytes())
    write(run, classes, f"sha256:{content.hexdigest()}", lambda: tagger)
    return run


def sentence(run: Run) -> str:
    """What a run scored, from its metrics.json and predictions."""
    from ..results import text
    from ..results.columns import score_columns
    from ..results.measured import read

    row = score_columns(read(System(title(run), [run])))
    scores = ", ".join(f"{name} {text.score(row, name)}" for name in ("mAP", "mAUC"))
    clips = f"{row['evaluation_clips']} clips, {row['classes_scored']} of {run.classes} classes with a positive"
    return f"{title(run)}, published weights: {scores} on {clips}. In brackets: the interval over clips."

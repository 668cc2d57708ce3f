"""Weights that a library's network was published with, as a run of this project: what they score on the packs at hand."""

from __future__ import annotations

import hashlib

from ..config.network import short
from ..config.params import Params
from ..config.runs import Run, completed, read_run, split_packs, write_run
from ..config.systems import System, title
from ..config.training import Training
from ..lib import layout
from ..lib.errors import GlatError
from ..lib.files import remove


def run_of(params: Params, backbone: str, classes: int) -> Run:
    """The weights as a run, `<backbone>-published`, of a dataset with so many classes. It has no training packs
    (`Run.published`), and how long it was trained elsewhere is not known.

    Raises:
        GlatError: no network of a library, or it cannot be had.
    """
    network = params.network(backbone)
    if network is None or network.library is None:
        raise GlatError(f"networks.{backbone}: not a network of timm or transformers; `init` takes other weights")
    run = Run(
        dataset=params.dataset,
        name=layout.published_run(short(backbone), "published"),
        backbone=backbone,
        network=network.model_copy(update={"pretrained": True}),
        width=1.0,
        dropout=1.0,
        hop=params.corpus.hop,
        classes=classes,
        seed=0,
        glat=None,
        init={"global": None, "local": None},
        audio=params.audio.waveform,
        training=Training(steps=1),
        packs=[],
    )
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
    tagger = checkpoints.build(run, classes).eval()
    content = hashlib.sha256()
    for name, weight in tagger.state_dict().items():
        content.update(name.encode() + weight.contiguous().numpy().tobytes())
    done, made_from = run.folder / layout.CHECKPOINT, f"sha256:{content.hexdigest()}"
    if not checkpoints.is_made_from(done, run, classes, made_from):
        remove(run.folder / "metrics.json")  # of other weights
        checkpoints.save(tagger, run, classes, run.training.steps, done, fingerprint=made_from)
    config = run.folder / "config.yaml"
    if not config.exists() or read_run(config) != run:
        write_run(run, config)
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

"""Run folders as an evaluation leaves them, made from drawn scores: no network is trained."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from glat.config.experiments import all_runs
from glat.config.params import Params
from glat.config.runs import Run, resolve, write_run
from glat.data.packs.read import Packs
from glat.lib.files import digest
from glat.scoring.jackknife import class_estimates, jackknife
from glat.scoring.manifest import MANIFEST, write_manifest
from glat.scoring.predictions import VERSION, Influence, clips_hash, write_influence, write_predictions
from glat.scoring.stream_metrics import score
from glat.training import checkpoints

CLASSES = pd.DataFrame([(c, f"/m/{c}", f"Class {c}") for c in range(16)], columns=["index", "mid", "display_name"])


class Corpus:
    """Clips and their labels."""

    def __init__(self, clips: int = 40, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.clips = np.array([f"clip{i}_0" for i in range(clips)])
        self.target = rng.random((clips, 16)) < 0.25
        self.target[0], self.target[1] = True, False
        self.classes = CLASSES


def make_run(run: Run, corpus: Corpus, skill: float = 1.0, **update) -> dict[str, np.ndarray]:
    """Write the files of a run whose scores are `skill` deviations apart; returns its predictions."""
    rng = np.random.default_rng([run.seed, int(skill * 1000)])
    streams = ["fused", "global", "local"] if run.glat else ["fused"]
    noise = rng.normal(size=(len(streams), *corpus.target.shape))
    predictions = {s: (n + skill * corpus.target).astype(np.float32) for s, n in zip(streams, noise, strict=True)}
    if run.glat:
        shape = (len(corpus.clips), run.glat.n)
        predictions["windows"] = rng.uniform(0, 10 - run.glat.tau, shape)
        predictions["classes"] = np.argsort(-predictions["global"], 1)[:, : run.glat.n]
    found = {s: jackknife(corpus.target, predictions[s]) for s in streams}
    heard = clips_hash(corpus.clips, corpus.target)
    made_by = {"environment": {"torch": "2.11.0", "processor": "made up"}, "commit": "c0ffee"}
    multiply_adds = 1000 * (1 + run.glat.n * run.glat.tau / 10 if run.glat else 1)
    run.folder.mkdir(parents=True, exist_ok=True)
    torch.save({"run": run.model_dump(by_alias=True), "trained": made_by}, run.folder / "checkpoint.pt")
    metrics = {
        "version": VERSION, "run": run.name, "dataset": run.dataset, "backbone": run.backbone, "seed": run.seed,
        "glat": run.glat.model_dump() if run.glat else None, "steps": run.training.steps, "parameters": 1234,
        "clips": len(corpus.clips), "clips_hash": heard,
        "manifest": {"file": MANIFEST, "sha256": write_manifest(run.folder / MANIFEST, corpus.clips)},
        "only": None, "classes": 16, "classes_scored": 16, "collapsed": False,
        "convergence": {"state": "converged", "reason": "", "tolerance": 0.03, "curves": {}},
        "streams": score(found, 0.95), "evaluation": {"confidence": 0.95}, "precision": "bf16",
        "cost": {"multiply_adds_per_clip": multiply_adds, "seconds_per_clip": multiply_adds / 1e5, "clock": "CPU time"},
        "checkpoint": digest(run.folder / "checkpoint.pt"), "trained": made_by, **made_by,
    } | update  # fmt: skip
    steps = np.arange(1, 4) * run.training.steps // 3
    local = [0.9, 0.6, 0.5] if run.glat else [None] * 3
    curve = {"step": steps, "loss_global": [0.9, 0.5, 0.4], "loss_local": local, "seconds": [1.0, 2.0, 3.0]}
    pd.DataFrame(curve)[: 0 if run.untrained else 3].to_csv(run.folder / "train.csv", index=False)
    ap = [found.value for found, _ in class_estimates(corpus.target, predictions["fused"])]
    CLASSES[["mid", "display_name"]].assign(AP_fused=ap).to_csv(run.folder / "per_class.csv", index=False)
    write_predictions(run.folder / "predictions.h5", predictions, corpus.clips, corpus.target, CLASSES)
    write_influence(run.folder / "influence.npz", Influence(heard, found))
    (run.folder / "metrics.json").write_text(json.dumps(metrics))
    return predictions


def make_all(params: Params, corpus: Corpus, without: tuple[str, ...] = ()) -> None:
    """Every run that `params` asks for, but those named."""
    for run in all_runs(params).values():
        if run.name not in without:
            make_run(run, corpus, skill=1.5 if run.glat else 1.0)


def value(run: Run, stream: str = "fused", metric: str = "mAP") -> float:
    """What metrics.json of a run says."""
    return json.loads((run.folder / "metrics.json").read_text())["streams"][stream][metric]["value"]


def untrained(params: Params, folder: Path, glat: dict | None = None, **update) -> Run:
    """Write checkpoint.pt with random weights, of a run on the tiny corpus."""
    run = resolve(params, "cnn10", 0, glat).model_copy(update=update)
    torch.manual_seed(0)
    classes = Packs(run.packs).classes[["mid", "display_name"]].to_dict("records")
    checkpoints.save(checkpoints.build(run), run, classes, 0, folder / "checkpoint.pt")
    return run


def make_whole_run(run: Run) -> Run:
    """The files of a run with its config.yaml."""
    make_run(run, Corpus())
    write_run(run, run.folder / "config.yaml")
    return run

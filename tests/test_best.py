"""The network that is best on validation clips: which one is kept, when a training ends early; a kill changes nothing."""

import json
import re

import numpy as np
import pytest
import torch
from conftest import ROOT, TINY
from test_training import equal, facts, killed_at, rows, run_with, train, weights
from test_weights import copy_of_the_project, snakemake

from glat.config.params import load
from glat.config.runs import resolve, split_packs, write_run
from glat.config.settings import Evaluation
from glat.config.training import Validation
from glat.data.packs.read import Packs
from glat.lib import hardware
from glat.lib.errors import GlatError
from glat.scoring import evaluation
from glat.scoring.metrics import summary
from glat.training import checkpoints, convergence, resume
from glat.training.best import Best


@pytest.fixture
def project(corpus_project):
    return corpus_project


def selected_run(params, glat=None, every=1, patience=None, **settings):
    """A run whose network is selected by the tiny corpus' evaluation clips, which here are for validation."""
    run = run_with(params, glat, select="best", validation=Validation(every=every, patience=patience), **settings)
    return run.model_copy(update={"validation_packs": split_packs(params, "mini", ["eval"]), "width": 0.05})


@pytest.fixture
def scores(monkeypatch):
    """A function: sets the mAP that each look finds, from the first on; `None`: not to be looked at."""

    def of(*values, every=1):
        monkeypatch.setattr(Best, "look", lambda self, stage: values[stage.global_step // every - 1])

    return of


def content(folder):
    return checkpoints.read(folder / "checkpoint.pt")


def test_the_best_network_is_kept_and_the_curve_keeps_all_steps(project, params, scores, capsys):
    scores(0.1, 0.4, 0.2, 0.4, 0.3, 0.1)
    run = selected_run(params)
    train(run, project / "a", keep_every=1)
    assert equal(weights(project / "a"), weights(project / "a/kept/0000002")), "of equal ones the first"
    assert not equal(weights(project / "a"), weights(project / "a/kept/0000006"))
    expected = {"step": 2, "mAP": 0.4, "clips": 12, "looks": 6, "ended": 6}
    assert content(project / "a")["selected"] == expected and content(project / "a")["step"] == 2
    assert content(project / "a/kept/0000002")["selected"] is None
    assert [row[0] for row in rows(project / "a")] == ["2", "4", "6"]
    told = capsys.readouterr().err
    assert "step 1: mAP 0.1000 on 12 validation clips, the best so far" in told
    assert "step 4: mAP 0.4000 on 12 validation clips, the best is 0.4000 at step 2" in told
    assert (
        "selected: the network of step 2, mAP 0.4000 on 12 validation clips, the best of 6 looks up to step 6" in told
    )
    # It goes into metrics.json; of a network that was not selected, nothing does.
    write_run(run, project / "a/config.yaml")
    evaluation.evaluate(project / "a/checkpoint.pt", run.validation_packs, Evaluation(), project / "a", threads=1)
    assert json.loads((project / "a/metrics.json").read_text())["selected"] == expected
    assert checkpoints.restore(project / "a/kept/0000006/checkpoint.pt").selected is None


def test_a_training_ends_after_looks_without_a_better_network(project, params, scores, capsys):
    scores(0.1, 0.4, 0.2, 0.4, 0.5)
    run, longer = (selected_run(params, steps=steps, patience=2, schedule="constant") for steps in (6, 9))
    train(run, project / "a", log_every=3)
    told = capsys.readouterr().err
    assert "ends at step 4, after 2 looks in a row without a better network (training.validation.patience)" in told
    assert content(project / "a")["selected"] == {"step": 2, "mAP": 0.4, "clips": 12, "looks": 4, "ended": 4}
    assert [row[0] for row in rows(project / "a")] == ["3", "4"], "with what was left since the last line"
    # More steps do not begin it again: with them it would have ended there, too.
    train(longer, project / "a", log_every=3)
    train(longer, project / "unbroken", log_every=3)
    assert "9 steps, resumed at step 4" in capsys.readouterr().err
    assert equal(weights(project / "a"), weights(project / "unbroken")) and rows(project / "a") == rows(
        project / "unbroken"
    )
    assert content(project / "a")["selected"] == content(project / "unbroken")["selected"]
    # A cosine leaves no resume point, and none of an end before its last step either.
    train(selected_run(params, steps=6, patience=2), project / "b")
    assert content(project / "b")["selected"]["ended"] == 4 and not list((project / "b").glob("*.ckpt"))


@pytest.mark.parametrize("killed", [3, 6])
def test_a_killed_training_selects_what_an_unbroken_one_does(project, params, scores, killed):
    """Resumed at step 2, where the best network is of step 2, and at step 6, four looks after it."""
    scores(0.1, 0.4, 0.2, 0.3, 0.1, 0.3, 0.4, 0.2)
    run = selected_run(params, {}, steps=8, patience=5)
    train(run, project / "unbroken")
    killed_at(killed, run, project / "a")
    assert not (project / "a/checkpoint.pt").exists()
    train(run, project / "a")
    one, other = content(project / "unbroken"), content(project / "a")
    assert equal(one["model"], other["model"]) and rows(project / "a") == rows(project / "unbroken")
    assert one["selected"] == other["selected"] == {"step": 2, "mAP": 0.4, "clips": 12, "looks": 7, "ended": 7}


def test_validation_clips_are_scored_as_the_network_is_used(project, params):
    run, looks, look = selected_run(params, {}, steps=2, every=2), [], Best.look
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Best, "look", lambda self, stage: looks.append(look(self, stage)) or looks[-1])
        train(run, project / "a")
    packs = Packs(run.validation_packs)
    tagger = checkpoints.load(project / "a/checkpoint.pt")[0].to(memory_format=torch.channels_last)
    precision = hardware.precision("auto", "cpu") == "bf16"
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision):
        found = [tagger(torch.from_numpy(packs.read(range(i, i + 4)))).float().numpy() for i in range(0, 12, 4)]
    assert (
        looks
        == [summary(packs.labels.dense(), np.concatenate(found)).mAP]
        == [content(project / "a")["selected"]["mAP"]]
    )


def test_what_networks_are_selected_by_is_part_of_a_training(project, params):
    run = selected_run(params)
    packs, validation = Packs(run.packs), Packs(run.validation_packs)
    one = resume.facts(run, packs, params.execution_of("mini"), validation)
    known = lambda run, validation: resume.facts(run, packs, params.execution_of("mini"), validation)
    assert known(run.model_copy(update={"validation_packs": ["elsewhere.h5"]}), validation) == one
    assert (
        resume.differences(one, known(selected_run(params, every=2), validation))
        == "training.validation.every 1, now 2"
    )
    validation.labels = validation.labels.without(np.array([0]))
    assert resume.differences(one, known(run, validation)) == "other validation clips"
    # Where the last network is kept, the settings for another one are no part of it.
    last = [facts(run_with(params, validation=Validation(every=every)), packs) for every in (1, 2)]
    assert last[0] == last[1] and "validation clips" not in last[0]


def test_validation_clips_that_do_not_serve_are_refused(project, params, monkeypatch):
    run = selected_run(params)
    with pytest.raises(
        GlatError, match=r"packs/train/000\.h5: 12 of its clips are training clips too, \S+ the first; a net"
    ):
        train(run.model_copy(update={"validation_packs": run.packs[:1]}), project / "a")
    with pytest.raises(
        GlatError, match=r"a: training\.validation\.every: 7: a training of 6 steps ends before the first"
    ):
        train(selected_run(params, every=7).model_copy(update={"name": "a"}), project / "a")
    with pytest.raises(
        GlatError, match=r"training\.select: best, but it names no validation_packs; configure it again"
    ):
        train(run.model_copy(update={"validation_packs": []}), project / "a")
    read = Packs.__init__

    def changed(change):
        def init(self, paths):
            read(self, paths)
            if "eval" in str(self.paths[0]):
                change(self)

        return init

    def unlabelled(packs):
        packs.labels = packs.labels.without(np.arange(len(packs)))

    def reordered(packs):
        packs.classes = packs.classes.iloc[::-1]

    for change, told in (
        (unlabelled, r"packs/eval/000\.h5: no clip has a label, so no network is better than another there"),
        (reordered, r"packs/eval/000\.h5: its class list differs from that of .*train/000\.h5; pack again"),
    ):
        monkeypatch.setattr(Packs, "__init__", changed(change))
        with pytest.raises(GlatError, match=told):
            train(run, project / "a")
    assert not (project / "a/checkpoint.pt").exists()


VALIDATED = TINY | {
    "datasets.mini.splits": {"train": 24, "val": 12, "eval": 12}, "datasets.mini.validate": ["val"],
    "training.select": "best", "training.validation": {"every": 2},
}  # fmt: skip


def test_a_run_has_the_packs_that_it_is_selected_by():
    run = resolve(load(ROOT / "params.yaml", VALIDATED), "cnn10", 0)
    assert run.validation_packs == ["data/mini/packs/val/000.h5"] and "data/mini/packs/val/000.h5" not in run.packs
    assert (
        resolve(load(ROOT / "params.yaml", VALIDATED | {"training.select": "last"}), "cnn10", 0).validation_packs == []
    )


def test_the_workflow_packs_validation_clips_before_it_trains(tmp_path):
    project = copy_of_the_project(tmp_path)
    change = (
        "datasets={mini: {splits: {train: 10, val: 10, eval: 10}, validate: [val], training: {validation: {every: 2}}}}"
    )
    target = "runs/mini/cnn10-s0/checkpoint.pt"
    jobs = {}
    for select in ("last", "best"):
        done = snakemake(project, "-n", "--cores", "2", target, "--config", change, f"training={{select: {select}}}")
        jobs[select] = set(re.findall(r"data/mini/packs/(\w+)/000\.h5", done.stdout))
    assert jobs == {"last": {"train"}, "best": {"train", "val"}}


@pytest.mark.parametrize(
    ("patience", "every", "last", "state"),
    [
        (3, 100, 800, "converged"),
        (3, 100, 600, "converged"),  # stopped early: judged up to there
        (3, 250, 600, "cannot tell"),  # there was no look: the curve is not whole
        (None, 100, 600, "cannot tell"),
    ],
)
def test_a_curve_that_ends_early_is_judged_where_the_training_may_end_early(
    params, project, patience, every, last, state
):
    run = selected_run(params, every=every, patience=patience, steps=800, schedule="constant")
    steps = np.arange(1, 81) * last // 80
    loss = 0.2 + 0.3 * np.exp(-20 * steps / last)
    lines = [f"{step},{value:.6f},0.001" for step, value in zip(steps, loss, strict=True)]
    run.folder.mkdir(parents=True)
    (run.folder / "train.csv").write_text("step,loss_global,learning_rate\n" + "\n".join(lines))
    found = convergence.judge(run, run.folder)
    assert found["state"] == state
    # What tracking watched counts as far as it goes, and so may speak against it.
    looks = [f"{20 * (k + 1)},{0.4 + 0.01 * k}" for k in range(last // 20)]
    (run.folder / "validation.csv").write_text("step,mAP_fused\n" + "\n".join(looks))
    assert convergence.judge(run, run.folder)["state"] == ("still moving" if state == "converged" else state)
    or_patience = "" if patience is None else " or training.validation.patience"
    assert convergence.sentence(run, found | {"state": "still moving"}).endswith(f"raise training.steps{or_patience}")

"""Training: reproducible, resumable, honest about failure, and the same on two processes."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import lightning
import numpy as np
import pytest
import torch
from conftest import ROOT
from test_dependencies import forget

from glat.config.runs import read_run, resolve, write_run
from glat.config.training import Augmentation, Execution, Plateau, SpecAugment, Training
from glat.data.packs.read import Packs
from glat.lib import dependencies, hardware
from glat.lib.errors import GlatError
from glat.models import Streams, Tagger
from glat.models.cnn10 import Cnn10
from glat.models.frontend import LogMel
from glat.scoring.metrics import summary
from glat.training import checkpoints, fit, progress, resume, stage
from glat.training.heldout import HeldOut, held_out_clips
from glat.training.losses import bce

EXECUTION = {"checkpoint_every": 2, "log_every": 2}
CURVE = ("step", "loss", "loss_global", "loss_local", "learning_rate", "gradient_norm")


@pytest.fixture
def project(corpus_project):
    return corpus_project


def run_with(params, glat=None, seed=0, backbone="cnn10", **settings):
    run = resolve(params, backbone, seed, glat)
    return run.model_copy(update={"training": run.training.model_copy(update=settings)})


def train(run, folder, callbacks=(), **execution):
    fit.train(run, folder, execution=Execution(**EXECUTION | execution), threads=1, callbacks=callbacks)


def weights(folder):
    return checkpoints.read(folder / "checkpoint.pt")["model"]


def facts(run, packs, **execution):
    return resume.facts(run, packs, Execution(**execution))


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# `glat train` in a process of its own, after one of the functions of this file.
SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from test_training import {prepare}

if __name__ == "__main__":
    from glat.cli import main

    {prepare}()
    main()
"""


def started(prepare, name, threads=1, **execution):
    """That process, training the run of the folder `name`."""
    script = Path(f"{prepare.__name__}.py")
    script.write_text(SCRIPT.format(tests=os.path.dirname(__file__), prepare=prepare.__name__))
    settings = f"datasets.mini.execution={json.dumps(EXECUTION | execution)}"
    call = [sys.executable, str(script), "--set", settings, "--set", "tracking.enabled=false"]
    call += ["train", f"{name}/config.yaml", "--threads", str(threads)]
    return subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def in_double_precision(replace=setattr):
    trainer = lightning.Trainer
    replace(torch.Tensor, "float", torch.Tensor.double)
    replace(lightning, "Trainer", lambda **settings: trainer(**settings | {"precision": "64-true"}))


def in_double_precision_to_be_resumed(replace=setattr):
    in_double_precision(replace)
    replace(resume.ResumePoint, "remove", lambda self: None)
    replace(Training, "extendable", False)


def before_the_end_of(step, do, replace=setattr):
    """`do` in the middle of a step, when its gradient is there and its weights are not."""
    clip = stage.Stage.configure_gradient_clipping

    def patched(self, *args, **kwargs):
        if self.global_step == step:
            do()
        clip(self, *args, **kwargs)

    replace(stage.Stage, "configure_gradient_clipping", patched)


def killed():
    before_the_end_of(5, lambda: os.kill(os.getpid(), signal.SIGKILL))


def halted():
    def wait():
        while not Path("go").exists():
            time.sleep(0.01)

    before_the_end_of(3, wait)


def rows(folder):
    with (folder / "train.csv").open() as file:
        return [[row[key] for key in CURVE] for row in csv.DictReader(file)]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(project, params):
    run = run_with(params, glat={"selection": "random"})
    for name in ("a", "b"):
        train(run, project / name)
    train(run.model_copy(update={"seed": 1}), project / "c")
    assert equal(weights(project / "a"), weights(project / "b"))
    assert not equal(weights(project / "a"), weights(project / "c"))
    assert (project / "a/train.csv").read_text().count("\n") == 4


def test_a_killed_training_goes_on_exactly_as_an_unbroken_one(project, params, capsys):
    plateau = Plateau(every=1, patience=0, held_out=0.2)
    settings = {"mixup_alpha": 1.0, "steps": 8, "schedule": "plateau", "plateau": plateau, "amsgrad": True}
    run, lines = run_with(params, {}, **settings), {"log_every": 3}  # resumed at step 4, between two lines
    train(run, project / "unbroken", **lines)
    write_run(run, project / "killed/config.yaml")
    process = started(killed, "killed", **lines)
    told, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, told
    assert not (project / "killed/checkpoint.pt").exists() and not (project / "killed/train.csv").exists()
    train(run, project / "killed", **lines)
    assert "resumed at step 4" in capsys.readouterr().err
    assert equal(weights(project / "unbroken"), weights(project / "killed"))
    assert rows(project / "unbroken") == rows(project / "killed")
    assert [row[0] for row in rows(project / "killed")] == ["3", "6", "8"]


def killed_at(step, run, folder):
    """A training that ends in the middle of a step."""

    def end():
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises((KeyboardInterrupt, SystemExit)):
        before_the_end_of(step, end, patch.setattr)
        train(run, folder)


def test_a_resume_point_of_other_settings_is_not_used(project, params, capsys):
    run, other = run_with(params), run_with(params, learning_rate=0.1)
    killed_at(4, run, project / "a")
    assert (project / "a/resume.ckpt").exists()
    killed_at(1, other, project / "a")  # before its own first checkpoint
    told = capsys.readouterr().err
    assert "made with training.learning_rate 0.002, now 0.1; set aside as resume.step4-" in told
    aside = [path.name for path in (project / "a").glob("resume.*.ckpt")]
    assert len(aside) == 1 and aside[0] in told and not (project / "a/resume.ckpt").exists()
    train(run, project / "a")
    train(run, project / "unbroken")
    assert "from the start" in capsys.readouterr().err
    assert equal(weights(project / "a"), weights(project / "unbroken"))


def test_what_made_a_checkpoint_is_what_was_there_when_its_training_began(project, params, monkeypatch):
    commits = iter(["begun", "ended"])
    monkeypatch.setattr("glat.lib.provenance.commit", lambda: next(commits))
    train(run_with(params), project / "a")
    trained = checkpoints.read(project / "a/checkpoint.pt")["trained"]
    assert trained["execution"]["workers"] == 0 and trained["execution"]["precision"] in ("bf16", "float32")
    assert trained["commit"] == "begun" and trained["environment"]["torch"] == torch.__version__.partition("+")[0]


def test_the_local_stream_is_scored_with_its_own_loss():
    target = torch.tensor([[1.0, 0.0]])
    streams = Streams(None, torch.tensor([[0.8, 0.1]]), torch.tensor([[0.6, 0.3]]))
    values = stage.losses(streams, target)
    assert values["loss_global"].item() == pytest.approx(-(np.log(0.8) + np.log(0.9)) / 2)
    assert values["loss_local"].item() == pytest.approx(-(np.log(0.6) + np.log(0.7)) / 2)
    assert values["loss"].item() == pytest.approx(values["loss_global"].item() + values["loss_local"].item())
    assert stage.losses(streams, target, {"global"})["loss"] == values["loss_local"]


def test_saturated_scores_have_finite_loss_and_gradient():
    score = torch.tensor([[1.0, 0.0]], requires_grad=True)
    loss = bce(score, torch.tensor([[0.0, 1.0]]))
    loss.backward()
    assert loss.isfinite() and score.grad.isfinite().all()


def test_a_loss_that_is_not_finite_stops_with_step_and_cause(project, params, monkeypatch):
    run = run_with(params, learning_rate=1e30, gradient_clip=None, warmup=0)
    with pytest.raises(GlatError, match=r"step \d+: the (loss|gradient) is .*(learning_rate|precision)"):
        train(run, project / "a", precision="float32")
    assert not (project / "a/checkpoint.pt").exists()


def test_a_collapsed_training_warns(project, params, capsys, monkeypatch):
    # With dropout, as published: the scores of a collapsed network then differ in training, and not in use.
    run = run_with(params, steps=6).model_copy(update={"dropout": 1.0})
    features = Cnn10.features
    monkeypatch.setattr(Cnn10, "features", lambda self, logmel: features(self, logmel) * 0 + 1)
    killed_at(3, run, project / "a")  # between the first look and the second
    train(run, project / "a")
    told = capsys.readouterr().err
    assert told.count("training has collapsed") == 1 and "step 4: training has collapsed" in told
    monkeypatch.undo()
    monkeypatch.chdir(project)
    train(run, project / "b")
    assert "collapsed" not in capsys.readouterr().err


def test_two_processes_train_as_one_with_the_same_batches(project, params, monkeypatch):
    # In float64, where rounding decides nothing: neither which window is the best, nor which way Adam goes.
    run = run_with(
        params,
        {},
        steps=3,
        warmup=0,
        mixup_alpha=1.0,
        spec_augment=SpecAugment(time_stripes=1, mel_stripes=1),
        schedule="plateau",
        plateau=Plateau(every=1, patience=0, held_out=0.2),  # 5 clips, which two processes don't share evenly
        augmentation=Augmentation(roll=0.1, gain=6, waveform_mixup={"rate": 0.5}),
        mixup_pairs=True,
        accumulate=2,
        ema=0.5,
    ).model_copy(update={"hop": 1600})
    how = {"accelerator": "cpu", "precision": "float32", "log_every": 3}
    write_run(run, project / "two/config.yaml")
    process = started(in_double_precision_to_be_resumed, "two", threads=2, **how, devices=2)
    told, _ = process.communicate()
    assert process.returncode == 0, told
    in_double_precision_to_be_resumed(monkeypatch.setattr)
    train(run, project / "one", **how)
    np.testing.assert_allclose(*(np.array(rows(project / name), float) for name in ("two", "one")), rtol=1e-9)
    one, two = weights(project / "one"), weights(project / "two")
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-7, atol=1e-9, msg=key)
    # What the next line of train.csv is made from is in the resume point, of both processes.
    one, two = (torch.load(project / name / "resume.ckpt", weights_only=True)["glat_curve"] for name in ("one", "two"))
    assert one["steps"] == two["steps"] == 2 and two["seconds"] >= two["since"] > 0
    assert two["sums"] == pytest.approx(one["sums"], rel=1e-9) and one["sums"]["loss"] > 0


def test_log_mels_of_a_small_corpus_are_made_once_and_do_not_depend_on_the_batch(monkeypatch):
    front_end, waveform = LogMel(hop=640), torch.randint(-3000, 3000, (3, 32000), dtype=torch.int16)
    kept = stage.LogMels(front_end, clips=3)
    found = kept(waveform, torch.tensor([7, 9, 7]))
    assert torch.equal(found[0], found[2]) and torch.equal(found[1], front_end(waveform[1:2])[0])
    assert torch.equal(kept(waveform[:0].new_zeros(2, 32000), torch.tensor([9, 7])), found[[1, 0]]), (
        "from what was kept"
    )
    monkeypatch.setattr(stage.LogMels, "MOST", 3 * 4 * 64 * 51 - 1)
    other = stage.LogMels(front_end, clips=3)
    torch.testing.assert_close(other(waveform, torch.tensor([7, 9, 7])), front_end(waveform))
    assert not other.kept, "a corpus that is too large"


def test_a_loss_that_was_not_finite_between_two_lines_is_saved_nowhere(project, params, monkeypatch):
    """As on a GPU, where it is looked at with a line of the curve and before anything is saved."""
    losses, count = stage.losses, iter(range(100))

    def once(*given):
        found = losses(*given)
        return found | {"loss_local": found["loss_local"] * (torch.nan if next(count) == 2 else 1)}

    monkeypatch.setattr(stage.Stage, "check_on_cpu", lambda self, step: None)
    monkeypatch.setattr(stage, "losses", once)
    with pytest.raises(GlatError, match="step 4: the loss is nan: the network's output overflowed"):
        train(run_with(params, {}), project / "a", log_every=5, checkpoint_every=2)
    assert torch.load(project / "a/resume.ckpt", weights_only=True)["global_step"] == 2


def test_a_training_that_cannot_be_compiled_says_so(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(GlatError, match="execution.compile: true needs a C compiler, and none is found here"):
        stage.compile_backbones(None)


@pytest.mark.parametrize("sharing", ["none", "backbone"])
def test_compiled_backbones_train_as_they_are(project, params, monkeypatch, sharing):
    run = run_with(params, {"sharing": sharing}, steps=3)
    compiled = stage.compile_backbones
    monkeypatch.setattr(stage, "compile_backbones", lambda tagger: compiled(tagger, backend="eager"))
    for name, how in (("plain", {}), ("compiled", {"compile": True})):
        train(run, project / name, **how)
    assert equal(weights(project / "plain"), weights(project / "compiled"))


def test_a_batch_that_does_not_fit_into_a_gpu_is_told(project, params, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(Tagger, "from_logmel", full)
    with pytest.raises(
        GlatError, match=r"does not hold 4 clips .*devices: 2\) .* 2 clips each; or set training.batch_size: 2"
    ):
        train(run_with(params, {}), project / "a")


def test_a_batch_that_does_not_divide_is_refused(project, params):
    with pytest.raises(GlatError, match="batch_size: 4 clips don't divide among 3"):
        train(run_with(params), project / "a", devices=3)


def test_packs_of_another_rate_are_refused(project, params):
    run = run_with(params)
    run = run.model_copy(update={"audio": run.audio.model_copy(update={"sample_rate": 16000})})
    with pytest.raises(GlatError, match=r"000\.h5: audio\.sample_rate is 32000 there, but 16000"):
        fit.train(run, project / "a")


def test_a_truncated_pack_is_refused(project, params, tmp_path):
    run = run_with(params)
    whole = (project / run.packs[0]).read_bytes()
    (tmp_path / "half.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GlatError, match=r"half\.h5: "):
        fit.train(run.model_copy(update={"packs": [str(tmp_path / "half.h5")]}), project / "a")
    with h5py.File(project / run.packs[0]) as pack:
        assert pack["waveform"].chunks[0] == 1


def test_a_frozen_global_stream_stays_as_it_was(project, params):
    train(run_with(params), project / "plain")
    start = {"global": str(project / "plain/checkpoint.pt"), "local": None}
    run = resolve(params.model_copy(update={"glat": params.glat}), "cnn10", 0, {"training": "frozen_global"})
    run = run.model_copy(update={"init": start, "dropout": 1.0})
    train(run, project / "frozen")
    before, after = weights(project / "plain"), weights(project / "frozen")
    for key, value in before.items():
        if key.startswith("network."):
            assert torch.equal(value, after[key.replace("network.", "network.global_stream.")]), key
    assert not torch.equal(before["network.fc1.weight"], after["network.local_stream.fc1.weight"])


class Told(io.StringIO):
    """A stderr that lets the `halted` training go on once somebody waits for it."""

    def write(self, text):
        if "waiting" in text:
            Path("go").touch()
        return super().write(text)


def test_a_second_training_waits_for_the_first_and_does_not_repeat_it(project, params, monkeypatch):
    run = run_with(params)
    write_run(run, project / "a/config.yaml")
    first = started(halted, "a")
    while not (project / "a/resume.ckpt").exists() and first.poll() is None:
        time.sleep(0.01)
    monkeypatch.setattr(sys, "stderr", Told())
    train(run, project / "a")
    told, _ = first.communicate()
    assert first.returncode == 0, told
    assert "another process trains this run; waiting" in sys.stderr.getvalue()
    assert "trained meanwhile by the other process" in sys.stderr.getvalue()
    assert (project / "a/train.csv").exists() and (project / "a/checkpoint.pt").exists()


def test_a_training_that_outlives_its_settings_keeps_nothing(project, params):
    run = run_with(params)
    write_run(run_with(params, steps=7), project / "a/config.yaml")
    with pytest.raises(GlatError, match=r"a/config\.yaml: changed while this training ran"):
        train(run, project / "a")
    assert not (project / "a/checkpoint.pt").exists() and not (project / "a/train.csv").exists()


def test_the_global_stream_of_a_joint_training_is_the_plain_backbone(project, params):
    # METHOD: no gradient goes through the selection, so with separate weights the two losses do not interact, whatever
    # the gradients' norms: a small limit, so that every step is clipped.
    settings = {"gradient_clip": 0.05, "mixup_alpha": 1.0}
    plain = run_with(params.model_copy(), None, **settings)
    joint = run_with(params, {}, **settings)
    for run, name in ((plain, "plain"), (joint, "joint")):
        train(run, project / name, precision="float32")
    one, both = weights(project / "plain"), weights(project / "joint")
    for key, value in one.items():
        if key.startswith("network."):
            assert torch.equal(value, both[key.replace("network.", "network.global_stream.")]), key


def test_other_data_does_not_resume(project, params, capsys, monkeypatch):
    run = run_with(params)
    packs = Packs(run.packs)
    one = facts(run, packs)
    swapped = Packs(run.packs)
    swapped.classes = swapped.classes.iloc[::-1]
    assert resume.differences(one, facts(run, swapped)) == "other classes"
    # The same clips with one sample changed, packed as the pack step does: the hash of the waveforms tells.
    provenance = packs.attributes[0]["provenance"]
    assert len(json.loads(provenance)["waveforms_blake2b"]) == 32
    packs.attributes[0] |= {"provenance": provenance.replace('"waveforms_blake2b": "', '"waveforms_blake2b": "0')}
    assert resume.differences(one, facts(run, packs)) == "other waveforms"


def test_only_what_changes_the_mathematics_is_a_fact(project, params, tmp_path):
    run = run_with(params)
    packs, names = Packs(run.packs), {"name": "other", "dataset": "other"}
    one = facts(run, packs)
    assert one == facts(run.model_copy(update=names), packs)
    for changes in ({"workers": 3, "log_every": 9, "accelerator": "gpu"}, {"precision": "float32"}, {"devices": 2}):
        assert one == facts(run, packs, **changes)
    assert one == facts(run_with(params, plateau=Plateau(every=9)), packs)
    apart = run_with(params, sync_batchnorm=False)
    assert one == facts(apart, packs)
    assert resume.differences(one, facts(apart, packs, devices=2)) == "clips of a batch norm 4, now 2"
    longer = facts(run_with(params, steps=8), packs)
    assert resume.differences(one, longer) == "training.steps 6, now 8", "by a cosine down to 0 at the end"
    constant = [facts(run_with(params, steps=steps, schedule="constant"), packs) for steps in (6, 8)]
    assert constant[0] == constant[1]
    (tmp_path / "a.pt").write_bytes(b"a")
    started_from = run.model_copy(update={"init": {"global": str(tmp_path / "a.pt"), "local": None}})
    assert resume.differences(one, facts(started_from, packs)) == "other init.global"


@pytest.mark.parametrize(("killed", "name"), [(None, "constant"), (None, "plateau"), (5, "constant")])
def test_more_steps_go_on_where_a_training_ended(project, params, capsys, killed, name):
    """As one that had them from the beginning; the steps between two lines and two checkpoints too."""
    schedule = {"schedule": name, "amsgrad": True, "plateau": Plateau(every=2, patience=0, held_out=0.2)}
    short, longer = (run_with(params, {}, steps=steps, **schedule) for steps in (7, 11))
    train(longer, project / "unbroken")
    killed_at(killed, short, project / "a") if killed else train(short, project / "a")
    for file in ("checkpoint.pt", "train.csv"):  # Snakemake removes what a rule is about to make
        (project / "a" / file).unlink(missing_ok=True)
    train(longer, project / "a", keep_every=None)
    assert f"11 steps, resumed at step {4 if killed else 7}" in capsys.readouterr().err
    assert equal(weights(project / "unbroken"), weights(project / "a"))
    steps = [int(row[0]) for row in rows(project / "a")]
    assert steps == ([2, 4, 6, 8, 10, 11] if killed else [2, 4, 6, 7, 8, 10, 11])
    # The same again is not trained again, and fewer steps are another training.
    (project / "a/checkpoint.pt").unlink()
    train(longer, project / "a")
    assert "all of its 11 steps were trained before" in capsys.readouterr().err
    assert equal(weights(project / "unbroken"), weights(project / "a")) and rows(project / "a")[-1][0] == "11"
    train(short, project / "a")
    assert "made at step 11, after the last of 7; set aside as resume.step11-" in capsys.readouterr().err


def test_a_training_whose_rate_follows_its_steps_leaves_no_resume_point(project, params):
    train(run_with(params), project / "a")
    assert not list((project / "a").glob("*.ckpt"))


def test_other_code_does_not_resume_and_a_comment_does_not_matter(project, params, tmp_path, monkeypatch):
    run = run_with(params)
    packs, package = Packs(run.packs), shutil.copytree(ROOT / "glat", tmp_path / "glat")
    monkeypatch.setattr(dependencies, "PACKAGE", package)
    forget()
    seen = {facts(run, packs)["code"]}
    code = ("training/heldout.py", "scoring/metrics.py", "data/packs/read.py", "models/cnn10.py")
    for name, change in [(code[0], "# A comment."), *((name, "EDITED = True") for name in code)]:
        with (package / name).open("a") as file:
            file.write(f"\n{change}\n")
        forget()
        seen.add(facts(run, packs)["code"])
        assert len(seen) == (1 if change.startswith("#") else 2 + code.index(name))
    forget()


def test_a_damaged_resume_point_is_not_used(project, params, capsys):
    (project / "a").mkdir()
    (project / "a/resume.ckpt").write_bytes(b"half")
    train(run_with(params), project / "a")
    assert "damaged" in capsys.readouterr().err and (project / "a/checkpoint.pt").exists()
    assert (project / "a/resume.damaged.ckpt").read_bytes() == b"half"


def test_the_learning_rate_falls_on_a_plateau_of_clips_that_no_step_trains_on(project, params, monkeypatch, capsys):
    plateau = Plateau(every=2, patience=1, factor=0.5, held_out=0.25)
    run = run_with(params, steps=12, warmup=0, learning_rate=1e-3, schedule="plateau", plateau=plateau)
    scores = iter([0.1, 0.3, 0.2, 0.3, 0.1, 0.1])  # the second look without a better one is at step 8, the next at 12
    monkeypatch.setattr(HeldOut, "look", lambda self, stage: next(scores))
    seen, read = set(), Packs.read_int16
    note = lambda self, clips, *more: (seen.update(clips.tolist()), read(self, clips, *more))[1]
    monkeypatch.setattr(Packs, "read_int16", note)
    train(run, project / "a", log_every=1)
    held = held_out_clips(run, 24)
    assert len(held) == 6 and seen == set(range(24)) - set(held.tolist())
    # A fall at the end of step k + 1 is heard from the step after the next on: the next one's rate is set by then.
    assert [float(row[4]) for row in rows(project / "a")] == [1e-3] * 9 + [5e-4] * 3
    assert "step 8: mAP 0.3000 on 6 held-out clips, learning rate x 0.5" in capsys.readouterr().err
    assert not len(held_out_clips(run_with(params), 24))
    with pytest.raises(GlatError, match=r"training\.plateau\.held_out: 0\.25 of 1 training clips is none"):
        held_out_clips(run, 1)


@pytest.mark.parametrize("balanced", [True, False])
def test_no_batch_holds_a_held_out_clip_and_clips_without_a_label_stay(project, params, balanced):
    run = run_with(params, balanced=balanced, steps=60, schedule="plateau", plateau=Plateau(held_out=0.25))
    packs, held = Packs(run.packs), held_out_clips(run, 24)
    kept = np.setdiff1d(range(24), held)
    unlabelled = np.array([*held[:2], *kept[:2]])
    packs.labels = packs.labels.without(unlabelled)
    batches = stage.Batches(run, packs, 0)
    cpu = SimpleNamespace(root_device=torch.device("cpu"))
    batches.trainer = SimpleNamespace(global_rank=0, world_size=1, strategy=cpu)
    drawn = np.array([clip for batch in batches.train_dataloader().batch_sampler for clip, _ in batch])
    assert len(drawn) == 240 and np.unique(drawn).tolist() == kept.tolist()
    if not balanced:  # every clip equally often: 240 draws over 18 clips
        assert set(np.unique(drawn, return_counts=True)[1]) == {13, 14}


def test_held_out_clips_are_scored_as_the_network_is_used(project, params):
    run = run_with(params, {}, steps=2, schedule="plateau", plateau=Plateau(every=2, patience=0, held_out=0.5))
    looks, look = [], HeldOut.look
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HeldOut, "look", lambda self, stage: looks.append(look(self, stage)) or looks[-1])
        train(run, project / "a")
    packs, held = Packs(run.packs), held_out_clips(run, 24)
    tagger = checkpoints.load(project / "a/checkpoint.pt")[0].to(memory_format=torch.channels_last)
    precision = hardware.precision("auto", "cpu") == "bf16"
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision):
        scores = [tagger(torch.from_numpy(packs.read(held[i : i + 4]))).float().numpy() for i in range(0, len(held), 4)]
    assert looks == [summary(packs.labels.dense(held), np.concatenate(scores)).mAP]


def test_windows_of_held_out_clips_do_not_depend_on_the_number_of_processes(project, params, monkeypatch):
    plateau = Plateau(every=2, patience=0, held_out=0.25)
    run = run_with(params, {"selection": "random"}, schedule="plateau", plateau=plateau)
    watched, tagger, drawn, streams = HeldOut(run, Packs(run.packs)), checkpoints.build(run), [], Tagger.streams
    seen = lambda *given: (found := streams(*given), drawn.extend(found.windows.tolist()))[0]
    monkeypatch.setattr(Tagger, "streams", seen)

    def windows(world):
        """Of each held-out clip, in their order."""
        found = {}
        for rank in range(world):
            gathered = lambda scores: torch.stack([scores] * world)
            trainer = SimpleNamespace(world_size=world, precision="32-true")
            drawn.clear()
            watched.look(SimpleNamespace(
                trainer=trainer, tagger=tagger, device=torch.device("cpu"), global_rank=rank, all_gather=gathered
            ))  # fmt: skip
            found |= dict(zip(watched.clips[rank::world].tolist(), drawn, strict=False))
        return [found[clip] for clip in watched.clips.tolist()]

    one = windows(1)
    assert len(one) == 6 and len(set(map(tuple, one))) == 6 and one == windows(2) == windows(3)


def test_networks_on_the_way_are_kept_as_runs_of_their_own(project, params):
    run = run_with(params)
    (project / "a/kept/0000099").mkdir(parents=True)
    train(run, project / "a", keep_every=2)
    kept = sorted((project / "a/kept").iterdir())
    assert [folder.name for folder in kept] == ["0000002", "0000004", "0000006"]
    assert all(read_run(folder / "config.yaml") == run for folder in kept)
    assert equal(weights(kept[-1]), weights(project / "a")) and not equal(weights(kept[0]), weights(kept[1]))
    assert checkpoints.read(kept[0] / "checkpoint.pt")["step"] == 2


def test_what_a_training_keeps_in_memory_does_not_grow(project, params):
    curve = progress.Curve(project / "train.csv", every=100, batch_size=4)
    strategy = SimpleNamespace(root_device="cpu")
    other = SimpleNamespace(
        global_step=0, max_steps=1000, is_global_zero=False, world_size=1, strategy=strategy, should_stop=False
    )
    stage = SimpleNamespace(row={"loss": torch.tensor(1.0)}, check=lambda values, step: None)
    for step in range(1, 351):
        other.global_step = step
        curve.on_train_start(other, None) if step == 1 else None
        curve.on_train_batch_end(other, stage)
    assert curve.rows == [] and curve.steps == 50 and curve.sums == {"loss": 50.0}

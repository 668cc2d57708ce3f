"""Training: reproducible, resumable, honest about failure, and the same on two processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import h5py
import lightning
import numpy as np
import pytest
import torch

from glat import checkpoints, training
from glat.errors import GlatError
from glat.models import Streams
from glat.models.cnn10 import Cnn10
from glat.runs import resolve, write_run
from glat.settings import SpecAugment

CURVE = ("step", "loss", "loss_global", "loss_local", "learning_rate", "gradient_norm")


@pytest.fixture
def project(corpus, tmp_path, monkeypatch):
    """A working folder that sees the tiny corpus."""
    (tmp_path / "data").symlink_to(corpus / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_with(params, glat=None, seed=0, backbone="cnn10", **settings):
    run = resolve(params, backbone, seed, glat)
    return run.model_copy(update={"training": run.training.model_copy(update=settings)})


def weights(folder):
    return checkpoints.read(folder / "checkpoint.pt")["model"]


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def command(config, *arguments):
    return [sys.executable, "-m", "glat.cli", "train", str(config), *arguments]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(project, params):
    run = run_with(params, glat={"selection": "random"})
    for name in ("a", "b"):
        training.train(run, project / name, threads=1)
    training.train(run.model_copy(update={"seed": 1}), project / "c", threads=1)
    assert equal(weights(project / "a"), weights(project / "b"))
    assert not equal(weights(project / "a"), weights(project / "c"))
    assert (project / "a/train.csv").read_text().count("\n") == 4


@pytest.mark.parametrize("glat", [None, {}])
def test_a_killed_training_goes_on_exactly_as_an_unbroken_one(project, params, glat):
    run = run_with(params, glat, mixup_alpha=1.0, steps=40)
    training.train(run, project / "unbroken", threads=1)
    write_run(run, project / "killed/config.yaml")
    process = subprocess.Popen(command("killed/config.yaml", "--threads", "1"), stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (project / "killed/resume.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (project / "killed/checkpoint.pt").exists() and not (project / "killed/train.csv").exists()
    log = subprocess.run(
        command("killed/config.yaml", "--threads", "1"), capture_output=True, text=True, check=True
    ).stderr
    assert "resumed at step" in log
    assert equal(weights(project / "unbroken"), weights(project / "killed"))
    assert not (project / "killed/resume.ckpt").exists()
    curves = [list(csv.DictReader((project / name / "train.csv").open())) for name in ("unbroken", "killed")]
    assert [row["step"] for row in curves[0]] == [row["step"] for row in curves[1]]
    assert [row["loss"] for row in curves[0]] == [row["loss"] for row in curves[1]]


def killed_at(step, run, folder):
    """A training that ends in the middle of a step."""
    clip = training.Stage.configure_gradient_clipping

    def killed(self, *args, **kwargs):
        if self.global_step == step:
            raise KeyboardInterrupt
        clip(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, pytest.raises((KeyboardInterrupt, SystemExit)):
        patch.setattr(training.Stage, "configure_gradient_clipping", killed)
        training.train(run, folder, threads=1)


def test_a_resume_point_of_other_settings_is_not_used(project, params, capsys):
    run, other = run_with(params), run_with(params, learning_rate=0.1)
    killed_at(4, run, project / "a")
    assert (project / "a/resume.ckpt").exists()
    killed_at(1, other, project / "a")  # before its own first checkpoint
    assert "other settings or code" in capsys.readouterr().err
    # Back to the first settings: their checkpoint would go on with the curve of the others.
    training.train(run, project / "a", threads=1)
    training.train(run, project / "unbroken", threads=1)
    assert "from the start" in capsys.readouterr().err
    assert equal(weights(project / "a"), weights(project / "unbroken"))


def test_what_made_a_checkpoint_is_what_was_there_when_its_training_began(project, params, monkeypatch):
    commits = iter(["begun", "ended"])
    monkeypatch.setattr("glat.provenance.commit", lambda: next(commits))
    training.train(run_with(params), project / "a", threads=1)
    trained = checkpoints.read(project / "a/checkpoint.pt")["trained"]
    assert trained["commit"] == "begun" and trained["environment"]["torch"] == torch.__version__.partition("+")[0]


def test_the_local_stream_is_scored_with_its_own_loss():
    target = torch.tensor([[1.0, 0.0]])
    streams = Streams(None, torch.tensor([[0.8, 0.1]]), torch.tensor([[0.6, 0.3]]))
    values = training.losses(streams, target)
    assert values["loss_global"].item() == pytest.approx(-(np.log(0.8) + np.log(0.9)) / 2)
    assert values["loss_local"].item() == pytest.approx(-(np.log(0.6) + np.log(0.7)) / 2)
    assert values["loss"].item() == pytest.approx(values["loss_global"].item() + values["loss_local"].item())
    assert training.losses(streams, target, frozen_global=True)["loss"] == values["loss_local"]


def test_saturated_scores_have_finite_loss_and_gradient():
    score = torch.tensor([[1.0, 0.0]], requires_grad=True)
    loss = training.bce(score, torch.tensor([[0.0, 1.0]]))
    loss.backward()
    assert loss.isfinite() and score.grad.isfinite().all()


def test_a_loss_that_is_not_finite_stops_with_step_and_cause(project, params, monkeypatch):
    run = run_with(params, learning_rate=1e30, gradient_clip=None, warmup=0, precision="float32")
    with pytest.raises(GlatError, match=r"step \d+: the (loss|gradient) is .*(learning_rate|precision)"):
        training.train(run, project / "a", threads=1)
    assert not (project / "a/checkpoint.pt").exists()


def test_a_collapsed_training_warns(project, params, capsys, monkeypatch):
    # With dropout, as published: the scores of a collapsed network then differ in training, and not in use.
    run = run_with(params, steps=6, log_every=2).model_copy(update={"dropout": 1.0})
    features = Cnn10.features
    monkeypatch.setattr(Cnn10, "features", lambda self, logmel: features(self, logmel) * 0 + 1)
    training.train(run, project / "a", threads=1)
    assert capsys.readouterr().err.count("training has collapsed") == 1
    monkeypatch.undo()
    monkeypatch.chdir(project)
    training.train(run, project / "b", threads=1)
    assert "collapsed" not in capsys.readouterr().err


# `glat train` in float64, where rounding decides nothing: neither which window is the best, nor the way of a step of Adam.
DOUBLE = """
import sys
sys.path.insert(0, {tests!r})
from test_training import in_double_precision

if __name__ == "__main__":
    from glat.cli import main

    in_double_precision(setattr)
    main()
"""


def in_double_precision(replace):
    trainer = lightning.Trainer
    replace(torch.Tensor, "float", torch.Tensor.double)
    replace(lightning, "Trainer", lambda **settings: trainer(**settings | {"precision": "64-true"}))


def test_two_processes_train_as_one_with_the_same_batches(project, params, monkeypatch):
    settings = {
        "mixup_alpha": 1.0,
        "accelerator": "cpu",
        "precision": "float32",
        "log_every": 1,
        "schedule": "constant",
    }
    settings |= {"steps": 3, "warmup": 0, "spec_augment": SpecAugment(time_stripes=1, mel_stripes=1)}
    write_run(run_with(params, glat={}, devices=2, **settings), project / "two/config.yaml")
    (project / "double.py").write_text(DOUBLE.format(tests=os.path.dirname(__file__)))
    call = [sys.executable, "double.py", "train", "two/config.yaml", "--threads", "2"]
    done = subprocess.run(call, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    in_double_precision(monkeypatch.setattr)
    training.train(run_with(params, glat={}, **settings), project / "one", threads=1)
    curve = lambda name: [[float(row[key]) for key in CURVE] for row in csv.DictReader((project / name).open())]
    np.testing.assert_allclose(curve("two/train.csv"), curve("one/train.csv"), rtol=1e-9)
    one, two = weights(project / "one"), weights(project / "two")
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-7, atol=1e-9, msg=key)


def test_a_batch_that_does_not_divide_is_refused(project, params):
    with pytest.raises(GlatError, match="batch_size: 4 clips don't divide among 3"):
        training.train(run_with(params, devices=3), project / "a")


def test_packs_of_another_rate_are_refused(project, params):
    run = run_with(params)
    run = run.model_copy(update={"audio": run.audio.model_copy(update={"sample_rate": 16000})})
    with pytest.raises(GlatError, match=r"000\.h5: audio\.sample_rate is 32000 there, but 16000"):
        training.train(run, project / "a")


def test_a_truncated_pack_is_refused(project, params, tmp_path):
    run = run_with(params)
    whole = (project / run.packs[0]).read_bytes()
    (tmp_path / "half.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GlatError, match=r"half\.h5: "):
        training.train(run.model_copy(update={"packs": [str(tmp_path / "half.h5")]}), project / "a")
    with h5py.File(project / run.packs[0]) as pack:
        assert pack["waveform"].chunks[0] == 1


def test_a_frozen_global_stream_stays_as_it_was(project, params):
    training.train(run_with(params), project / "plain", threads=1)
    start = {"global": str(project / "plain/checkpoint.pt"), "local": None}
    run = resolve(params.model_copy(update={"glat": params.glat}), "cnn10", 0, {"training": "frozen_global"})
    run = run.model_copy(update={"init": start, "dropout": 1.0})
    training.train(run, project / "frozen", threads=1)
    before, after = weights(project / "plain"), weights(project / "frozen")
    for key, value in before.items():
        if key.startswith("network."):
            assert torch.equal(value, after[key.replace("network.", "network.global_stream.")]), key
    assert not torch.equal(before["network.fc1.weight"], after["network.local_stream.fc1.weight"])


def test_a_second_training_waits_for_the_first_and_does_not_repeat_it(project, params, capsys):
    run = run_with(params, steps=60)
    write_run(run, project / "a/config.yaml")
    first = subprocess.Popen(command("a/config.yaml", "--threads", "1"), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (project / "a/resume.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    training.train(run, project / "a", threads=1)
    assert first.wait() == 0
    told = capsys.readouterr().err
    assert "another process trains this run; waiting" in told and "trained meanwhile by the other process" in told
    assert (project / "a/train.csv").exists() and (project / "a/checkpoint.pt").exists()


def test_a_training_that_outlives_its_settings_keeps_nothing(project, params):
    run = run_with(params)
    write_run(run_with(params, steps=7), project / "a/config.yaml")
    with pytest.raises(GlatError, match=r"a/config\.yaml: changed while this training ran"):
        training.train(run, project / "a", threads=1)
    assert not (project / "a/checkpoint.pt").exists() and not (project / "a/train.csv").exists()


def test_the_global_stream_of_a_joint_training_is_the_plain_backbone(project, params):
    # METHOD: no gradient goes through the selection, so with separate weights the two losses do not interact, whatever
    # the gradients' norms: a small limit, so that every step is clipped.
    settings = {"gradient_clip": 0.05, "precision": "float32", "mixup_alpha": 1.0}
    plain = run_with(params.model_copy(), None, **settings)
    joint = run_with(params, {}, **settings)
    for run, name in ((plain, "plain"), (joint, "joint")):
        training.train(run, project / name, threads=1)
    one, both = weights(project / "plain"), weights(project / "joint")
    for key, value in one.items():
        if key.startswith("network."):
            assert torch.equal(value, both[key.replace("network.", "network.global_stream.")]), key


def test_other_data_does_not_resume(project, params, capsys, monkeypatch):
    run = run_with(params)
    packs = training.Packs(run.packs)
    one = training.fingerprint(run, packs, "bf16")
    assert one != training.fingerprint(run, packs, "float32")
    swapped = training.Packs(run.packs)
    swapped.classes = swapped.classes.iloc[::-1]
    assert one != training.fingerprint(run, swapped, "bf16")
    # The same clips with one sample changed, packed as the pack step does: the hash of the waveforms tells.
    provenance = packs.attributes[0]["provenance"]
    assert len(json.loads(provenance)["waveforms_blake2b"]) == 32
    packs.attributes[0] |= {"provenance": provenance.replace('"waveforms_blake2b": "', '"waveforms_blake2b": "0')}
    assert one != training.fingerprint(run, packs, "bf16")


def test_a_damaged_resume_point_is_not_used(project, params, capsys):
    (project / "a").mkdir()
    (project / "a/resume.ckpt").write_bytes(b"half")
    training.train(run_with(params), project / "a", threads=1)
    assert "damaged" in capsys.readouterr().err and (project / "a/checkpoint.pt").exists()

"""What moves the weights: optimisers against torch's own, and a batch that is computed in parts against the whole one."""

import lightning
import numpy as np
import pytest
import torch
from conftest import ROOT
from test_freezing import run_of
from test_training import facts, in_double_precision, rows, train, weights
from torch import nn

from glat.config.faults import faults_of
from glat.config.params import load
from glat.config.runs import resolve
from glat.config.training import Decay, SpecAugment, Training
from glat.data.packs.read import Packs
from glat.lib.errors import GlatError
from glat.models import build
from glat.models.cnn10 import Cnn10
from glat.training.optimisation import optimiser, rate_factor


@pytest.fixture
def project(corpus_project):
    return corpus_project


def small_run(params, glat=None, **settings):
    """A run whose steps are quick: narrow, at 10 frames a second."""
    return run_of(params, glat=glat, **settings).model_copy(update={"hop": 3200})


class WithoutBatchNorm(lightning.Callback):
    """Batch norm as in use, for which a clip's neighbours don't matter."""

    def on_train_batch_start(self, trainer, stage, *_):
        for module in stage.tagger.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def test_a_batch_in_parts_is_a_step_of_the_whole_batch(project, params, monkeypatch):
    """In float64, where what is left of the difference is no rounding that Adam makes large."""
    in_double_precision(monkeypatch.setattr)
    settings = {"mixup_alpha": 1.0, "spec_augment": SpecAugment(where="windows", time_width=20), "gradient_clip": 0.05}
    one, two = (
        small_run(params, {"selection": "random", "n": 2}, steps=3, accumulate=parts, **settings) for parts in (1, 2)
    )
    for run, name in ((one, "one"), (two, "two")):
        train(run, project / name, [WithoutBatchNorm()], precision="float32", log_every=1)
    np.testing.assert_allclose(*(np.array(rows(project / name), float) for name in ("one", "two")), rtol=1e-9)
    assert [row[0] for row in rows(project / "two")] == ["1", "2", "3"], "whole batches are counted"
    for key, value in weights(project / "one").items():
        torch.testing.assert_close(weights(project / "two")[key], value, rtol=1e-7, atol=1e-10, msg=key)
    packs = Packs(one.packs)
    (same, half), name = (facts(run, packs) for run in (one, two)), "clips of a batch norm"
    assert (same.pop(name), half.pop(name)) == (4, 2) and half.pop("training.accumulate") == 2 and half == same


def test_a_batch_that_does_not_divide_into_its_parts_is_refused(project, params):
    run = run_of(params, accumulate=3)
    with pytest.raises(GlatError, match=r"training\.accumulate: 4 clips \(training\.batch_size\) don't divide into 3"):
        train(run, project / "a")
    told = "training.accumulate: 3 parts, but the 4 clips of a batch that a process has don't divide into as many"
    assert told in faults_of(params, run)


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_the_optimiser_is_torch_s_with_the_weight_decay_of_the_settings(name, kind):
    tagger = build(Cnn10, classes=3, width=0.05)
    made = optimiser(tagger, Training(optimizer=name, weight_decay=0.3, learning_rate=0.1, amsgrad=True))
    weight = tagger.network.fc_audioset.weight
    other = nn.Parameter(weight.detach().clone())
    theirs = kind([other], lr=0.1, weight_decay=0.3, amsgrad=True)
    for _ in range(2):
        weight.grad, other.grad = (one.detach().square() for one in (weight, other))
        made.step(), theirs.step()
    assert torch.equal(weight, other) and type(made) is kind


def test_settings_that_are_off_are_not_written_down(params):
    plain = resolve(params, "cnn10", 0, {})
    new = set(Training.model_fields) - plain.training.model_dump().keys()
    assert {"optimizer", "weight_decay", "accumulate"} <= new
    on = load(ROOT / "params.yaml", {"training.optimizer": "adamw", "training.weight_decay": 0.01})
    written = resolve(on, "cnn10", 0).training.model_dump()
    assert (written["optimizer"], written["weight_decay"]) == ("adamw", 0.01) and "accumulate" not in written


def theirs(step, warmup, start, length, last):
    """EfficientAT's `exp_warmup_linear_down` (helpers/utils.py, MIT licence), with the step in the place of the epoch."""
    epoch = step
    if epoch < warmup:
        phase = 1.0 - np.clip(epoch, 0.5, warmup) / warmup
        up = float(np.exp(-5.0 * phase * phase))
    else:
        up = 1.0
    if epoch <= start:
        return up
    if epoch - start < length:
        return up * (last + (1.0 - last) * (length - epoch + start) / length)
    return up * last


def test_the_line_is_efficientat_s_and_the_exponential_halves_as_often():
    line = {"schedule": "linear", "rise": "exponential", "warmup": 8, "steps": 200}
    for step in range(200):
        # Our warm-up counts the first step as 1, since a rate of 0 would waste it.
        expected = theirs(step + 1 if step < 8 else step, 8, 80, 95, 0.01)
        assert rate_factor(Training(**line), step) == pytest.approx(expected, rel=1e-9)
    halves = Training(schedule="exponential", steps=100, decay=Decay(start=0.2, end=0.6, last=1 / 16))
    found = [rate_factor(halves, step) for step in (0, 20, 30, 40, 50, 60, 99)]
    assert found == pytest.approx([1, 1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau", "linear", "exponential"])
def test_a_training_is_extendable_where_its_rate_does_not_depend_on_the_steps_there_are(schedule):
    rates = [[rate_factor(Training(schedule=schedule, steps=steps), k) for k in range(50)] for steps in (50, 80)]
    assert Training(schedule=schedule).extendable == (rates[0] == rates[1])


def test_a_decay_that_ends_before_it_starts_is_refused(params):
    run = run_of(params, schedule="linear", decay=Decay(start=0.9))
    told = "training.decay.start: 0.9, but it ends at 0.875 of the steps (training.decay.end); give a lower share"
    assert told in faults_of(params, run)
    assert faults_of(params, run_of(params, decay=Decay(start=0.9))) == []

"""The average of networks against loops over the networks of each step; a kill changes nothing."""

import lightning
import pytest
import torch
from test_best import selected_run
from test_optimisation import small_run
from test_training import equal, killed_at, rows, train, weights

from glat.config.faults import faults_of
from glat.config.training import LastNetworks
from glat.training.best import Best


@pytest.fixture
def project(corpus_project):
    return corpus_project


class Networks(lightning.Callback):
    """The weights that the steps themselves go on with."""

    def __init__(self):
        self.seen = {}

    def on_train_batch_end(self, trainer, stage, *_):
        state = stage.tagger.state_dict().items()
        self.seen[trainer.global_step] = {name: weight.detach().double() for name, weight in state}


def moving(networks, decay):
    mean = networks[0]
    for one in networks[1:]:
        mean = {name: decay * mean[name] + (1 - decay) * one[name] for name in one}
    return mean


def check(found, expected, last):
    for name, value in found.items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6, msg=name)
        else:
            assert torch.equal(value.double(), last[name]), name


@pytest.mark.parametrize("settings", [{"ema": 0.7}, {"average": LastNetworks(last=3, every=2)}], ids=["ema", "last"])
def test_the_average_takes_the_last_network_s_place_and_a_kill_changes_nothing(project, params, settings):
    run = small_run(params, {"sharing": "classifier"}, steps=6, schedule="constant", dropout=1.0, **settings)
    networks = Networks()
    train(run, project / "unbroken", [networks], keep_every=3)
    seen, found = networks.seen, weights(project / "unbroken")
    expected = moving(list(seen.values()), 0.7)
    if "average" in settings:
        expected = {name: (seen[2][name] + seen[4][name] + seen[6][name]) / 3 for name in found}
    check(found, expected, seen[6])
    assert any(not torch.equal(found[name], seen[6][name].float()) for name in found if "running_mean" in name)
    kept = weights(project / "unbroken/kept/0000003")
    check(kept, seen[3] if "average" in settings else moving([seen[k] for k in (1, 2, 3)], 0.7), seen[3])
    killed_at(5, run, project / "killed")  # resumed at step 4
    train(run, project / "killed")
    assert equal(found, weights(project / "killed")) and rows(project / "killed") == rows(project / "unbroken")
    if "ema" in settings:  # with which more steps go on
        shorter = run.model_copy(update={"training": run.training.model_copy(update={"steps": 3})})
        train(shorter, project / "shorter")
        train(run, project / "shorter")
        assert equal(found, weights(project / "shorter"))


def test_the_best_network_is_chosen_among_averages(project, params, monkeypatch):
    monkeypatch.setattr(Best, "look", lambda self, stage: [0.1, 0.4, 0.2][stage.global_step - 1])
    run, networks = selected_run(params, steps=3, ema=0.7).model_copy(update={"hop": 3200}), Networks()
    train(run, project / "a", [networks])
    check(weights(project / "a"), moving([networks.seen[k] for k in (1, 2)], 0.7), networks.seen[2])


def test_averages_that_do_not_fit_the_training_are_refused(params):
    many = LastNetworks(last=4, every=2)
    told = faults_of(params, small_run(params, steps=6, average=many))
    assert told == ["training.average: 4 networks, 2 steps apart, but the training of cnn10-s0 ends after 6 steps"]
    assert not faults_of(params, small_run(params, steps=7, average=many))
    told = faults_of(params, selected_run(params, steps=7, average=many, ema=0.9))
    assert [line for line in told if "a training keeps one average" in line]
    assert [line for line in told if "set training.ema, or training.select: last" in line]

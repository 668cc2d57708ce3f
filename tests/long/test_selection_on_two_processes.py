"""Selection and a frozen backbone on two processes: half a minute, so not among the tests that run with each change."""

import pytest
import torch
from test_best import content, selected_run
from test_training import in_double_precision_to_be_resumed, started, train

from glat.config.runs import write_run


@pytest.fixture
def project(corpus_project):
    return corpus_project


def test_two_processes_select_as_one_and_freeze_as_one(project, params, monkeypatch):
    """In float64, as two processes train as one (`test_training`)."""
    settings = {"steps": 3, "warmup": 0, "freeze_backbone": 1, "backbone_learning_rate": 0.5}
    run = selected_run(params, {}, **settings).model_copy(update={"seed": 1})
    how = {"accelerator": "cpu", "precision": "float32", "log_every": 3}
    write_run(run, project / "two/config.yaml")
    process = started(in_double_precision_to_be_resumed, "two", threads=2, **how, devices=2)
    told, _ = process.communicate()
    assert process.returncode == 0, told
    in_double_precision_to_be_resumed(monkeypatch.setattr)
    train(run, project / "one", **how)
    one, two = content(project / "one"), content(project / "two")
    assert one["selected"] == pytest.approx(two["selected"], rel=1e-9) and one["selected"]["looks"] == 3
    assert told.count("selected: the network of step") == 1
    for key, value in one["model"].items():
        torch.testing.assert_close(two["model"][key], value, rtol=1e-7, atol=1e-9, msg=key)

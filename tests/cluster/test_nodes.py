"""One training over two nodes, as one job of Slurm whose tasks are its processes."""

import shutil

import pytest
import torch
from slurm import Project
from trained_runs import apart


@pytest.mark.parametrize("devices", [1, 2])
def test_a_training_on_two_nodes_ends_as_one_process_does(tmp_path_factory, cluster, devices):
    project = Project(tmp_path_factory.mktemp("project"), cluster, devices=devices, nodes=2, precision="float32")
    target = "runs/mini/cnn10-glat-s0/checkpoint.pt"
    short = ["--config", "datasets={mini: {training: {steps: 6}, execution: {log_every: 1}}}"]
    project.make(target, *short, "--set-threads", "train=1", "train_glat=1")
    (job,) = project.jobs("train_glat")
    assert job["NumNodes"] == "2" and job["NumTasks"] == str(2 * devices) and job["JobState"] == "COMPLETED"
    assert job["TresPerJob"] == f"gres:gpu:{2 * devices}"
    run = project.folder / "runs/mini/cnn10-glat-s0"
    assert not (run / "resume.ckpt").exists() and (run / "attempt.json").exists()
    own = alone(project, run, "datasets.mini.execution.log_every=1")
    two, one = (torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (run, own))
    assert two["trained"]["execution"]["nodes"] == 2 and one["trained"]["execution"]["nodes"] == 1
    assert apart(run, own) < 1e-3


def test_a_training_of_which_one_node_dies_goes_on_when_both_are_there_again(tmp_path_factory, cluster):
    project = Project(tmp_path_factory.mktemp("project"), cluster, devices=1, nodes=2, precision="float32")
    run = project.folder / "runs/mini/cnn10-s0"
    project.make("packs")
    short = ["--config", "datasets={mini: {training: {steps: 6}, execution: {log_every: 1}}}"]
    with project.inserted("from time import sleep; sleep(3)"):
        process = project.start("runs/mini/cnn10-s0/checkpoint.pt", *short, "--set-threads", "train=1")
        resume = run / "resume.ckpt"
        cluster.until(lambda: resume.exists() or process.poll() is not None, project.told)
        cluster.crash("n2")
        cluster.start_node("n2")
        assert project.end(process) == 0, project.told()[-3000:]
    job = project.jobs("train")[-1]
    assert job["NumNodes"] == "2" and job["JobState"] == "COMPLETED"
    assert "resumed at step" in (project.folder / "logs/mini/train/cnn10-s0.log").read_text()
    assert apart(run, alone(project, run, "datasets.mini.execution.log_every=1")) < 1e-3


def alone(project, run, *changes):
    """The folder of a training of the same run by one process, outside the cluster."""
    own = project.folder / "one"
    own.mkdir()
    shutil.copy(run / "config.yaml", own)
    changes = ("execution.devices=1", "execution.nodes=1", "tracking.enabled=false", *changes)
    project.here(
        *(word for change in changes for word in ("--set", change)), "train", "one/config.yaml", "--threads", "1"
    )
    return own

"""One training over two nodes, as one job of Slurm whose tasks are its processes."""

import shutil

import pytest
import torch
from slurm import Project
from test_cluster import apart


@pytest.mark.parametrize("devices", [1, 2])
def test_a_training_on_two_nodes_ends_as_one_process_does(tmp_path_factory, cluster, devices):
    project = Project(tmp_path_factory.mktemp("project"), cluster, devices=devices, nodes=2, precision="float32")
    target = "runs/mini/cnn10-glat-s0/checkpoint.pt"
    short = ["--config", "datasets={mini: {training: {steps: 6}, execution: {log_every: 1}}}"]
    project.make(target, *short, "--set-threads", "train=1", "train_glat=1")
    (job,) = project.jobs("train_glat")
    assert job["NumNodes"] == "2" and job["NumTasks"] == str(2 * devices) and job["JobState"] == "COMPLETED"
    assert job["TresPerJob"] == f"gres:gpu:{2 * devices}"
    run, own = project.folder / "runs/mini/cnn10-glat-s0", project.folder / "one"
    assert not (run / "resume.ckpt").exists() and (run / "attempt.json").exists()
    own.mkdir()
    shutil.copy(run / "config.yaml", own)
    changes = (
        "execution.devices=1",
        "execution.nodes=1",
        "datasets.mini.execution.log_every=1",
        "tracking.enabled=false",
    )
    alone = [word for change in changes for word in ("--set", change)]
    project.here(*alone, "train", "one/config.yaml", "--threads", "1")
    two, one = (torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (run, own))
    assert two["trained"]["execution"]["nodes"] == 2 and one["trained"]["execution"]["nodes"] == 1
    assert apart(run, own) < 1e-3

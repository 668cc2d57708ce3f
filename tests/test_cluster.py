"""What a cluster's own command tells, and who starts a training's processes there; tests/cluster runs a real Slurm."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
import yaml
from conftest import ROOT, TINY
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment

from glat.config.params import load
from glat.config.runs import resolve, write_run
from glat.lib import hardware
from glat.lib.cluster import Partition, minutes, parse, partition, training_memory
from glat.lib.errors import GlatError
from glat.training import progress
from glat.training.fit import check_equal_weights
from glat.training.progress import decided_by_first

TOLD = """debug*|(null)|30:00
debug*|gpu:a100:4(S:0-1),lustre:1|30:00
batch|(null)|1-12:00:00
gpu|gpu:2|infinite
shard|shard:8|2:00:00
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, Partition(True, 30)), ("debug", Partition(True, 30)), ("batch", Partition(False, 36 * 60)),
        ("gpu", Partition(True, None)), ("shard", Partition(False, 120)), ("none such", Partition()),
    ],
)  # fmt: skip
def test_a_partition_has_gpus_and_a_longest_time(name, expected):
    assert parse(TOLD, name) == expected
    assert parse(TOLD.replace("*", "")) == Partition(), "no default"


@pytest.mark.parametrize(("text", "expected"), [("5:59", 5), ("1:00:00", 60), ("7-00:00:00", 10080), ("n/a", None)])
def test_slurm_s_times(text, expected):
    assert minutes(text) == expected


def test_where_no_slurm_is_nothing_is_known_of_it(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    partition.cache_clear()
    assert partition() == Partition()
    assert "since sinfo fails" in capsys.readouterr().err
    partition.cache_clear()


def test_a_training_on_a_cpu_asks_for_the_memory_that_was_measured():
    """With a margin, and not for several times as much as the largest network takes."""
    rows = json.loads((ROOT / "benchmarks/results/memory_float32.json").read_text())["rows"]
    assert {row["batch"] for row in rows} >= {4, 8, 32}
    for row in rows:
        asked = training_memory(1.0, 10 + 5 * 3, row["batch"], gpu=False)
        assert asked > 1.1 * 1000 * row["peak_GB"], row
        if row["what"].startswith("resnet38"):
            assert asked < 1.4 * 1000 * row["peak_GB"], row


def test_memory_follows_width_length_and_batch():
    base = training_memory(1.0, 25, 32, gpu=False)
    less = [(0.5, 25, 32), (1.0, 10, 32), (1.0, 25, 16)]
    assert all(training_memory(*one, gpu=False) < 0.75 * base for one in less)
    assert training_memory(1.0, 25, 32, gpu=True) == training_memory(1.0, 25, 8, gpu=True) < base
    assert training_memory(0.125, 25, 8, gpu=False) == 3000


@pytest.mark.parametrize("tasks", [None, "1", "2"])
def test_slurm_starts_a_training_s_processes_only_where_it_started_as_many(tasks, monkeypatch):
    names = {"NTASKS": tasks, "STEP_NUM_TASKS": tasks, "JOB_ID": "7", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    names["NTASKS_PER_NODE"] = tasks
    for name, value in names.items():
        monkeypatch.setenv(f"SLURM_{name}", value) if value else monkeypatch.delenv(f"SLURM_{name}", raising=False)
    assert isinstance(hardware.cluster(2, 1), SLURMEnvironment if tasks == "2" else LightningEnvironment)
    if tasks == "2":
        with pytest.raises(GlatError, match="make 1 processes, but srun started 2 tasks; make them equal"):
            hardware.cluster(1, 1)
    else:
        assert isinstance(hardware.cluster(1, 1), LightningEnvironment)


def test_processes_of_other_nodes_must_have_been_started(monkeypatch):
    alone = "execution.devices: 2 and execution.nodes: 3, but this process was started alone .* set execution.nodes: 1"
    with pytest.raises(GlatError, match=alone):
        hardware.cluster(2, 3)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(GlatError, match="make 6 processes, but torchrun started 4; make them equal"):
        hardware.cluster(2, 3)
    assert isinstance(hardware.cluster(2, 2), TorchElasticEnvironment)


def test_the_profile_names_no_account_and_leaves_gpus_to_the_settings():
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    assert profile["executor"] == "slurm" and profile["slurm-status-command"] == "squeue" and profile["retries"] > 0
    assert not {"default-resources", "set-resources", "cores", "resources"} & profile.keys()


class Started(SLURMEnvironment):
    """One of two tasks of srun."""

    def __init__(self, rank, port):
        super().__init__(auto_requeue=False)
        self.rank, self.port = rank, port

    def world_size(self):
        return 2

    def global_rank(self):
        return self.rank

    @property
    def main_address(self):
        return "127.0.0.1"

    @property
    def main_port(self):
        return self.port


def test_all_processes_hear_what_the_first_decides_or_that_it_failed(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = (free.getsockname()[1] - 1024 - 10_000) % 64_000
    with ThreadPoolExecutor() as pool:
        other = pool.submit(decided_by_first, Started(1, port), lambda: 5)
        assert decided_by_first(Started(0, port), lambda: 7) == 7 == other.result(60)
        other = pool.submit(decided_by_first, Started(1, port), lambda: 5)
        with pytest.raises(ZeroDivisionError):
            decided_by_first(Started(0, port), lambda: 1 // 0)
        with pytest.raises(GlatError, match="the first process of this training failed"):
            other.result(60)
    monkeypatch.setattr(progress, "TOGETHER", timedelta(seconds=1))
    with pytest.raises(GlatError, match="not all 2 processes of this training came within 0:00:01"):
        decided_by_first(Started(0, port), lambda: 7)


def test_weights_are_compared_where_the_processes_meet():
    """After a training they are on the CPU, and NCCL gathers between GPUs alone."""

    class Strategy:
        root_device = torch.device("meta")  # stands for a GPU

        def all_gather(self, total):
            assert total.device.type == "meta"
            return torch.tensor([1.0, 2.0])

    module = torch.nn.Linear(2, 2)
    module.run = SimpleNamespace(folder=Path("runs/x"))
    with pytest.raises(GlatError, match=r"runs/x: the 2 processes ended with different weights: \[1.0, 2.0\]"):
        check_equal_weights(SimpleNamespace(strategy=Strategy(), world_size=2), module)


def test_a_training_of_two_processes_of_which_the_first_ends_ends_and_frees_its_run(corpus, tmp_path):
    (tmp_path / "data").symlink_to(corpus / "data")
    run = resolve(load(ROOT / "params.yaml", TINY), "cnn10", 0)
    run = run.model_copy(update={"training": run.training.model_copy(update={"steps": 100000})})
    write_run(run, tmp_path / "run/config.yaml")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    execution = "execution={devices: 2, accelerator: cpu, checkpoint_every: 2}"
    call = [sys.executable, "-m", "glat.cli", "--set", f"datasets.mini.{execution}", "--set", "tracking.enabled=false"]
    call += ["train", "run/config.yaml", "--threads", "2"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(call, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
    try:
        while process.poll() is None and not (tmp_path / "run/resume.ckpt").exists():
            time.sleep(0.05)
        others = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == -signal.SIGTERM, (tmp_path / "log").read_text()
        assert others and not psutil.wait_procs(others, 60)[1]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

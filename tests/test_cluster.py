"""What a cluster's own command tells, and who starts a training's processes there; tests/cluster runs a real Slurm."""

import os
import signal
import subprocess
import sys
import time

import lightning
import pytest
import yaml
from conftest import ROOT, TINY
from lightning.pytorch.plugins.environments import LightningEnvironment

from glat.config.params import load
from glat.config.runs import resolve, write_run
from glat.lib import hardware
from glat.lib.cluster import Partition, minutes, parse, partition

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


@pytest.mark.parametrize("tasks", [None, "1", "2"])
def test_slurm_starts_a_training_s_processes_only_where_it_started_as_many(tasks, monkeypatch):
    for name, value in {"NTASKS": tasks, "JOB_ID": "7", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value) if value else monkeypatch.delenv(f"SLURM_{name}", raising=False)
    if tasks == "2":
        monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "2")
    how = {"accelerator": "cpu", "devices": 2, "strategy": "ddp", "logger": False, "barebones": True}
    trainer = lightning.Trainer(plugins=hardware.starter(2), **how)
    ours = isinstance(trainer.strategy.cluster_environment, LightningEnvironment)
    assert ours == (tasks != "2")
    assert bool(hardware.starter(1)) == bool(tasks)


def test_the_profile_names_no_account_and_leaves_gpus_to_the_settings():
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    assert profile["executor"] == "slurm" and profile["slurm-status-command"] == "squeue" and profile["retries"] > 0
    assert not {"default-resources", "set-resources", "cores", "resources"} & profile.keys()


def test_a_training_of_two_processes_that_is_told_to_end_ends_and_frees_its_run(corpus, tmp_path):
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
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(300) == -signal.SIGTERM, (tmp_path / "log").read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

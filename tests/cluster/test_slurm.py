"""The profile for Slurm as it is shipped, on a real Slurm of two nodes on this machine, without accounting:

pytest -n 0 tests/cluster
"""

import csv
import shutil
import time

import pytest
import torch
from slurm import STEPS, Project

from glat.tracking.send import read_state
from glat.tracking.store import Store


@pytest.fixture(scope="module")
def project(tmp_path_factory, cluster) -> Project:
    """With trainings on two devices, long enough to be ended on the way."""
    return Project(tmp_path_factory.mktemp("project"), cluster, devices=2)


def weights(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)["model"]


def unbroken(project, name):
    """The folder of a training of the same run that nobody ended, outside the cluster."""
    run, own = project.folder / "runs/mini" / name, project.folder / "unbroken" / name
    if own.exists():
        return own
    own.mkdir(parents=True)
    shutil.copy(run / "config.yaml", own)
    project.here("--set", "tracking.enabled=false", "train", str(own / "config.yaml"), "--threads", "4")
    return own


def forget(run):
    """Remove what a training left."""
    for name in ("checkpoint.pt", "train.csv"):
        (run / name).unlink(missing_ok=True)


def same_numbers(one, other):
    """Whether two trainings left the same weights and the same curve but for its times."""
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    curves = []
    for folder in (one, other):
        with (folder / "train.csv").open() as file:
            timed = ("seconds", "clips_per_second")
            curves.append(
                [{key: value for key, value in row.items() if key not in timed} for row in csv.DictReader(file)]
            )
    assert curves[0] == curves[1]


def test_table1_is_made_and_a_cancelled_training_ends_with_the_unbroken_one_s_numbers(project):
    process = project.start("results/table1.csv")
    run = project.folder / "runs/mini/cnn10-glat-s0"
    while process.poll() is None and not (run / "resume.ckpt").exists():
        time.sleep(0.1)
    assert process.poll() is None, project.told()[-3000:]
    (first,) = project.jobs("train_glat")
    project.cluster.ask("scancel", first["JobId"])
    assert project.end(process) == 0, project.told()[-3000:]
    with (project.folder / "results/table1.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2
    log = (project.folder / "logs/mini/train/cnn10-glat-s0.log").read_text()
    assert f"{STEPS} steps, resumed at step" in log and f"step {STEPS}/{STEPS}" in log
    again = project.jobs("train_glat")
    assert [job["JobState"] for job in again] == ["CANCELLED", "COMPLETED"]
    same_numbers(run, unbroken(project, run.name))
    # GPUs from the settings, limits from the partition, no account.
    for job, gpus in ((again[-1], 2), (project.jobs("evaluate")[-1], 1)):
        assert job["TresPerJob"] == f"gres:gpu:{gpus}" and job["NumNodes"] == "1" and job["Partition"] == "main"
    assert again[-1]["TimeLimit"] == "12:00:00" and project.jobs("table1")[-1]["TimeLimit"] == "00:10:00"
    assert "TresPerJob" not in project.jobs("table1")[-1]
    # Jobs have sent what they made when the workflow ends.
    store = Store(f"sqlite:///{project.folder}/mlflow.db")
    for folder in (run, project.folder / "runs/mini/cnn10-s0"):
        found = store.client.get_run(read_state(folder)[store.name]["run_id"])
        assert found.info.status == "FINISHED" and 0 < found.data.metrics["final/mAP"] <= 1


def test_a_training_that_reaches_its_time_limit_ends_with_the_unbroken_one_s_numbers(project):
    """The limit is three minutes; the first attempt hangs half-way until then."""
    run, once = project.folder / "runs/mini/cnn10-s0", project.folder / "hung"
    project.make("runs/mini/cnn10-s0/checkpoint.pt")
    own = unbroken(project, run.name)
    forget(run)
    hang = f"from pathlib import Path; from time import sleep; once = Path({str(once)!r})"
    hang += f"; self.global_step == {STEPS // 2} and not once.exists() and (once.touch(), sleep(3600))"
    with project.inserted(hang):
        project.make("runs/mini/cnn10-s0/checkpoint.pt", "--set-resources", "train:runtime=3")
    states = [job["JobState"] for job in project.jobs("train")]
    assert states[-2:] == ["TIMEOUT", "COMPLETED"]
    assert "resumed at step" in (project.folder / "logs/mini/train/cnn10-s0.log").read_text()
    same_numbers(run, own)


@pytest.mark.parametrize("by", ["Slurm", "Snakemake"])
def test_a_training_whose_node_dies_goes_on_on_the_other_node(project, by):
    """Slurm queues the job again, or, where the cluster or the user forbids that, Snakemake."""
    run, cluster = project.folder / "runs/mini/cnn10-s0", project.cluster
    forget(run)
    before = len(project.jobs("train"))
    with project.inserted("from time import sleep; sleep(1)"):
        process = project.start("runs/mini/cnn10-s0/checkpoint.pt", *([] if by == "Slurm" else ["--slurm-no-requeue"]))
        resume = run / "resume.ckpt"
        cluster.until(lambda: resume.exists() or process.poll() is not None, project.told)
        (first,) = project.jobs("train")[before:]
        cluster.crash(first["NodeList"])
        try:
            assert project.end(process) == 0, project.told()[-3000:]
        finally:
            cluster.start_node(first["NodeList"])
            cluster.until(lambda: cluster.idle(2), lambda: cluster.ask("sinfo", "--list-reasons"))
    jobs = project.jobs("train")[before:]
    assert jobs[-1]["NodeList"] == ({"n1", "n2"} - {first["NodeList"]}).pop()
    if by == "Slurm":
        assert [(job["JobState"], job["Restarts"]) for job in jobs] == [("COMPLETED", "1")]
    else:
        assert [job["JobState"] for job in jobs] == ["NODE_FAIL", "COMPLETED"]
        assert f"SLURM-job '{first['JobId']}' failed due to a node failure" in project.told()
    assert "resumed at step" in (project.folder / "logs/mini/train/cnn10-s0.log").read_text()
    same_numbers(run, unbroken(project, run.name))


def test_the_error_of_a_job_names_its_logs_and_shows_its_sentence(project):
    source = project.folder / "weights.pt"
    source.write_bytes(b"no weights")
    call = ["runs/mini/cnn10-s0/checkpoint.pt", "--retries", "0"]
    process = project.start(*call, "--config", "init={global: {cnn10: weights.pt}}")
    assert project.end(process) == 1
    said = project.told()
    assert "logs/mini/train/cnn10-s0.log" in said and ".snakemake/slurm_logs/rule_train/mini_cnn10-s0/" in said
    assert "glat: weights.pt:" in said

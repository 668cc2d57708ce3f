"""The profile for Slurm as it is shipped, on a real Slurm of two nodes on this machine, without accounting:

pytest -n 0 tests/cluster
"""

import csv
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import slurm
import yaml
from tiny_project import copy_of_the_project, environment

STEPS, EVERY = 40, 4
PLUGIN = "snakemake-executor-plugin-slurm"
lacking = slurm.missing() + ([] if find_spec(PLUGIN.replace("-", "_")) else [PLUGIN])
how = "(apt-get install slurm-wlm munge; uv sync --group cluster)"
pytestmark = pytest.mark.skipif(bool(lacking), reason=f"not there: {', '.join(lacking)} {how}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project on a tiny corpus, with trainings on two devices, long enough to be ended on the way."""
    folder = copy_of_the_project(tmp_path_factory.mktemp("project"))
    settings = yaml.safe_load((folder / "params.yaml").read_text())
    settings["tracking"] = {"enabled": True, "models": []}
    settings["execution"]["devices"] = 2
    settings["datasets"]["mini"]["training"] |= {"steps": STEPS, "warmup": 0}
    settings["datasets"]["mini"]["execution"] |= {"checkpoint_every": EVERY}
    (folder / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    return folder


def start(project, cluster, *arguments):
    """Snakemake with the profile; it asks more often how the jobs are, as they are short."""
    call = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", *arguments]
    call += ["--slurm-init-seconds-before-status-checks", "4"]
    given = environment(project)
    given["PATH"] = f"{cluster.commands}:{given['PATH']}"
    given.pop("SLURM_CONF", None)
    with (project / "told.txt").open("w") as told:
        return subprocess.Popen(call, cwd=project, env=given, stdout=told, stderr=subprocess.STDOUT)


def told(project):
    return (project / "told.txt").read_text()


def end(process, project, seconds=1200):
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"Snakemake did not end:\n{told(project)[-3000:]}") from None


def of_rule(cluster, rule):
    return [job for job in cluster.jobs() if job["Comment"].startswith(f"rule_{rule}_wildcards")]


def test_table1_is_made_and_a_cancelled_training_goes_on_from_its_checkpoint(project, cluster):
    process = start(project, cluster, "results/table1.csv")
    run = project / "runs/mini/cnn10-glat-s0"
    while process.poll() is None and not (run / "resume.ckpt").exists():
        time.sleep(0.1)
    assert process.poll() is None, told(project)[-3000:]
    (first,) = of_rule(cluster, "train_glat")
    cluster.ask("scancel", first["JobId"])
    assert end(process, project) == 0, told(project)[-3000:]
    with (project / "results/table1.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2
    log = (project / "logs/mini/train/cnn10-glat-s0.log").read_text()
    assert f"{STEPS} steps, resumed at step" in log and f"step {STEPS}/{STEPS}" in log
    again = of_rule(cluster, "train_glat")
    assert [job["JobState"] for job in again] == ["CANCELLED", "COMPLETED"]
    # GPUs from the settings, limits from the partition, no account.
    for job, gpus in ((again[-1], 2), (of_rule(cluster, "evaluate")[-1], 1)):
        assert job["TresPerJob"] == f"gres:gpu:{gpus}" and job["NumNodes"] == "1" and job["Partition"] == "main"
    assert again[-1]["TimeLimit"] == "12:00:00" and of_rule(cluster, "table1")[-1]["TimeLimit"] == "00:10:00"
    assert "TresPerJob" not in of_rule(cluster, "table1")[-1]
    # Jobs have sent what they made when the workflow ends.
    from glat.tracking.send import read_state
    from glat.tracking.store import Store

    store = Store(f"sqlite:///{project}/mlflow.db")
    for folder in (run, project / "runs/mini/cnn10-s0"):
        found = store.client.get_run(read_state(folder)[store.name]["run_id"])
        assert found.info.status == "FINISHED" and 0 < found.data.metrics["final/mAP"] <= 1


def test_the_error_of_a_job_names_its_logs_and_shows_its_sentence(project, cluster):
    source = project / "weights.pt"
    source.write_bytes(b"no weights")
    call = ["runs/mini/cnn10-s0/checkpoint.pt", "--retries", "0"]
    process = start(project, cluster, *call, "--config", "init={global: {cnn10: weights.pt}}")
    assert end(process, project) == 1
    said = told(project)
    assert "logs/mini/train/cnn10-s0.log" in said and ".snakemake/slurm_logs/rule_train/mini_cnn10-s0/" in said
    assert "glat: weights.pt:" in said

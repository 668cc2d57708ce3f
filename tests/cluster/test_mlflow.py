"""Sixty jobs of a cluster that write to one MLflow server, as many at once as its memory holds."""

import subprocess
import sys

from made_runs import Corpus, make_run, value
from slurm import Project
from test_tracking import free_port, start_server, stop

from glat.config.params import load
from glat.config.runs import resolve, write_run
from glat.tracking.store import Store

JOBS = 60
MEMORY = 1200  # MB of a job: MLflow and torch take one gigabyte


def test_sixty_jobs_lose_nothing(tmp_path_factory, cluster, monkeypatch):
    project = Project(tmp_path_factory.mktemp("project"), cluster)
    monkeypatch.chdir(project.folder)
    params = load("params.yaml")
    runs = [resolve(params, "cnn10", seed) for seed in range(JOBS)]
    for run in runs:
        make_run(run, Corpus())
        write_run(run, run.folder / "config.yaml")
    port = free_port()
    address, server = f"http://127.0.0.1:{port}", start_server(project.folder, port)
    sync = f"{sys.executable} -m glat.cli track sync runs/mini/cnn10-s$SLURM_ARRAY_TASK_ID"
    try:
        given = project.environment() | {"MLFLOW_TRACKING_URI": address, "PYTHONPATH": str(project.folder)}
        call = ["sbatch", "--parsable", f"--array=0-{JOBS - 1}", f"--mem={MEMORY}", "--output=job-%a.log"]
        job = subprocess.run(
            [*call, f"--wrap={sync}"], env=given, check=True, capture_output=True, text=True
        ).stdout.strip()
        states = lambda: [one["JobState"] for one in cluster.jobs() if one.get("ArrayJobId") == job]
        cluster.until(lambda: states().count("RUNNING") >= 4, states)
        cluster.until(lambda: not {"RUNNING", "PENDING", "COMPLETING"} & set(states()), states)
        # A job that the crowded server kept waiting too long gives up and says so; the sync at a workflow's end sends the rest.
        logs = [(project.folder / f"job-{seed}.log").read_text() for seed in range(JOBS)]
        unsent = [log for log in logs if "not sent" in log]
        assert sorted(states()) == ["COMPLETED"] * (JOBS - len(unsent)) + ["FAILED"] * len(unsent), logs
        assert len(unsent) < JOBS / 2 and all("does not answer" in log for log in unsent), unsent
        rest = [sys.executable, "-m", "glat.cli", "track", "sync"]
        last = subprocess.run(rest, env=given, check=False, capture_output=True, text=True)
        assert last.returncode == 0, last.stderr
        store = Store(address)
        (experiment,) = [one for one in store.client.search_experiments() if one.name == "mini"]
        found = {one.info.run_name: one for one in store.client.search_runs([experiment.experiment_id])}
        assert sorted(found) == sorted(run.name for run in runs)
        for run in runs:
            sent = found[run.name]
            assert sent.info.status == "FINISHED" and sent.data.metrics["final/mAP"] == value(run)
            history = store.client.get_metric_history(sent.info.run_id, "train/loss_global")
            assert [one.value for one in history] == [0.9, 0.5, 0.4]
            assert len(store.client.list_artifacts(sent.info.run_id)) > 3
    finally:
        stop(server)

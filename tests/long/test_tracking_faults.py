"""Trainings whose MLflow server hangs, or dies in the middle."""

import os

import psutil
from test_tracking import free_port, start_server, stop
from test_tracking_live import configured, hanging, project, sent, sync, train  # noqa: F401 - `project` is a fixture

from glat.tracking import sender


def test_a_training_s_process_ends_though_its_server_hangs(project, monkeypatch):  # noqa: F811
    run = configured(steps=20)
    with hanging(monkeypatch):
        process = train(run)
        told = process.communicate(timeout=sender.PATIENCE + 90)[1]
    assert process.returncode == 0 and "MLflow lacks something of it" in told
    assert not [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(project) and p.pid != os.getpid()]


def test_what_a_server_that_died_in_mid_training_missed_is_sent_once_it_is_back(project, monkeypatch):  # noqa: F811
    port = free_port()
    server = start_server(project, port)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    run = configured(steps=400)
    process = train(run)
    try:
        sent(run, "RUNNING")
        stop(server)
        assert process.poll() is None, "the training was over before the server died"
        assert process.wait(300) == 0, process.stderr.read()
        assert "does not answer" in process.stderr.read()
        server = start_server(project, port)
        assert (done := sync()).returncode == 0, done.stderr
        found = sent(run, "FINISHED")
        assert [m.step for m in found.history("train/loss")] == list(range(10, 401, 10))
    finally:
        stop(server)
        process.kill()

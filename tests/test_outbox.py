"""One process at a time sends what evaluations leave for MLflow: it loses nothing, and nothing is left of it."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import time
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, TINY
from made_runs import make_whole_run, value
from typer.testing import CliRunner

from glat.cli import app
from glat.config.params import load, parse
from glat.config.runs import resolve, write_run
from glat.config.settings import Listed, Weights
from glat.scoring import evaluation
from glat.tracking import outbox
from glat.tracking.send import alone, read_state
from glat.tracking.store import Store
from glat.training import fit


@pytest.fixture
def params():
    return load(ROOT / "params.yaml", TINY | {"tracking.models": []})  # made runs have no real checkpoint


def made(params, seed):
    return make_whole_run(resolve(params, "cnn10", seed))


def senders(project):
    """The processes that send to MLflow from this project."""
    found = []
    for process in psutil.process_iter():
        try:
            if any("glat.tracking" in word for word in process.cmdline()) and process.cwd() == str(project):
                found.append(process)
        except psutil.Error:
            continue
    return found


def most_at_once(project, processes=()):
    """How many were there at once, until all has ended."""
    most, deadline = 0, time.monotonic() + 240
    while time.monotonic() < deadline:
        most = max(most, len(senders(project)))
        if not any(process.is_alive() for process in processes) and not senders(project):
            return most
        time.sleep(0.05)
    raise AssertionError("senders did not end")


def final(folder):
    store = Store()
    return store.client.get_run(read_state(folder)[store.name]["run_id"]).data.metrics.get("final/mAP")


def waiting():
    return list(outbox.box().glob("[0-9]*.json"))


def test_ten_commands_at_once_start_one_sender_and_all_of_it_arrives(project, params):
    runs = [made(params, seed) for seed in range(3)]
    fork = multiprocessing.get_context("fork")
    calls = [fork.Process(target=outbox.hand_over, args=(runs[k % 3].folder, params)) for k in range(10)]
    for call in calls:
        call.start()
    assert most_at_once(project, calls) == 1
    assert [call.exitcode for call in calls] == [0] * 10
    assert [final(run.folder) for run in runs] == [value(run) for run in runs] and not waiting()


def test_evaluations_leave_no_process_and_their_commands_one_at_a_time(corpus, project, params, monkeypatch):
    (project / "data").symlink_to(corpus / "data")
    run = resolve(params, "cnn10", 0)
    run = run.model_copy(update={"training": run.training.model_copy(update={"steps": 1, "warmup": 0})})
    write_run(run, run.folder / "config.yaml")
    fit.train(run, run.folder, threads=1)
    before = set(psutil.Process().children())  # of tests in this process before
    for _ in range(10):
        evaluation.evaluate(
            run.folder / "checkpoint.pt", ["data/mini/packs/eval/000.h5"], params.evaluation, run.folder
        )
    assert not senders(project) and not set(psutil.Process().children()) - before
    monkeypatch.setenv("GLAT_SETTINGS", json.dumps(TINY | {"tracking.models": []}))
    for _ in range(3):
        done = CliRunner().invoke(app, ["--params", str(ROOT / "params.yaml"), "evaluate", str(run.folder)])
        assert done.exit_code == 0, done.output
    assert most_at_once(project) <= 1
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert final(run.folder) == metrics["streams"]["fused"]["mAP"]["value"] and not waiting()


def test_a_run_that_comes_just_as_the_sender_ends_is_sent(project, params, monkeypatch):
    runs, sent, flock = [made(params, seed) for seed in range(2)], [], fcntl.flock
    monkeypatch.setattr(outbox, "_send", lambda folder, settings: sent.append(folder) or True)
    outbox._put(runs[0].folder, params)

    def late(lock, how):
        if how == fcntl.LOCK_UN and len(sent) == 1:
            outbox.hand_over(runs[1].folder, params)  # finds the lock taken
            assert len(sent) == 1 and not senders(project)
        return flock(lock, how)

    monkeypatch.setattr(outbox.fcntl, "flock", late)
    with (outbox.box() / "lock").open("w") as lock:
        assert outbox._taken(lock.fileno()) and outbox.drain(lock.fileno())
    assert sent == [run.folder for run in runs] and not waiting()


def test_what_waits_for_a_server_that_is_down_is_kept_and_goes_with_the_next(project, params, monkeypatch):
    runs = [made(params, seed) for seed in range(2)]
    monkeypatch.setattr("glat.tracking.sender.PATIENCE", 0.0)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server = project / "mlflow.db"
    server.mkdir()  # no database can be made there
    for run in runs:
        outbox._put(run.folder, params)
    with (outbox.box() / "lock").open("w") as lock:
        assert outbox._taken(lock.fileno()) and not outbox.drain(lock.fileno())
        assert len(waiting()) == 2 and "not sent to MLflow" in (runs[0].folder / "mlflow.log").read_text()
        server.rmdir()
        assert outbox.drain(lock.fileno()) and not waiting()
    assert [final(run.folder) for run in runs] == [value(run) for run in runs]


def test_a_training_under_way_is_left_to_the_process_that_follows_it(project, params):
    run = made(params, 0)
    outbox._put(run.folder, params)
    with alone(run.folder), (run.folder / ".lock").open("w") as training_lock:
        fcntl.flock(training_lock, fcntl.LOCK_EX)
        with (outbox.box() / "lock").open("w") as lock:
            assert outbox._taken(lock.fileno()) and outbox.drain(lock.fileno())
    assert not waiting() and not read_state(run.folder)


def test_what_waits_holds_no_password_of_a_source_and_is_its_owner_s_alone(project, params):
    run = made(params, 0)
    source = {"kind": "youtube", "cookies": "cookies.txt", "proxy": "http://me:secret@proxy"}
    lists = {name: f"http://me:secret@host/{name}?token=secret" for name in params.datasets["audioset"].lists()}
    lists["eval_segments.csv"] = Listed(file="https://me:secret@host/x.csv", sha256="0" * 64)
    dataset = params.datasets["audioset"].model_copy(update={"source": source, "metadata": lists})
    weights = {"cnn10": Weights(file="https://me:secret@host/Cnn10.pth?key=secret")}
    given = {"datasets": params.datasets | {"audioset": dataset}, "weights": weights}
    outbox._put(run.folder, params.model_copy(update=given))
    (letter,) = waiting()
    assert "secret" not in letter.read_text() and letter.stat().st_mode & 0o077 == 0
    content = json.loads(letter.read_text())
    assert Path(content["folder"]) == run.folder and parse(content["settings"]).dataset == params.dataset


def test_a_run_whose_files_cannot_be_written_waits_and_the_others_go(project, params, monkeypatch):
    runs, sent = [made(params, seed) for seed in range(2)], []
    monkeypatch.setattr(outbox.Sender, "finish", lambda sender: sent.append(sender.folder) or True)
    log = runs[0].folder / "mlflow.log"
    log.mkdir()  # so that it cannot be opened, by root either
    for run in runs:
        outbox._put(run.folder, params)
    (outbox.box() / "1-other.json").write_text("[1]")
    with (outbox.box() / "lock").open("w") as lock:
        assert outbox._taken(lock.fileno()) and not outbox.drain(lock.fileno())
        (letter,) = waiting()
        assert json.loads(letter.read_text())["folder"] == str(runs[0].folder)
        assert sent == [runs[1].folder]
        log.rmdir()
        assert outbox._taken(lock.fileno()) and outbox.drain(lock.fileno()) and not waiting()
    assert sent == [runs[1].folder, runs[0].folder]


def test_a_job_of_a_cluster_waits_for_its_sender(project, params, monkeypatch):
    run = made(params, 0)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    outbox.hand_over(run.folder, params)
    assert not senders(project) and final(run.folder) == value(run)
    assert os.environ["SLURM_JOB_ID"] == "7"

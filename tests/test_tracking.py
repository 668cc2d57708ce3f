"""What MLflow is told: the same numbers as the tables', once, by many at once; and what goes wrong, in one sentence."""

import base64
import errno
import fcntl
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy
from conftest import ROOT, TINY
from http_fixtures import Handler, served
from made_runs import Corpus, make_all, make_run, make_whole_run, value
from mlflow.exceptions import MlflowException

from glat.config.experiments import all_runs, table1
from glat.config.params import load
from glat.config.runs import resolve, write_run
from glat.lib.files import digest
from glat.results.registry import RESULTS
from glat.tracking import facts, views
from glat.tracking.send import Deleted, Sending, read_state
from glat.tracking.store import NotSent, Store, name_of, sentence
from glat.training import attempt as attempts
from glat.use import pictures

NO_NETWORKS = TINY | {"tracking.models": []}  # made runs have no real checkpoint


@pytest.fixture
def params(database):
    return load(ROOT / "params.yaml", NO_NETWORKS)


def made(params, glat=None, evaluated=True):
    run = make_whole_run(resolve(params, "cnn10", 0, glat))
    if not evaluated:
        (run.folder / "metrics.json").unlink()
    return run


def send(run, params, store=None):
    store = store or Store()
    attempt = Sending(run.folder, store, params).send()
    return store, attempt


def attempted(run, status):
    """An attempt at the run's training that ended so."""
    attempt = attempts.begin(run.folder, 0)
    attempts.end(run.folder, status)
    return attempt


def told(store, run):
    """The MLflow run of a run."""
    return store.client.get_run(read_state(run.folder)[store.name]["run_id"])


def test_a_run_is_sent_once_with_parameters_tags_curves_and_files(project, params):
    run = made(params, {})
    store, attempt = send(run, params)
    found = told(store, run)
    assert store.client.get_experiment(found.info.experiment_id).name == "mini"
    assert (found.info.run_name, found.info.status) == ("cnn10-glat-s0", "FINISHED")
    assert attempt.status == "FINISHED"
    given = found.data.params
    assert given["training.steps"] == "6" and given["glat.n"] == "5" and given["training.spec_augment.mel_width"] == "8"
    tags = found.data.tags
    expected = {
        "backbone": "CNN10", "method": "GL-AT", "N": "5", "tau": "3", "seed": "0", "dataset": "mini",
        "git_commit": "c0ffee", "git_dirty": "false", "snakemake_rule": "unknown", "convergence": "converged",
        "serves": "table1, table2, fig2a, fig2b, controls, localisation",
    }  # fmt: skip
    assert expected == {key: tags[key] for key in expected}
    history = store.client.get_metric_history(found.info.run_id, "train/loss_local")
    assert [(m.step, m.value) for m in history] == [(2, 0.9), (4, 0.6), (6, 0.5)]
    names = {file.path for file in store.client.list_artifacts(found.info.run_id)}
    assert names == {"config.yaml", "train.csv", "metrics.json", "per_class.csv", "pictures"}
    pictures = {Path(file.path).name for file in store.client.list_artifacts(found.info.run_id, "pictures")}
    assert {"curves.png", "pr_curves.png", "pr_curves.csv"} <= pictures

    send(run, params, store)  # nothing twice
    assert len(store.client.search_runs([found.info.experiment_id])) == 1
    assert len(store.client.get_metric_history(found.info.run_id, "train/loss_local")) == 3

    (run.folder / "mlflow.json").unlink()  # found again by its attempt
    send(run, params, store)
    assert told(store, run).info.run_id == found.info.run_id
    assert len(store.client.get_metric_history(found.info.run_id, "train/loss_local")) == 3


def test_parameters_of_a_backbone_and_its_glat_differ_in_glat_alone(project, params):
    plain, both = (facts.parameters(resolve(params, "cnn10", 0, glat)) for glat in (None, {}))
    differing = {key for key in plain.keys() | both.keys() if plain.get(key) != both.get(key)}
    assert {key for key in differing if not key.startswith("glat.")} == {"name"}


def test_a_table_and_mlflow_have_the_same_numbers(project):
    few = {"seeds": [0, 1], "backbones": ["cnn10"], "fig2.n": [5], "fig2.tau": [3], "controls.settings": []}
    params = load(ROOT / "params.yaml", NO_NETWORKS | few)
    make_all(params, Corpus())
    RESULTS["table1"].write(params)
    table = pd.read_csv("results/mini/table1.csv")
    store = Store()
    for system in table1(params):
        for run in system.runs:
            write_run(run, run.folder / "config.yaml")
            send(run, params, store)
    column = next(name for name in table.columns if name.startswith("mAP"))
    assert len(table) == 2
    for row, system in zip(table[column], table1(params), strict=True):
        means = [told(store, run).data.metrics["final/mAP"] for run in system.runs]
        assert means == [value(run) for run in system.runs]
        assert row == pytest.approx(np.mean(means), abs=5e-5)


def test_curves_of_a_run_name_its_network_with_its_marks(project, params, tmp_path):
    run = made(params, {})
    for state, mark in (("converged", ""), ("cannot tell", " †")):
        make_run(run, Corpus(), convergence={"state": state, "reason": ""})
        pictures.draw(run, run.folder, params, tmp_path / "drawn")
        assert f"CNN10 + GL-AT{mark} " in (tmp_path / "drawn/pr_curves.svg").read_text()


def test_a_repeated_run_replaces_its_predecessor_visibly(project, params):
    run = made(params, evaluated=False)
    store, _ = send(run, params)
    old = told(store, run).info.run_id
    attempted(run, "KILLED")
    send(run, params, store)
    assert "replaced_by" not in store.client.get_run(old).data.tags, "by one that left nothing"
    attempted(run, "FINISHED")
    send(run, params, store)
    new = told(store, run)
    before = store.client.get_run(old)
    assert new.info.run_id != old and old in new.data.tags["replaces"]
    assert before.data.tags["replaced_by"] == new.info.run_id and before.info.run_name == "cnn10-s0 (replaced)"
    # Also where the folder was deleted in between.
    (run.folder / "mlflow.json").unlink()
    attempted(run, "FINISHED")
    send(run, params, store)
    assert store.client.get_run(new.info.run_id).data.tags["replaced_by"] == told(store, run).info.run_id


def test_a_resumed_training_goes_on_in_its_run_after_the_last_step_sent(project, params):
    run = made(params, evaluated=False)
    whole_curve = (run.folder / "train.csv").read_text().splitlines(keepends=True)
    (run.folder / "train.csv").unlink()
    part = run.folder / ".train.csv.part"
    part.write_text("".join(whole_curve[:3]))
    begun = attempts.begin(run.folder, 0)
    store = Store()
    Sending(run.folder, store, params).send(live=True)
    assert told(store, run).info.status == "RUNNING"
    assert Sending(run.folder, store, params).send().status == "KILLED"  # nobody holds the folder's lock
    assert told(store, run).info.status == "KILLED"
    assert attempts.begin(run.folder, 2).id == begun.id
    Sending(run.folder, store, params).send(live=True)
    assert told(store, run).info.status == "RUNNING"
    part.write_text("".join(whole_curve))
    os.replace(part, run.folder / "train.csv")
    attempts.end(run.folder, "FAILED", "the loss is nan")
    send(run, params, store)
    found = told(store, run)
    assert found.info.status == "FAILED" and "the loss is nan" in found.data.tags["mlflow.note.content"]
    history = store.client.get_metric_history(found.info.run_id, "train/loss_global")
    assert [m.step for m in history] == [2, 4, 6]


def test_a_run_that_got_more_steps_began_when_its_first_step_did(project, params):
    """Its curve goes on, in seconds from there."""
    run = made(params, evaluated=False)
    begun = attempts.begin(run.folder, 0)
    longer = run.model_copy(update={"training": run.training.model_copy(update={"steps": 9})})
    write_run(longer, run.folder / "config.yaml")
    more = attempts.begin(run.folder, 6, seconds=1000.0)
    assert more.id != begun.id and time.time() - more.started == pytest.approx(1000, abs=60)


def test_a_training_under_way_is_not_taken_for_dead(project, params):
    run = made(params, evaluated=False)
    attempts.begin(run.folder, 0)
    with (run.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert attempts.settle(run.folder).status == "RUNNING"
    assert attempts.settle(run.folder).status == "KILLED"


def test_a_run_deleted_in_mlflow_stays_deleted(project, params):
    run = made(params, evaluated=False)
    store, _ = send(run, params)
    store.client.delete_run(told(store, run).info.run_id)
    with pytest.raises(Deleted, match=r"mlflow runs restore --run-id [0-9a-f]{32}"):
        send(run, params, store)


def follower(folder, address, params, gate):
    """A training's sender: its curve grows while it sends; tells its failures on the gate."""
    store = Store(address)
    part = folder / ".train.csv.part"
    gate.wait()
    for step in range(1, 41):
        with part.open("a") as file:
            file.write(f"{step},{1 / step},{step / 10}\n")
        if step % 8 == 0:
            Sending(folder, store, params).send(live=True)
    os.replace(part, folder / "train.csv")
    attempts.end(folder, "FINISHED")
    Sending(folder, store, params).send()


def eight_at_once(params, address):
    """Eight trainings that start and log at once; returns the store, and the runs."""
    context = multiprocessing.get_context("fork")
    gate, runs, processes = context.Barrier(8), [], []
    for seed in range(8):
        run = resolve(params, "cnn10", seed)
        write_run(run, run.folder / "config.yaml")
        (run.folder / ".train.csv.part").write_text("step,loss,seconds\n")
        attempts.begin(run.folder, 0)
        processes.append(context.Process(target=follower, args=(run.folder, address, params, gate)))
        runs.append(run)
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0] * 8
    return Store(address), runs


def complete(store, runs):
    """Every step of every run, once."""
    (experiment,) = [e for e in store.client.search_experiments() if e.name == "mini"]
    found = store.client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in found) == sorted(run.name for run in runs)
    for one in found:
        assert one.info.status == "FINISHED"
        assert [m.step for m in store.client.get_metric_history(one.info.run_id, "train/loss")] == list(range(1, 41))


def test_eight_trainings_at_once_lose_nothing_in_sqlite(project, params, database):
    database.unlink()
    complete(*eight_at_once(params, "sqlite:///mlflow.db"))


def free_port():
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


# No telemetry, and none of the processes that evaluate language models.
SERVER = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def start_server(folder, port):
    """A real `mlflow server` on loopback, ready to answer."""
    call = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    call += ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", f"{folder}/kept"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(call, env=os.environ | SERVER, start_new_session=True, **quiet)
    wait_for(f"http://127.0.0.1:{port}/health", process)
    return process


def wait_for(address, process, seconds=300):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{address} does not answer")


def stop(process):
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_server_takes_eight_at_once_and_what_it_missed_while_it_hung(project, params, monkeypatch):
    port = free_port()
    address, server = f"http://127.0.0.1:{port}", start_server(project, port)
    try:
        store, runs = eight_at_once(params, address)
        complete(store, runs)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        run = made(params, {})
        os.killpg(server.pid, signal.SIGSTOP)
        with pytest.raises(NotSent, match=f"^{address}: the tracking server does not answer; start it"):
            send(run, params, store)
        os.killpg(server.pid, signal.SIGCONT)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
        send(run, params, store)
        assert told(store, run).data.metrics["final/mAP"] == value(run)
        names = {file.path for file in store.client.list_artifacts(told(store, run).info.run_id)}
        assert {"config.yaml", "metrics.json", "pictures"} <= names
    finally:
        stop(server)


def test_no_server_is_told_at_once(project):
    with pytest.raises(NotSent, match="the tracking server does not answer; start it, or see MLFLOW_TRACKING_URI"):
        Store(f"http://127.0.0.1:{free_port()}")


class Refuses(Handler):
    protocol_version = "HTTP/1.0"

    def do_GET(self):
        self.head(401, {"WWW-Authenticate": "Basic"})

    do_POST = do_GET


def test_a_server_that_asks_for_a_login(project, params):
    refused = pytest.raises(NotSent, match="asks for a login; set MLFLOW_TRACKING_USERNAME")
    with served(Refuses) as server, refused:
        Store(server.address.replace("//", "//me:secret@"))
    assert name_of("http://me:secret@host:1/") == "http://host:1"


def test_a_database_of_another_version_is_named(project, params):
    Store()
    with sqlite3.connect("mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    done = glat("track", "sync", cwd=project, params={})
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "mlflow.db: made by another version of MLflow; keep a copy and run `mlflow db upgrade" in done.stderr


def glat(*arguments, cwd, params, **more):
    (Path(cwd) / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    if not list(Path(cwd).glob("runs/*/*/config.yaml")):
        made(load(ROOT / "params.yaml", NO_NETWORKS))
    env = os.environ | {"GLAT_SETTINGS": json.dumps(params)}
    call = [sys.executable, "-m", "glat.cli", *map(str, arguments)]
    return subprocess.run(call, cwd=cwd, env=env, check=False, capture_output=True, text=True, **more)


def test_a_full_disk_is_named_and_the_rest_is_sent_once_there_is_room(project, params, monkeypatch):
    run = made(params)
    copy, full = shutil.copyfileobj, [True]

    def onto_a_full_disk(source, target, *more, **settings):
        if full[0] and source.name.endswith("per_class.csv"):
            with open("/dev/full", "wb", buffering=0) as disk:
                disk.write(source.read())  # raises as a full disk does
        copy(source, target, *more, **settings)

    before = {path: path.read_bytes() for path in run.folder.iterdir()}
    monkeypatch.setattr("shutil.copyfileobj", onto_a_full_disk)
    with pytest.raises(NotSent, match="no space left for what MLflow keeps"):
        send(run, params)
    assert all(path.read_bytes() == content for path, content in before.items())
    full[0] = False
    store, _ = send(run, params)
    names = {file.path for file in store.client.list_artifacts(told(store, run).info.run_id)}
    assert {"per_class.csv", "pictures"} <= names


def test_a_database_that_was_copied_with_its_project_does_not_write_into_the_other_one(project, params, monkeypatch):
    run = made(params, evaluated=False)
    send(run, params)
    copy = shutil.copytree(project, project / "copy")
    monkeypatch.chdir(copy)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # MLflow itself sets it to what it was last told
    with pytest.raises(NotSent, match="copied from another project, and keeps its files there"):
        send(run, params)


def test_a_locked_database_is_named(project, params, monkeypatch):
    run = made(params, evaluated=False)
    store, _ = send(run, params)
    attempted(run, "FAILED")
    text = sqlalchemy.text  # of a query, with its patience in milliseconds
    monkeypatch.setattr("mlflow.store.db.utils.sql.text", lambda query: text(query.replace("20000", "200")))
    with sqlite3.connect("mlflow.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(NotSent, match="mlflow.db: another process keeps the database locked; end it"):
            send(run, params, store)
        other.execute("ROLLBACK")
    send(run, params, store)
    assert told(store, run).info.status == "FAILED"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left"), "x: no space left for what MLflow keeps (mlflow.db, mlruns/); make room"),
        (MlflowException("[Errno 28] No space left on device"),
         "x: no space left on the tracking server's disk; make room there"),
        (PermissionError(13, "Permission denied"), "x: the database cannot be written; check the folder's permissions"),
        (MlflowException("malformed header"), "x: MLflow did not take it: malformed header"),
    ],
)  # fmt: skip
def test_what_a_server_refuses_is_told_in_a_sentence(error, told):
    assert sentence(error, "x") == told


def test_two_never_send_one_run_at_once(project, params):
    run = made(params, evaluated=False)
    store, sent = Store(), []
    with (run.folder / ".mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        other = threading.Thread(target=lambda: sent.append(Sending(run.folder, store, params).send()))
        other.start()
        time.sleep(1)
        assert not sent and not read_state(run.folder)
    other.join(60)
    assert sent[0].status == "FINISHED" and read_state(run.folder)


def test_outside_a_repository_the_commit_is_unknown(project, params):
    run = made(params, evaluated=False)
    attempt = attempts.begin(run.folder, 0).model_copy(update={"commit": "unknown (not a git repository)"})
    tags = facts.tags(run, attempt, run.folder, params)
    assert tags["git_dirty"] == "unknown" and "mlflow.source.git.commit" not in tags
    tags = facts.tags(run, attempt.model_copy(update={"commit": "abc-dirty"}), run.folder, params)
    assert (tags["git_commit"], tags["git_dirty"]) == ("abc", "true")


def test_every_run_says_what_it_serves(params):
    point = next(run for run in all_runs(params).values() if run.glat and run.glat.n == 3)
    tags = facts.tags(point, attempts.Attempt(id="x", run=point, started=0, commit="c"), Path("a"), params)
    assert (tags["variant"], tags["serves"]) == ("n3", "fig2a")


def test_an_experiment_has_a_view_of_each_result_and_a_changed_one_stays(project, params):
    store, _ = send(made(params, {}, evaluated=False), params)
    (experiment,) = [e for e in store.client.search_experiments() if e.name == "mini"]
    name = views.PREFIX + "glat-fig2a"
    packed = json.loads(experiment.tags[name])["state"].removeprefix("deflate;")
    state = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert state["compareRunCharts"][0]["xaxis"] == {"key": "glat.n", "type": "PARAM"}
    found = store.client.search_runs([experiment.experiment_id], state["searchFilter"])
    assert [run.info.run_name for run in found] == ["cnn10-glat-s0"]
    store.client.set_experiment_tag(experiment.experiment_id, name, "mine")
    views.ensure(store.client, experiment.experiment_id)
    assert store.client.get_experiment(experiment.experiment_id).tags[name] == "mine"


def test_a_training_that_was_not_followed_is_a_run_of_its_own(project, params):
    run = made(params)
    store, first = send(run, params)
    assert first.commit == "c0ffee" and first.environment["torch"] == "2.11.0"  # as its checkpoint has it
    settings = (run.folder / "config.yaml").read_text()
    (run.folder / "config.yaml").write_text(settings.replace("steps: 6", "steps: 7"))  # of the training that comes next
    assert send(run, params, store)[1] == first and told(store, run).data.params["training.steps"] == "6"
    (run.folder / "config.yaml").write_text(settings)
    (run.folder / "checkpoint.pt").write_bytes(b"another")
    assert send(run, params, store)[1].id != first.id
    assert "final/mAP" not in told(store, run).data.metrics, "scores of the weights before"
    make_run(run, Corpus())
    send(run, params, store)
    assert told(store, run).data.metrics["final/mAP"] == value(run)


def test_a_killed_training_that_ended_without_being_followed_is_finished(project, params):
    run = made(params)
    attempt = attempted(run, "KILLED")
    assert attempts.settle(run.folder).status == "KILLED", "the checkpoint there is of a training before"
    make_run(run, Corpus())
    store, settled = send(run, params)
    assert (settled.status, settled.id) == ("FINISHED", attempt.id)
    assert told(store, run).data.metrics["final/mAP"] == value(run)


def test_a_copy_of_a_run_is_not_a_second_run(project, params, tmp_path):
    """As `dvc pull` makes it elsewhere: its evaluation there adds to the run of its training."""
    run = made(params, evaluated=False)
    attempts.begin(run.folder, 0)
    (run.folder / "checkpoint.pt").write_bytes(b"weights")
    attempts.end(run.folder, "FINISHED")
    store, _ = send(run, params)
    first = told(store, run)
    for name in ("attempt.json", "mlflow.json"):
        (run.folder / name).unlink()
    make_run(run, Corpus(), checkpoint=digest(run.folder / "checkpoint.pt"))
    (run.folder / "checkpoint.pt").write_bytes(b"weights")
    send(run, params, store)
    again = told(store, run)
    assert again.info.run_id == first.info.run_id and again.data.metrics["final/mAP"] == value(run)
    assert len(store.client.get_metric_history(again.info.run_id, "train/loss_global")) == 3
    assert len(store.client.search_runs([again.info.experiment_id])) == 1


def test_one_run_that_cannot_be_sent_does_not_keep_back_the_others(project, params):
    bad, good = made(params), made(params, {})
    (bad.folder / "attempt.json").write_text("half of")
    done = glat("track", "sync", cwd=project, params={"tracking.models": []})
    assert done.returncode == 1 and "attempt.json: damaged; delete it" in done.stderr
    assert f"{good.folder}: finished" in done.stdout and "1 of 2 runs were not sent" in done.stderr


def test_a_file_that_is_only_touched_is_not_sent_again_of_a_dataset_either_that_a_configfile_had(project, params):
    params = params.model_copy(update={"tracking": params.tracking.model_copy(update={"models": ["table1"]})})
    run = make_whole_run(resolve(params, "cnn10", 0).model_copy(update={"dataset": "esc10"}))
    store, attempt = send(run, params)
    sent = told(store, run).data
    assert attempt.status == "FINISHED" and sent.tags["dataset"] == "esc10" and "final/mAP" in sent.metrics
    assert sent.tags["serves"] == "nothing that params.yaml asks for"
    before = state(run, store)
    os.utime(run.folder / "metrics.json", (1, 2_000_000_000))
    send(run, params, store)
    assert state(run, store) == before


def state(run, store):
    """What the server has, but the dates of the files that it has."""
    return {key: value for key, value in read_state(run.folder)[store.name].items() if key != "all_of"}


def test_git_ignores_what_tracking_makes():
    names = ["mlflow.db", ".mlflow.db.lock", "mlruns/x", "runs/mini/a/mlflow.json"]
    call = ["git", "check-ignore", "--no-index", *names]
    assert subprocess.run(call, cwd=ROOT, check=False, capture_output=True, text=True).stdout.split() == names

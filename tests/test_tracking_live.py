"""Tracking of real trainings: live, killed, resumed, never slowed, and the network served over HTTP."""

import base64
import csv
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import TINY
from data_fixtures import written
from made_runs import value
from test_tracking import free_port, stop, wait_for

from glat.config.params import load
from glat.config.runs import resolve, write_run
from glat.data.packs.read import Packs
from glat.lib.errors import GlatError
from glat.lib.logs import SENDER
from glat.scoring import evaluation
from glat.tracking import sender
from glat.tracking.following import follow
from glat.tracking.send import Sending, read_state
from glat.tracking.sender import send_now
from glat.tracking.store import Store
from glat.training import attempt as attempts, checkpoints, fit
from glat.training.watch import Watch, looks
from glat.use.tagging import load as load_tagger

pytestmark = pytest.mark.usefixtures("database")
STEPS = 40
SETTINGS = TINY | {
    "datasets.mini.training": TINY["datasets.mini.training"] | {"steps": STEPS},
    "datasets.mini.execution": {"checkpoint_every": 10, "log_every": 10},
    "tracking.watch": 0.5,
}


@pytest.fixture
def project(corpus_project, monkeypatch):
    """`corpus_project`, with the project's settings cut down to it."""
    monkeypatch.setenv("GLAT_SETTINGS", json.dumps(SETTINGS))
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "1")
    return corpus_project


def configured(glat=None, **settings):
    run = resolve(load("params.yaml", SETTINGS), "cnn10", 0, glat)
    run = run.model_copy(update={"training": run.training.model_copy(update=settings)})
    write_run(run, run.folder / "config.yaml")
    return run


def train(run):
    """A training as the workflow starts it."""
    call = [sys.executable, "-m", "glat.cli", "train", str(run.folder / "config.yaml"), "--threads", "1"]
    return subprocess.Popen(call, env=os.environ | {"GLAT_RULE": "train"}, stderr=subprocess.PIPE, text=True)


def sync(*arguments):
    call = [sys.executable, "-m", "glat.cli", "track", "sync", *arguments]
    return subprocess.run(call, check=False, capture_output=True, text=True)


def train_here(run):
    params = load("params.yaml", SETTINGS)
    with follow(run, run.folder, params) as callbacks:
        fit.train(run, run.folder, execution=params.execution_of("mini"), threads=1, callbacks=callbacks)


def until(ready, seconds=300):
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.05)
    return found


def followed(run):
    """The MLflow run of a run as it is now; None before there is one."""
    state = list(read_state(run.folder).values())
    if not state:
        return None
    store = Store()
    found = store.client.get_run(state[0]["run_id"])
    found.history = lambda key: store.client.get_metric_history(found.info.run_id, key)
    return found


def sent(run, status):
    return until(lambda: (found := followed(run)) and found.info.status == status and found)


def test_a_killed_training_ends_as_killed_and_goes_on_in_the_same_run(project):
    run = configured(steps=4 * STEPS)  # so many that it is still training when MLflow is imported
    process = train(run)
    until(lambda: process.poll() is not None or ((run.folder / "resume.ckpt").exists() and followed(run)))
    assert process.poll() is None, "it ended before it could be killed"
    process.kill()
    process.communicate()
    assert followed(run).info.status == "RUNNING"  # nobody is left who would say so
    assert sync().returncode == 0
    killed = sent(run, "KILLED")
    process = train(run)
    assert process.wait() == 0, process.stderr.read()
    done = sent(run, "FINISHED")
    assert done.info.run_id == killed.info.run_id and done.data.tags["snakemake_rule"] == "train"
    assert len(done.data.tags["data_hash"]) == 32 and done.inputs.dataset_inputs[0].dataset.name == "mini"
    with (run.folder / "train.csv").open() as file:
        kept = [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]
    assert [(m.step, m.value) for m in done.history("train/loss")] == kept and len(kept) == 4 * STEPS // 10
    watched = done.history("validation/mAP_fused")
    assert [m.step for m in watched] == looks(run, 64, 0.5) and all(0 <= m.value <= 1 for m in watched)
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_percentage"} <= done.data.metrics.keys()
    assert "torch 2." in done.data.tags["versions"] and "cores" in done.data.tags["hardware"]
    trained = checkpoints.read(run.folder / "checkpoint.pt")["trained"]
    assert done.data.tags["git_commit"] == trained["commit"].removesuffix("-dirty")
    assert {"train/learning_rate", "train/gradient_norm", "train/clips_per_second"} <= done.data.metrics.keys()


def test_a_failed_training_ends_as_failed_with_its_sentence(project):
    run = configured(learning_rate=1e30, gradient_clip=None, warmup=0)
    with pytest.raises(GlatError):
        train_here(run)
    found = sent(run, "FAILED")
    assert "learning\\_rate" in found.data.tags["mlflow.note.content"]  # as Markdown


def hanging(monkeypatch):
    """A server that takes connections, and never answers."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
    return server


def test_a_server_that_hangs_neither_stops_nor_slows_a_training_or_an_evaluation(project, monkeypatch, capsys):
    run = configured(steps=20)
    monkeypatch.setattr(sender, "PATIENCE", 2.0)
    with hanging(monkeypatch):
        train_here(run)
        assert attempts.read(run.folder).status == "FINISHED" and (run.folder / "checkpoint.pt").exists()
        assert "MLflow lacks something of it; `glat track sync` sends it" in capsys.readouterr().err
        begun = time.monotonic()
        send_now(run.folder, load("params.yaml", SETTINGS))  # as an evaluation does
        assert time.monotonic() - begun < 3
    for thread in threading.enumerate():  # the process would have ended, and they with it
        if thread.name == SENDER:
            thread.join()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    Sending(run.folder, Store(), load("params.yaml", SETTINGS)).send()  # all of it goes to another server
    found = followed(run)
    assert found.info.status == "FINISHED" and [m.step for m in found.history("train/loss")] == [10, 20]


def test_to_watch_a_training_changes_nothing_of_it(project):
    weights = []
    for name, watched in (("a", False), ("b", True)):
        run = configured({"selection": "random"}, steps=12, mixup_alpha=1.0)
        run = run.model_copy(update={"dropout": 1.0})
        packs = [f"data/mini/packs/eval/{shard:03d}.h5" for shard in range(1)]
        watch = Watch(run, project / name, packs, 4.0)
        fit.train(run, project / name, threads=1, callbacks=[watch] if watched else [])
        weights.append(checkpoints.read(project / name / "checkpoint.pt")["model"])
        assert not watched or len(watch.rows) == len(watch.steps) > 0
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_what_cannot_be_watched_or_noted_stops_no_training(project, capsys):
    run = configured(steps=6)
    watch = Watch(run, run.folder, ["nowhere.h5"], 16.0)
    with follow(run, run.folder, load("params.yaml", SETTINGS | {"tracking.watch": 0})) as callbacks:
        fit.train(run, run.folder, threads=1, callbacks=[*callbacks, watch])
        (run.folder / "attempt.json").write_text("half of")
    told = capsys.readouterr().err
    assert told.count("mAP is not watched: nowhere.h5: no such pack") == 1
    assert "not noted for MLflow" in told and "attempt.json: damaged; delete it" in told
    assert (run.folder / "checkpoint.pt").exists()


def test_a_run_of_a_fold_that_is_no_more_is_trained_without_being_watched(project, capsys):
    run = configured(steps=6).model_copy(update={"fold": "fold9"})
    with follow(run, run.folder, load("params.yaml", SETTINGS)) as callbacks:
        assert len(callbacks) == 1
    assert "evaluated on fold9, which is not one of datasets.mini.splits" in capsys.readouterr().err


def ask(address, body, headers=None):
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        text = answer.read().decode()
    assert "NaN" not in text  # which is not JSON
    return json.loads(text)["predictions"]


def refusal(address, body):
    """Why the server does not answer."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(address, body)
    assert refused.value.code == 400
    return json.loads(refused.value.read())["message"].partition("Error: ")[2]  # before it is what was sent


def test_the_logged_network_is_served_and_tags_as_glat_tag_does(project, tmp_path):
    run = configured({}, steps=6)
    fit.train(run, run.folder, threads=1)
    params = load("params.yaml", SETTINGS)
    evaluation.evaluate(run.folder / "checkpoint.pt", ["data/mini/packs/eval/000.h5"], params.evaluation, run.folder)
    Sending(run.folder, Store(), params).send()
    found, packs = followed(run), Packs("data/mini/packs/eval/000.h5")
    sound = packs.read([3])[0][:160000]
    soundfile.write("sound.wav", sound, 32000, subtype="FLOAT")
    tagger = load_tagger(run.folder)
    expected = [one[1:4] for one in tagger.tag("sound.wav", 3)]
    scores = [one.score for one in tagger.tag("sound.wav", 3)]
    events = [one[1:4] for one in tagger.tag("sound.wav", events=True, threshold=0.4)]
    port = free_port()
    call = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--port", str(port)]
    call += ["-m", f"models:/{read_state(run.folder)[Store().name]['model_id']}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"  # MLflow calls its server by name
    server = subprocess.Popen(call, start_new_session=True, env=environment, **quiet)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/ping", server, 120)
        content = base64.b64encode(Path("sound.wav").read_bytes()).decode()
        for record in ({"audio": content}, {"waveform": sound.tolist()}):
            answer = ask(f"{address}/invocations", {"dataframe_records": [record], "params": {"top": 3}})
            assert [(row["start"], row["end"], row["label"]) for row in answer] == expected
            assert [row["score"] for row in answer] == pytest.approx(scores, abs=1e-5)
        asked = {"events": True, "threshold": 0.4}
        answer = ask(f"{address}/invocations", {"dataframe_records": [{"audio": content}], "params": asked})
        assert [(row["start"], row["end"], row["label"]) for row in answer] == events
        # A path is no sound, whether it is there or not; an hour of silence is more than one may ask for.
        bomb = written(np.zeros(3600 * 8000, np.int16), 8000, kind="FLAC")
        rows = [{"file": "nowhere.wav"}, {"file": str(tmp_path / "sound.wav")}]
        rows += [{"audio": base64.b64encode(bomb).decode()}]
        told = [refusal(f"{address}/invocations", {"dataframe_records": [row]}) for row in rows]
        assert told[0] == told[1] and "give one of waveform, audio" in told[0]
        assert "longer than the 600 s of sound that one request may have" in told[2]
    finally:
        stop(server)
    assert found.data.metrics["final/mAP"] == value(run)

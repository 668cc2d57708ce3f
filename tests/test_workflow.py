"""The pipeline end to end through real Snakemake, on a tiny corpus; then what an edit, a kill and a second run do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pandas as pd
import pytest
import yaml
from conftest import ROOT

SHARDS = ["train/000", "train/001", "eval/000"]


def environment(project):
    """The copy's own glat goes before the installed one, so that an edit to the copy is what runs."""
    return os.environ | {"PYTHONPATH": str(project), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def snakemake(project, *arguments, check=True):
    call = [sys.executable, "-m", "snakemake", *arguments]
    done = subprocess.run(call, cwd=project, env=environment(project), check=False, capture_output=True, text=True)
    assert not check or done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done


def copy_of_the_project(folder):
    for name in ("glat", "workflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "environment.yml"):
        shutil.copy(ROOT / name, folder / name)
    settings = yaml.safe_load((ROOT / "params.yaml").read_text())
    settings |= {"backbones": ["cnn10"]}
    settings["evaluation"]["resamples"] = 50
    mini = settings["datasets"]["mini"]
    mini |= {"splits": {"train": 20, "eval": 10}, "shard_size": 10}
    mini["training"] |= {"steps": 6, "batch_size": 4, "checkpoint_every": 2, "log_every": 2}
    (folder / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A copy of the project in which Table 1 was made; the making was killed once, in its middle."""
    project = copy_of_the_project(tmp_path_factory.mktemp("project"))
    call = [sys.executable, "-m", "snakemake", "packs", "--cores", "8"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first = subprocess.Popen(call, cwd=project, env=environment(project), start_new_session=True, **quiet)
    deadline = time.monotonic() + 120
    while not any(project.glob("data/mini/audio/*/000/*.m4a")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert not list(project.glob("data/mini/packs/*/*.h5"))
    snakemake(project, "--unlock")
    snakemake(project, "results/table1.csv", "results/table1.md", "--cores", "8")
    return project


def reruns(project, *arguments):
    """The rules that a dry run would run."""
    out = snakemake(project, "-n", "--cores", "2", *arguments).stdout
    lines = out.partition("Job stats:")[2].partition("total")[0].split("\n")[3:]
    return {line.split()[0] for line in lines if line.strip()}


def test_table_1_is_made_from_the_runs_metrics(finished):
    table = pd.read_csv(finished / "results/table1.csv")
    assert table["method"].tolist() == ["CNN10", "CNN10 + GL-AT"]
    for row in table.to_dict("records"):
        name = "cnn10-glat-s0" if row["glat"] else "cnn10-s0"
        metrics = json.loads((finished / f"runs/mini/{name}/metrics.json").read_text())
        assert row["mAP"] == pytest.approx(metrics["streams"]["fused"]["mAP"]["value"], abs=1e-6)
        assert row["evaluation_clips"] == 10 and row["seeds"] == 1 and row["dataset"] == "mini"
    assert (finished / "results/table1.csv").read_bytes() == (finished / "results/mini/table1.csv").read_bytes()
    assert "AudioSet" in (finished / "results/table1.md").read_text()


def test_packs_hold_all_clips_and_resampled_audio_is_gone(finished):
    for shard in SHARDS:
        with h5py.File(finished / f"data/mini/packs/{shard}.h5") as pack:
            assert pack["waveform"].shape == (10, 320000) and pack["waveform"].chunks == (1, 320000)
        assert pd.read_csv(finished / f"data/mini/packs/{shard}.ledger.csv").empty
    assert not list(finished.glob("data/mini/resampled/*/*"))


def test_a_run_s_folder_explains_itself(finished):
    names = {path.name for path in (finished / "runs/mini/cnn10-glat-s0").iterdir()}
    assert names - {".lock"} == {
        "config.yaml",
        "checkpoint.pt",
        "train.csv",
        "predictions.h5",
        "per_class.csv",
        "metrics.json",
    }


def test_after_a_full_run_there_is_nothing_to_do(finished):
    done = snakemake(finished, "-n", "--cores", "2")
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_touched_source_reruns_nothing_and_an_edited_model_reruns_training_but_not_packing(finished):
    source = finished / "glat/models/cnn10.py"
    before = source.read_text()
    source.touch()
    assert reruns(finished) == set()
    try:
        source.write_text(before + "\n# edited\n")
        assert reruns(finished) == {"train", "train_glat", "evaluate", "table1", "chosen", "all"}
    finally:
        source.write_text(before)


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ("evaluation={resamples: 20}", {"evaluate", "table1", "chosen", "all"}),
        ("glat={n: 4}", {"configure", "train_glat", "evaluate", "table1", "chosen", "all"}),
        ("seeds=[0, 1]", {"configure", "train", "train_glat", "evaluate", "table1", "chosen", "all"}),
    ],
)
def test_a_changed_setting_reruns_what_depends_on_it(finished, change, rules):
    assert reruns(finished, "--config", change) == rules


@pytest.mark.parametrize(("dataset", "shards"), [("audioset_balanced", 2), ("audioset", 43)])
def test_the_presets_for_the_real_audioset_give_the_right_jobs(tmp_path, dataset, shards):
    project = copy_of_the_project(tmp_path)
    out = snakemake(project, "results/table1.csv", "-n", "--cores", "8", "--config", f"dataset={dataset}")
    jobs = dict(
        line.split() for line in out.stdout.partition("Job stats:")[2].split("\n")[3:] if len(line.split()) == 2
    )
    assert (int(jobs["download"]), int(jobs["resample"]), int(jobs["pack"])) == (shards,) * 3
    assert (int(jobs["train"]), int(jobs["train_glat"]), int(jobs["evaluate"])) == (1, 1, 2)


def test_a_wrong_setting_stops_before_any_job(tmp_path):
    project = copy_of_the_project(tmp_path)
    done = snakemake(project, "-n", "--config", "glat={tau: -1}", check=False)
    assert done.returncode != 0
    assert "glat.tau: '-1' is not allowed" in done.stdout + done.stderr


def test_lint_is_clean():
    done = snakemake(ROOT, "--lint")
    assert "good condition" in done.stdout + done.stderr

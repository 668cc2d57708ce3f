"""The pipeline end to end through real Snakemake, on a tiny corpus; then what an edit, a kill and a second run do."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import h5py
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from tiny_project import copy_of_the_project, environment, reruns, snakemake

SHARDS = ["train/000", "train/001", "eval/000"]
TABLE1 = "results/table1.csv"


@pytest.fixture(scope="module")
def finished(made_project, tmp_path_factory):
    """A copy of the project in which everything was made."""
    return shutil.copytree(made_project, tmp_path_factory.mktemp("finished") / "project", symlinks=True)


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


def test_everything_is_made_and_shown_in_the_report(finished):
    names = {path.name for path in (finished / "results").iterdir() if path.is_file()}
    for stem, ends in {
        "table1": "csv md", "table2": "csv md", "fig2a": "csv svg png", "fig2b": "csv svg png", "pr_curves": "csv svg png",
        "controls": "csv md svg png", "localisation": "csv md svg png", "durations": "csv svg png", "report": "html",
        "detection": "csv svg png",
        "audit": "csv html",
        "training_table1": "svg png", "training_fig2": "svg png", "training_controls": "svg png",
    }.items():  # fmt: skip
        assert {f"{stem}.{end}" for end in ends.split()} <= names
    page = (finished / "results/report.html").read_text()
    assert "Not made" not in page and len(list(finished.glob("results/mini/clips/*.png"))) == 1
    assert pd.read_csv(finished / "results/localisation.csv")["covered_pairs"].iloc[-1] > 0
    windows = {"none", "attention", "random"} if find_spec("sed_scores_eval") else set()
    assert set(pd.read_csv(finished / "results/detection.csv")["windows"]) == windows
    controls = pd.read_csv(finished / "results/controls.csv")
    assert controls["mAP"].notna().all() and controls["missing"].isna().all()


def test_packs_hold_all_clips_and_resampled_audio_is_gone(finished):
    for shard in SHARDS:
        with h5py.File(finished / f"data/mini/packs/{shard}.h5") as pack:
            assert pack["waveform"].shape == (10, 320000) and pack["waveform"].chunks == (1, 320000)
        assert pd.read_csv(finished / f"data/mini/packs/{shard}.ledger.csv").empty
    assert not list(finished.glob("data/mini/resampled/*/*"))


def test_a_run_s_folder_explains_itself(finished):
    names = {path.name for path in (finished / "runs/mini/cnn10-glat-s0").iterdir()}
    assert names - {".lock"} == {
        "config.yaml", "checkpoint.pt", "train.csv", "predictions.h5", "influence.npz", "per_class.csv", "clips.txt",
        "metrics.json", "frames.h5",
    }  # fmt: skip


def test_after_a_full_run_there_is_nothing_to_do(finished):
    done = snakemake(finished, "-n", "--cores", "2")
    assert "Nothing to be done" in done.stdout + done.stderr
    assert "Using workflow specific profile profiles/default" in done.stdout + done.stderr


def test_a_touched_source_reruns_nothing_and_an_edited_model_reruns_training_but_not_packing(finished):
    source = finished / "glat/models/cnn10.py"
    before = source.read_text()
    source.touch()
    mine, other = finished / "glat/models/mine.py", finished / "glat/models/talnet.py"
    mine.write_text("from .backbone import Backbone\n")
    other.write_text(other.read_text() + "\nEDITED = True\n")
    assert reruns(finished) == set(), "a backbone that no run here has"
    mine.unlink()
    try:
        source.write_text(before + "\nEDITED = True\n")
        assert reruns(finished, TABLE1) == {"train", "train_glat", "evaluate_frames", "table1", "copy_result"}
        assert not reruns(finished) & {"metadata", "download", "resample", "pack"}
    finally:
        source.write_text(before)


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ("evaluation={confidence: 0.9}", {"evaluate_frames", "table1", "copy_result"}),
        ("glat={n: 4}", {"configure", "train_glat", "evaluate_frames", "table1", "copy_result"}),
        ("seeds=[0, 1]", {"configure", "train", "train_glat", "evaluate_frames", "table1", "copy_result"}),
    ],
)
def test_a_changed_setting_reruns_what_depends_on_it(finished, change, rules):
    assert reruns(finished, TABLE1, "--config", change) == rules


@pytest.mark.parametrize(("dataset", "shards"), [("audioset_balanced", 2), ("audioset", 43)])
def test_the_presets_for_the_real_audioset_give_the_right_jobs(tmp_path, dataset, shards):
    project = copy_of_the_project(tmp_path)
    out = snakemake(project, "results/table1.csv", "-n", "--cores", "8", "--config", f"dataset={dataset}")
    jobs = dict(
        line.split() for line in out.stdout.partition("Job stats:")[2].split("\n")[3:] if len(line.split()) == 2
    )
    assert (int(jobs["download"]), int(jobs["resample"]), int(jobs["pack"])) == (shards,) * 3
    assert (int(jobs["train"]), int(jobs["train_glat"]), int(jobs["evaluate_frames"])) == (1, 1, 2)


def test_a_wrong_setting_stops_before_any_job(tmp_path):
    project = copy_of_the_project(tmp_path)
    done = snakemake(project, "-n", "--config", "glat={tau: -1}", check=False)
    assert done.returncode != 0
    assert "glat.tau: -1 is not allowed" in done.stdout + done.stderr


def test_a_run_that_no_result_needs_is_one_sentence(tmp_path):
    done = snakemake(
        copy_of_the_project(tmp_path), "runs/mini/cnn11-s0/metrics.json", "-n", "--cores", "1", check=False
    )
    assert done.returncode != 0
    assert "params.yaml: no result of these settings needs a run cnn11-s0; " in done.stdout + done.stderr


def test_a_key_that_stands_twice_in_a_configfile_stops_before_any_job(tmp_path):
    project = copy_of_the_project(tmp_path)
    (tmp_path / "more.yaml").write_text("seeds: [1]\nbackbones: [cnn10]\nseeds: [2]\n")
    done = snakemake(project, "-n", "--configfile", str(tmp_path / "more.yaml"), check=False)
    assert done.returncode != 0
    assert "more.yaml: not valid YAML: line 3, column 1: a key that line 1 has already" in done.stdout + done.stderr


def test_a_list_with_its_checksum_is_noted_without_a_password(tmp_path):
    project = copy_of_the_project(tmp_path)
    settings = yaml.safe_load((project / "params.yaml").read_text())
    lists = {name: f"lists/{name}" for name in ("class_labels_indices.csv", "train_segments.csv")}
    checked = {"file": "https://me:s3cr3t@lists.example/eval.csv", "sha256": "0" * 64}
    settings["datasets"]["mini"] |= {
        "source": {"kind": "files", "audio": "."},
        "metadata": lists | {"eval_segments.csv": checked},
    }
    (project / "params.yaml").write_text(yaml.safe_dump(settings))
    done = snakemake(project, "data/mini/metadata", "-n", "--cores", "1")
    assert "rule metadata:" in done.stdout and "s3cr3t" not in done.stdout + done.stderr


def test_jobs_keep_compiled_modules_where_python_is_to_leave_none_beside_the_sources(tmp_path, monkeypatch):
    project = copy_of_the_project(tmp_path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    snakemake(project, "data/mini/metadata", "--cores", "1")
    kept = {path.name.partition(".")[0] for path in (project / ".snakemake/pycache").rglob("*.pyc")}
    assert {"params", "audioset"} <= kept and not list((project / "glat").rglob("*.pyc"))


def test_snakemake_runs_from_an_environment_that_is_not_activated(tmp_path):
    project = copy_of_the_project(tmp_path)
    outside = [f for f in os.environ["PATH"].split(os.pathsep) if not (Path(f) / "glat").exists()]
    call = [sys.executable, "-m", "snakemake", "runs/mini/cnn10-s0/config.yaml", "--cores", "1"]
    own = environment(project) | {"PATH": os.pathsep.join(outside)}
    assert shutil.which("glat", path=own["PATH"]) is None
    done = subprocess.run(call, cwd=project, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (project / "runs/mini/cnn10-s0/config.yaml").is_file()


def test_snakemake_looks_for_jobs_when_one_has_ended_and_not_all_the_time(tmp_path):
    """By its own default, each job that has ended makes it look once more every second while others wait."""
    hook = (ROOT / "Snakefile").read_text().partition("onstart:")[2].partition("onsuccess:")[0]
    rules = """
rule all:
    input: "longa", "longb"
rule long:
    input: [f"short{i}" for i in range(12)]
    output: "long{name}"
    threads: 2
    shell: "sleep 2; touch {output}"
rule short:
    output: "short{i}"
    shell: "touch {output}"
"""
    (tmp_path / "Snakefile").write_text(f"onstart:{hook}{rules}")
    told = snakemake(tmp_path, "--cores", "2", "--verbose").stderr
    assert 1 <= told.count("Ready jobs:") <= 15
    asked = snakemake(tmp_path, "--cores", "2", "--verbose", "--forceall", "--max-jobs-per-timespan", "90/1s").stderr
    assert asked.count("Ready jobs:") > 15  # a limit that somebody asks for is kept


def test_lint_is_clean():
    done = snakemake(ROOT, "--lint")
    assert "good condition" in done.stdout + done.stderr

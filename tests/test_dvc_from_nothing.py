"""`dvc repro` in a fresh clone makes what a stage needs, and an experiment there what it changes, and no more."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from test_dvc import RAN, dvc, git
from tiny_project import copy_of_the_project, reruns


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone of a repository in which nothing was made: CNN10 without and with GL-AT, one point of each sweep."""
    origin, clone = tmp_path_factory.mktemp("origin"), tmp_path_factory.mktemp("clone") / "project"
    copy_of_the_project(origin)
    settings = yaml.safe_load((origin / "params.yaml").read_text())
    settings["fig2"] |= {"n": [5], "tau": [3]}
    settings["controls"]["settings"] = []
    settings["datasets"]["mini"]["splits"] = {"train": 10, "eval": 10}  # a shard each
    (origin / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    git(origin, "init", "-q", "-b", "main")
    git(origin, "add", "-A")
    git(origin, "commit", "-qm", "the project")
    git(origin, "clone", "-q", ".", str(clone))
    return clone


def rules(done):
    """The rules that Snakemake ran."""
    return set(re.findall(r"^(?:local)?rule (\w+):", done.stdout + done.stderr, re.MULTILINE))


def test_repro_makes_a_stage_with_all_before_it_then_nothing_and_an_experiment_what_it_changes(clone):
    """Table 1 from lists on. The other results' stages are of the same form; `test_dvc` has all of them."""
    done = dvc(clone, "repro", "table1")
    assert (done.stdout + done.stderr).count(RAN) == len(["source", "packs", "train", "evaluate", "table1"])
    assert {"metadata", "pack", "train", "train_glat", "evaluate", "table1"} <= rules(done)
    for name in ("table1.md", "table1.csv", "metrics.json"):
        assert (clone / "results" / name).stat().st_size > 0
    assert reruns(clone, "results/table1.csv") == set()
    assert RAN not in dvc(clone, "repro", "table1").stdout
    assert git(clone, "status", "--porcelain") == "?? dvc.lock\n"
    git(clone, "add", "-A")
    git(clone, "commit", "-qm", "made")

    source = clone / "glat/results/tables.py"
    source.write_text(source.read_text() + "# edited\n")
    assert rules(dvc(clone, "repro", "table1")) == {"table1", "chosen", "record", "table1_record"}
    assert RAN not in dvc(clone, "repro", "table1").stdout

    before = {name: json.loads((clone / f"runs/mini/{name}/metrics.json").read_text()) for name in ("cnn10-s0",)}
    done = dvc(clone, "exp", "run", "--name", "three", "-S", "glat.n=3", "evaluate")
    assert "train_glat" in rules(done) and not rules(done) & {"metadata", "resample", "pack", "train"}
    made = json.loads((clone / "runs/mini/cnn10-glat-s0/metrics.json").read_text())
    assert made["glat"]["n"] == 3
    assert before["cnn10-s0"] == json.loads((clone / "runs/mini/cnn10-s0/metrics.json").read_text())
    shown = json.loads(dvc(clone, "exp", "show", "--json").stdout)
    (experiment,) = [one for entry in shown for one in entry["experiments"] or []]
    metrics = experiment["revs"][0]["data"]["metrics"]["results/metrics.json"]["data"]
    assert experiment["name"] == "three"
    assert metrics["cnn10-glat-s0"]["mAP"] == round(made["streams"]["fused"]["mAP"]["value"], 6)

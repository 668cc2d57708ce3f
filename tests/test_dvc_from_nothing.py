"""`dvc repro` in a fresh clone makes everything, stage by stage; an experiment there makes what it changes, and no more."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from test_dvc import RAN, STAGES, dvc, git
from tiny_project import copy_of_the_project, reruns


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone of a repository in which nothing was made: CNN10 without and with GL-AT, one point of each sweep."""
    origin, clone = tmp_path_factory.mktemp("origin"), tmp_path_factory.mktemp("clone") / "project"
    copy_of_the_project(origin)
    settings = yaml.safe_load((origin / "params.yaml").read_text())
    settings["fig2"] |= {"n": [5], "tau": [3]}
    settings["controls"]["settings"] = []
    (origin / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    git(origin, "init", "-q", "-b", "main")
    git(origin, "add", "-A")
    git(origin, "commit", "-qm", "the project")
    git(origin, "clone", "-q", ".", str(clone))
    return clone


def rules(done):
    """The rules that Snakemake ran."""
    return set(re.findall(r"^(?:local)?rule (\w+):", done.stdout + done.stderr, re.MULTILINE))


def test_repro_makes_everything_then_nothing_and_an_experiment_what_it_changes(clone):
    done = dvc(clone, "repro")
    assert (done.stdout + done.stderr).count(RAN) == len(STAGES)
    assert {"metadata", "pack", "audit", "train", "train_glat", "evaluate", "table1", "fig2a", "report"} <= rules(done)
    for name in ("table1.md", "table2.md", "fig2a.svg", "fig2b.svg", "controls.md", "metrics.json", "report.html"):
        assert (clone / "results" / name).stat().st_size > 0
    assert reruns(clone) == set()
    assert RAN not in dvc(clone, "repro").stdout
    assert git(clone, "status", "--porcelain") == "?? dvc.lock\n"
    git(clone, "add", "-A")
    git(clone, "commit", "-qm", "made")

    source = clone / "glat/results/fig2.py"
    source.write_text(source.read_text() + "# edited\n")
    assert rules(dvc(clone, "repro", "fig2")) == {"fig2a", "fig2b", "chosen", "record", "fig2_record"}
    assert RAN not in dvc(clone, "repro", "fig2").stdout

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

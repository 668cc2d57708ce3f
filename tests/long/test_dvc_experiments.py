"""An edit and experiments by DVC on a project in which everything was made."""

import json
import re
import shutil

from test_dvc import RAN, clone, recorded, stores  # noqa: F401 - fixtures
from tiny_project import contents, dvc, git


def rules(done):
    """The rules that Snakemake ran."""
    return set(re.findall(r"^(?:local)?rule (\w+):", done.stdout + done.stderr, re.MULTILINE))


def test_an_edit_and_an_experiment_in_the_workspace_make_what_they_change_and_no_more(recorded, tmp_path):  # noqa: F811
    project = shutil.copytree(recorded, tmp_path / "project", symlinks=True)
    source = project / "glat/results/tables.py"
    source.write_text(source.read_text() + "EDITED = True\n")
    assert rules(dvc(project, "repro", "table1")) == {"table1", "copy_result", "record", "table1_record"}
    assert RAN not in dvc(project, "repro", "table1").stdout

    before = contents(project)
    done = dvc(project, "exp", "run", "--name", "three", "-S", "fig2.n=[3]", "evaluate")
    assert "train_glat" in rules(done) and not rules(done) & {"metadata", "resample", "pack", "train"}
    made = json.loads((project / "runs/mini/cnn10-glat-n3-s0/metrics.json").read_text())
    assert made["glat"]["n"] == 3
    kept = {path for path in before if path.parts[-2] in ("cnn10-s0", "cnn10-glat-s0")}
    after = contents(project)
    assert kept and [before[path] for path in kept] == [after[path] for path in kept]
    shown = json.loads(dvc(project, "exp", "show", "--json").stdout)
    (experiment,) = [one for entry in shown for one in entry["experiments"] or []]
    metrics = experiment["revs"][0]["data"]["metrics"]["results/metrics.json"]["data"]
    assert experiment["name"] == "three"
    assert metrics["cnn10-glat-n3-s0"]["mAP"] == round(made["streams"]["fused"]["mAP"]["value"], 6)


def test_experiments_start_from_what_is_there_and_are_compared(clone):  # noqa: F811
    """A queue of experiments, each in a copy of the project of its own: a shorter sweep needs no training."""
    for name, change in (("shorter", "fig2.tau=[3]"), ("fewer", "controls.settings=[random]")):
        dvc(clone, "exp", "run", "--queue", "--name", name, "-S", change, "evaluate")
    done = dvc(clone, "exp", "run", "--run-all", "--jobs", "1")
    ran = rules(done)
    shown = json.loads(dvc(clone, "exp", "show", "--json").stdout)
    found = {one["name"]: one["revs"][0]["data"] for entry in shown for one in entry["experiments"] or []}
    assert found.keys() == {"shorter", "fewer"}
    data = found["shorter"]
    assert not ran & {"pack", "train", "train_glat", "evaluate"}
    assert data["params"]["params.yaml"]["data"]["fig2"]["tau"] == [3]
    runs = data["metrics"]["results/metrics.json"]["data"].keys()
    assert "cnn10-glat-s0" in runs and "cnn10-glat-tau2-s0" not in runs
    difference = json.loads(dvc(clone, "metrics", "diff", "HEAD", "shorter", "--json").stdout)
    assert {name.split(".")[0] for name in difference["results/metrics.json"]} == {"cnn10-glat-tau2-s0"}
    assert git(clone, "status", "--porcelain") == ""

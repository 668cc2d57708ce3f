"""A queue of DVC experiments on a project in which everything was made."""

import json

from test_dvc import clone, recorded, rules, stores  # noqa: F401 - fixtures
from tiny_project import dvc, git


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

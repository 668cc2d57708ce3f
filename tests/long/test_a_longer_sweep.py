"""A longer sweep of a project in which everything was made, and a training of it that fails."""

import shutil
import time

import pandas as pd
import pytest
from test_workflow import finished  # noqa: F401 - a fixture
from tiny_project import reruns, snakemake

from glat.tracking.store import Store


def test_a_longer_sweep_trains_only_the_new_points_and_a_failed_one_leaves_the_rest(finished, tmp_path):  # noqa: F811
    """Followed by MLflow, which the project of these tests is not: what is made already stays as it is."""
    project = shutil.copytree(finished, tmp_path / "copy", symlinks=True)
    cli = project / "glat/cli/training.py"  # no rule depends on it, so this makes one training fail and none run again
    fault = '    if "tau1-" in str(config):\n        raise GlatError("made to fail")\n'
    imports = "    from ..training import convergence, fit  # take"
    assert imports in cli.read_text()
    cli.write_text(cli.read_text().replace(imports, fault + imports))
    change = ["--config", "fig2={tau: [1, 2, 3, 4]}", "tracking={enabled: true}"]
    rerun = reruns(project, "results/fig2b.csv", *change)
    assert rerun == {"configure", "train_glat", "evaluate", "fig2b", "copy_result"}
    names = ("table1.csv", "fig2a.svg", "fig2b.csv", "report.html")
    before = [(project / "results/mini" / name).read_bytes() for name in names]
    done = snakemake(project, "--cores", "8", *change, check=False)
    assert done.returncode != 0 and "glat: made to fail" in done.stdout + done.stderr
    assert before == [(project / "results/mini" / name).read_bytes() for name in names]
    partial = project / "results/mini/partial"
    table = pd.read_csv(partial / "fig2b.csv").set_index("value")
    assert table.loc[1, "missing"] == "cnn10-glat-tau1-s0: made to fail" and table.loc[[2, 3, 4], "mAP"].notna().all()
    page = (partial / "report.html").read_text()
    assert "1 of 8 runs are missing" in page and "made to fail" in page
    tracked = followed(project)
    # Its own process sent the new one; the workflow sent at its end what was made while nothing was tracked.
    assert tracked.keys() == {path.parent.name for path in project.glob("runs/mini/*/checkpoint.pt")}
    told = tracked["cnn10-glat-tau4-s0"].data
    assert told.tags["snakemake_rule"] == "train_glat" and told.tags["versions"].startswith("python 3")
    assert told.metrics["final/mAP"] == pytest.approx(table.loc[4, "mAP"], abs=1e-6)
    assert reruns(project) == set()  # without the new point nothing is to be done


def followed(project):
    """The runs that MLflow knows, by name, once the scores of one are there."""
    store, deadline = Store(f"sqlite:///{project / 'mlflow.db'}"), time.monotonic() + 300
    while True:
        ids = [experiment.experiment_id for experiment in store.client.search_experiments()]
        runs = {run.info.run_name: run for run in store.client.search_runs(ids)}
        if any("final/mAP" in run.data.metrics for run in runs.values()) or time.monotonic() > deadline:
            return runs
        time.sleep(0.5)

"""A folder of recordings and a table of labels to a trained, evaluated and explained GL-AT, by three commands."""

import subprocess
import sys

import numpy as np
import pandas as pd
import soundfile
import yaml
from data_fixtures import tone
from test_table_source import NAMES, table
from tiny_project import copy_of_the_project, environment, run, snakemake


def test_three_commands_from_a_folder_to_an_explained_network(tmp_path):
    """As docs/own_sounds.md has them, in a copy of the project."""
    project = copy_of_the_project(tmp_path / "project")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(16):
        labels = [NAMES[i % 4], *([NAMES[(i + 1) % 4]] if i % 3 == 0 else [])]
        path = project / f"field recordings/day {i % 3}/rec {i:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(float(rng.uniform(1, 2.5)), 16000, 1, i).T, 16000)
        rows.append((f"day {i % 3}/rec {i:02d}.wav", ";".join(labels)))
    table(project / "labels.csv", rows, ("file", "labels"))
    call = [sys.executable, "-m", "glat.cli", "dataset", "new", "yard", "--audio", "field recordings", "--labels"]
    shown = run(project, *call, "labels.csv").stdout
    commands = [line.strip() for line in shown.splitlines() if line.startswith(("  snakemake", "  glat"))]
    assert commands[0] == "snakemake results/table1.csv --cores 8 --config dataset=yard"
    quick = ["training={steps: 4, batch_size: 4}", "execution={checkpoint_every: 2, log_every: 2}"]
    snakemake(project, "results/table1.csv", "--cores", "8", "--config", "dataset=yard", *quick)
    scores = pd.read_csv(project / "results/table1.csv")
    assert scores["method"].tolist() == ["CNN10", "CNN10 + GL-AT"] and scores["mAP"].between(0, 1).all()
    assert yaml.safe_load((project / "runs/yard/cnn10-glat-s0/config.yaml").read_text())["training"]["steps"] == 4
    explain = commands[1].replace("glat ", f"{sys.executable} -m glat.cli ", 1)
    subprocess.run(explain, shell=True, cwd=project, env=environment(project), check=True)
    assert list(project.glob("**/*rec*.png"))

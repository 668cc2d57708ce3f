"""ESC-50 from an archive on the web to Table 1, by the README's command: some minutes, so not among the tests that run
with each change (CONTRIBUTING.md)."""

import pandas as pd
import yaml
from archive_fixtures import OnShelf, Shelf, zipped
from data_fixtures import tone, written
from http_fixtures import served
from test_esc50 import HEADER
from tiny_project import copy_of_the_project, reruns, snakemake

from glat.data.sources.esc50 import CATEGORIES, NAMES


def test_from_an_archive_on_the_web_to_table_1(tmp_path):
    """The README's command, with a server on this machine in the place of GitHub's, in a copy of the project."""
    classes = [name for name in NAMES if CATEGORIES[name]][:10]
    rows, files = [], {}
    for fold in (1, 2):
        for number, category in enumerate(classes):
            for take in "AB":
                name = f"{fold}-{100 * fold + number}-{take}-{NAMES.index(category)}.wav"
                rows.append(f"{name},{fold},{NAMES.index(category)},{category},True,{100 * fold + number},{take}")
                sound = tone(1.0, 16000, 1, number) + 0.05 * tone(1.0, 16000, 1, 100 * fold + ord(take))
                files[f"ESC-50-master/audio/{name}"] = written(sound, 16000)
    files["ESC-50-master/meta/esc50.csv"] = "\n".join([HEADER, *rows, ""]).encode()
    with served(OnShelf, Shelf) as shelf:
        shelf.files = {"master.zip": zipped(files)}
        copy = copy_of_the_project(tmp_path / "project")
        settings = yaml.safe_load((copy / "params.yaml").read_text())
        settings["datasets"]["esc10"] |= {
            "source": {"kind": "esc50", "subset": "esc10", "file": shelf.place("master.zip")},
            "splits": {"fold1": 20, "fold2": 20}, "folds": ["fold1", "fold2"], "audio": {"clip_seconds": 1.0},
            "glat": {"n": 2, "tau": 0.7}, "hop": 640, "training": {"steps": 4, "batch_size": 4, "schedule": "cosine"},
        }  # fmt: skip
        (copy / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
        snakemake(copy, "results/table1.csv", "--cores", "8", "--config", "dataset=esc10")
        scores = pd.read_csv(copy / "results/table1.csv")
        assert scores["method"].tolist() == ["CNN10", "CNN10 + GL-AT"] and (scores["evaluation_clips"] == 40).all()
        assert scores["accuracy"].between(0, 1).all() and (scores["folds"] == 2).all()
        assert not reruns(copy, "results/table1.csv", "--config", "dataset=esc10")

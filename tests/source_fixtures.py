"""A project of one tiny dataset whose audio comes from a source, and its steps, run as a user runs them."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from data_fixtures import CLASSES, tone
from typer.testing import CliRunner

from glat import cli
from glat.lib.errors import GlatError

RATE, SECONDS = 16000, 2.0
IDS = ["-a_1_20000x", "Ybcdefghijk", "c_12_34-567", "0123456789a", "eeeeeeeeeee", "fffffffffff"]


def segments(ids=IDS, start=30.0, seconds=SECONDS) -> pd.DataFrame:
    """Segments from `start` on, of labels that differ from each row to the next."""
    labels = [tuple(CLASSES["mid"][[i % 4, (i + 1) % 4][: 1 + i % 2]]) for i in range(len(ids))]
    return pd.DataFrame({
        "clip": [f"{youtube_id}_{round(start * 1000)}" for youtube_id in ids], "youtube_id": ids, "start": start,
        "end": start + seconds, "labels": pd.Series(labels, dtype=object),
    })  # fmt: skip


def sound(i: int, seconds: float = SECONDS, rate: int = RATE) -> np.ndarray:
    """(samples,) float32, of its own for each i."""
    return tone(seconds, rate, 1, seed=100 + i)[0]


def write_list(path: Path, rows: pd.DataFrame) -> None:
    lines = [f'{r.youtube_id},{r.start:.3f},{r.end:.3f},"{",".join(r.labels)}"' for r in rows.itertuples()]
    path.write_text("\n".join(["YTID,start_seconds,end_seconds,positive_labels", *lines]) + "\n")


def make_project(root: Path, source: dict, rows: pd.DataFrame | None = None, split: str = "eval") -> pd.DataFrame:
    """params.yaml and the lists of a dataset `tiny` with one split and shards of four clips; returns its segments."""
    rows = segments() if rows is None else rows
    lists = root / "lists"
    lists.mkdir()
    CLASSES.to_csv(lists / "class_labels_indices.csv", index=False)
    write_list(lists / f"{split}_segments.csv", rows)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["datasets"] = {
        "tiny": params["datasets"]["mini"] | {
            "source": source, "metadata": "lists", "classes": len(CLASSES), "shard_size": 4,
            "splits": {split: len(rows)}, "train": [split], "evaluate": [split],
        }
    }  # fmt: skip
    params |= {"dataset": "tiny", "backbones": ["cnn10"]}
    params["audio"] |= {"sample_rate": RATE, "clip_seconds": SECONDS}
    params["glat"] |= {"n": 2, "tau": 1.0}
    params["fig2"] |= {"n": [1, 2], "tau": [1]}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    return rows


def step(*arguments) -> str | None:
    """Run a subcommand in this process; returns its GlatError's sentence, or None."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["glat", *map(str, arguments)])
        result = CliRunner().invoke(cli.app, list(map(str, arguments)))
    assert isinstance(result.exception, GlatError | None), result.exception
    # Where several lists are wrong, each has its line.
    assert "\n" not in str(result.exception).replace("datasets.*.metadata\n", "")
    return None if result.exception is None else str(result.exception)


def all_steps(root: Path, shards: int = 2, split: str = "eval", *options: str) -> list[Path]:
    """From the lists to the packs; returns their paths."""
    assert step(*options, "metadata") is None
    for shard in range(shards):
        for name in ("download", "resample", "pack"):
            assert step(*options, name, split, shard) is None
    return [root / f"data/tiny/packs/{split}/{shard:03d}.h5" for shard in range(shards)]


def ledger(root: Path, split: str = "eval") -> dict[str, str]:
    """Clip and reason of all that was lost."""
    tables = [pd.read_csv(path) for path in sorted((root / f"data/tiny/packs/{split}").glob("*.ledger.csv"))]
    return dict(pd.concat(tables)[["clip", "reason"]].itertuples(index=False))

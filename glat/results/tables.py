"""Table 1 of the paper, from the metrics files of its runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import GlatError
from ..files import whole
from ..registry import BACKBONES
from . import published

METRICS = ("mAP", "mAUC", "d_prime")


def read_metrics(path: str | Path) -> dict[str, Any]:
    """One run's metrics.json. Raises GlatError if it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise GlatError(f"{path}: no such file; evaluate the run first") from None
    except json.JSONDecodeError:
        raise GlatError(f"{path}: damaged; evaluate the run again") from None


def table1(metrics: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a method: a backbone without or with GL-AT, over all seeds that it was trained with.

    Columns: the fused score's mAP, mAUC and d', each with `_low` and `_high`, its bootstrap interval over clips (the
    mean of the seeds' bounds), and `_std`, its standard deviation over seeds (empty for one seed); `seeds`,
    `collapsed` (how many seeds scored all clips the same), `evaluation_clips`, `classes_scored`, `dataset`, `parameters`; and what the paper prints for AudioSet:
    `paper_audioset_*` (the backbone's own publication, or the paper's GL-AT) and `paper_reproduced_audioset_*`.

    Raises:
        GlatError: the runs were not evaluated on the same number of clips of one dataset, or one run is there twice.
    """
    frame = pd.DataFrame(
        {
            "backbone": m["backbone"], "glat": m["glat"] is not None, "seed": m["seed"], "dataset": m["dataset"],
            "run": m["run"], "clips": m["clips"], "classes_scored": m["classes_scored"], "parameters": m["parameters"], "collapsed": m["collapsed"],
            **{f"{k}{e}": m["streams"]["fused"][k][f] for k in METRICS for e, f in (("", "value"), ("_low", "low"), ("_high", "high"))},
        }
        for m in metrics
    )  # fmt: skip
    for column in ("dataset", "clips", "classes_scored"):
        if len(values := frame[column].unique()) > 1:
            raise GlatError(
                f"table 1: runs of different {column} can't stand in one table: {', '.join(map(str, values))}"
            )
    if twice := frame.loc[frame.duplicated(["backbone", "glat", "seed"]), "run"].tolist():
        raise GlatError(f"table 1: {twice[0]} is there twice, or with two settings of GL-AT")
    rows = []
    for (backbone, glat), group in frame.groupby(["backbone", "glat"], sort=False):
        title = BACKBONES[backbone].title + (" + GL-AT" if glat else "")
        row: dict[str, Any] = {"method": title, "backbone": backbone, "glat": glat}
        for metric in METRICS:
            for column in (metric, f"{metric}_low", f"{metric}_high"):
                row[column] = group[column].astype(float).mean()
            row[f"{metric}_std"] = group[metric].astype(float).std(ddof=1)
        row |= {
            "seeds": len(group),
            "collapsed": int(group["collapsed"].sum()),
            "evaluation_clips": group["clips"].iloc[0],
        }
        row |= {column: group[column].iloc[0] for column in ("classes_scored", "dataset", "parameters")}
        for prefix, scores in (
            ("paper_audioset", published.WITH_GLAT if glat else published.ORIGINAL),
            ("paper_reproduced_audioset", {} if glat else published.REPRODUCED),
        ):
            for metric in METRICS:
                row[f"{prefix}_{metric}"] = getattr(scores.get(backbone), metric, None)
        rows.append(row)
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame, confidence: float) -> str:
    """Table 1 in the paper's own layout, with the published AudioSet values in columns of their own."""
    first = table.iloc[0]
    seeds = sorted(table["seeds"].unique())
    several = seeds[-1] > 1
    measured = (
        f"Measured here: {first['evaluation_clips']} evaluation clips, {first['classes_scored']} classes with a positive, "
        f"{'/'.join(map(str, seeds))} seed{'s' if several else ''} a row. In brackets: the {confidence:.0%} bootstrap "
        "interval over clips; "
        + (
            "after ±: the standard deviation over seeds."
            if several
            else "one seed says nothing about the spread over seeds."
        )
    )
    paper_says = (
        "The last three columns are what the paper prints for **AudioSet** (original / reproduced by its authors): another "
        "corpus and another size of network, to be compared in direction only."
    )
    lines = [
        f"# Table 1 on `{first['dataset']}`",
        "",
        measured,
        "",
        paper_says,
        "",
        "| Method | mAP | mAUC | d′ | parameters | paper, AudioSet: mAP | mAUC | d′ |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in table.to_dict("records"):
        ours = []
        for metric in METRICS:
            spread = f" ± {row[f'{metric}_std']:.3f}" if row["seeds"] > 1 else ""
            low, high = _text(row[f"{metric}_low"]), _text(row[f"{metric}_high"])
            ours.append(f"{_text(row[metric])}{spread} [{low}, {high}]")
        paper = [
            " / ".join(
                _text(row[f"{p}_{metric}"])
                for p in ("paper_audioset", "paper_reproduced_audioset")[: 1 if row["glat"] else 2]
            )
            for metric in METRICS
        ]
        lines.append("| " + " | ".join([row["method"], *ours, f"{row['parameters']:,}", *paper]) + " |")
    if collapsed := table.loc[table["collapsed"] > 0, "method"].tolist():
        lines += ["", f"**Collapsed** (all clips scored the same in at least one seed): {', '.join(collapsed)}."]
    return "\n".join(lines) + "\n"


def _text(value: float | None) -> str:
    return "–" if value is None or pd.isna(value) else f"{value:.3f}"


def write_table1(metrics: list[str], csv: str | Path, md: str | Path) -> None:
    """Read metrics files and write Table 1 as CSV and as Markdown."""
    read = [read_metrics(path) for path in metrics]
    table = table1(read)
    with whole(md) as part:
        part.write_text(markdown(table, read[0]["evaluation"]["confidence"]))
    with whole(csv) as part:
        table.to_csv(part, index=False, float_format="%.6f")

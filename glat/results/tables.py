"""Table 1 and Table 2 of the paper, from the metrics files of their runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from ..config import experiments
from ..config.params import Params
from ..config.systems import TWO_NETWORKS, System
from ..lib.files import whole
from ..scoring.predictions import METRICS
from . import published, text
from .columns import score_columns
from .measured import Measured, confidence, read, same_clips
from .verdicts import comparison_columns, decide

AUDIOSET = (
    "The paper's columns are for **AudioSet**{}: another corpus and networks of another size, so compare the direction "
    "of differences only."
)


def table1(systems: list[Measured]) -> pd.DataFrame:
    """One row per method, over its seeds: a backbone without or with GL-AT, or two networks on the whole clip.

    Columns: those of `columns.score_columns`; `vs_alone`, `vs_alone_mAUC` and `vs_alone_d_prime`, the method minus its
    backbone alone, paired, each with interval, p, corrected p and verdict; `vs_glat*`, two networks on the whole clip
    minus GL-AT; `multiply_adds_per_clip`; and the scores in the paper, on AudioSet: `paper_audioset_*` (from the
    backbone's own publication, or of GL-AT) and `paper_reproduced_audioset_*`.

    Raises:
        GlatError: the runs were not evaluated on the same clips.
    """
    same_clips(systems)
    alone = {one.first["backbone"]: one for one in systems if one.first["glat"] is None}
    with_glat = {one.first["backbone"]: one for one in systems if one.first["glat"] and not one.system.control}
    rows = []
    for one in systems:
        backbone, second = one.first["backbone"], one.first["glat"] is not None
        two = one.system.control == TWO_NETWORKS
        row: dict[str, Any] = {"method": one.system.label, "backbone": backbone, "glat": second and not two}
        row |= score_columns(one)
        row |= comparison_columns("vs_alone", one, alone[backbone])
        row |= comparison_columns("vs_glat", one, with_glat[backbone] if two else None)
        row["multiply_adds_per_clip"] = one.mean("cost", "multiply_adds_per_clip")
        for prefix, scores in (
            ("paper_audioset", {} if two else published.WITH_GLAT if second else published.ORIGINAL),
            ("paper_reproduced_audioset", {} if second else published.REPRODUCED),
        ):
            for metric in METRICS:
                row[f"{prefix}_{metric}"] = getattr(scores.get(backbone), metric, None)
        rows.append(row)
    return decide(rows, confidence(systems))


def markdown1(table: pd.DataFrame, confidence: float) -> str:
    """Table 1 in the paper's layout, with the published scores on AudioSet in columns of their own."""
    rows = table.to_dict("records")
    metrics = [*METRICS, *(["accuracy"] if "accuracy" in table and table["accuracy"].notna().all() else [])]
    lines = []
    for row in rows:
        prefixes = ["paper_audioset"] if row["glat"] else ["paper_audioset", "paper_reproduced_audioset"]
        paper = [" / ".join(text.number(row[f"{p}_{metric}"]) for p in prefixes) for metric in METRICS]
        ours = [text.score(row, metric) for metric in metrics]
        name = text.with_mark(row["method"], row)
        lines.append([name, *ours, text.difference(row, "vs_alone"), f"{row['parameters']:,}", *paper])
    names = ["mAP", "mAUC", "d′", "accuracy"][: len(metrics)]
    header = ["Method", *names, "mAP minus the backbone's alone", "parameters"]
    parts = [
        f"# Table 1 on `{rows[0]['dataset']}`",
        text.conditions(rows, confidence, set(table["seeds"])),
        text.DIFFERENCES,
        AUDIOSET.format(" (original / reproduced by its authors)"),
        text.markdown([*header, "paper, AudioSet: mAP", "mAUC", "d′"], lines).rstrip(),
    ]
    parts += text.mark_notes(rows)
    parts += [two_networks_sentence(table, row) for row in rows if TWO_NETWORKS in row["method"]]
    if collapsed := table.loc[table["collapsed"] > 0, "method"].tolist():
        parts.append(f"**Collapsed** (all clips scored the same in at least one seed): {', '.join(collapsed)}.")
    return "\n\n".join(parts) + "\n"


def two_networks_sentence(table: pd.DataFrame, two: dict[str, Any]) -> str:
    """A row of Table 1, two networks on the whole clip, compared with GL-AT in score and cost."""
    of = table[table["backbone"] == two["backbone"]]
    glat = of[of["glat"]].iloc[0]
    alone = of["multiply_adds_per_clip"].min()
    return (
        f"**{two['method']}** is GL-AT with one window as long as the clip: an ensemble of two that chooses no "
        f"windows. It costs {two['multiply_adds_per_clip'] / alone:.2f} times the multiply-adds of the backbone "
        f"alone; {glat['method']} costs {glat['multiply_adds_per_clip'] / alone:.2f} times. Its mAP minus that of "
        f"{glat['method']}: {text.difference(two, 'vs_glat')}."
    )


def table2(systems: list[Measured]) -> pd.DataFrame:
    """The backbone alone, then GL-AT's global stream, local stream and both, from runs of Table 1.

    Columns: `method`; `global` and `local`, the streams that are scored; those of `columns.score_columns`;
    `vs_alone*`, minus the backbone alone, paired; and the paper's scores on AudioSet.

    Raises:
        GlatError: the runs were not evaluated on the same clips.
    """
    same_clips(systems)
    plain, rows = systems[0], []
    for one in systems:
        glat, stream = one.first["glat"] is not None, one.system.stream
        row: dict[str, Any] = {"method": one.system.label}
        row |= {"global": not glat or stream != "local", "local": glat and stream != "global"} | score_columns(one)
        row |= comparison_columns("vs_alone", one, plain)
        printed = published.TABLE2.get((one.first["backbone"], stream if glat else "alone"), (None, None))
        row |= {"paper_audioset_mAP": printed[0], "paper_audioset_mAUC": printed[1]}
        rows.append(row)
    return decide(rows, confidence(systems))


def markdown2(table: pd.DataFrame, confidence: float) -> str:
    """Table 2 in the paper's layout."""
    rows = table.to_dict("records")
    lines = [
        [
            text.with_mark(row["method"], row),
            *("✓" if row[stream] else "" for stream in ("global", "local")),
            *(text.score(row, metric) for metric in METRICS),
            text.difference(row, "vs_alone"),
            *(text.number(row[f"paper_audioset_{metric}"]) for metric in ("mAP", "mAUC")),
        ]
        for row in rows
    ]
    header = ["Method", "Global", "Local", "mAP", "mAUC", "d′", "mAP minus the backbone's alone"]
    parts = [
        f"# Table 2 on `{rows[0]['dataset']}`",
        text.conditions(rows, confidence, set(table["seeds"])),
        text.DIFFERENCES,
        AUDIOSET.format(""),
        text.markdown([*header, "paper, AudioSet: mAP", "mAUC"], lines).rstrip(),
        *text.mark_notes(rows),
    ]
    return "\n\n".join(parts) + "\n"


def write_table1(params: Params, folder: Path) -> None:
    """Write table1.csv and table1.md into `folder`."""
    beside = published.BESIDE.get(params.corpus.source["kind"], "")
    markdown = lambda table, level: markdown1(table, level) + (f"\n{beside}\n" if beside else "")
    _write(experiments.table1(params), table1, markdown, folder / "table1")


def write_table2(params: Params, folder: Path) -> None:
    """Write table2.csv and table2.md into `folder`."""
    _write(experiments.table2(params), table2, markdown2, folder / "table2")


def _write(systems: list[System], table: Callable, markdown: Callable, path: Path) -> None:
    measured = [read(system) for system in systems]
    write(rows := table(measured), markdown(rows, confidence(measured)), path)


def write(table: pd.DataFrame, markdown: str | None, path: Path) -> None:
    """Write `<path>.csv` and, if there is any `markdown`, `<path>.md`."""
    if markdown is not None:
        with whole(path.with_suffix(".md")) as part:
            part.write_text(markdown)
    with whole(path.with_suffix(".csv")) as part:
        table.to_csv(part, index=False, float_format="%.6f")

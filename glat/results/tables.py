"""Table 1 and Table 2 of the paper, from the metrics files of their runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ..config import experiments
from ..config.params import Params
from ..lib.files import whole
from ..scoring.predictions import METRICS
from . import published, text
from .measured import Measured, confidence, read, same_clips, score_columns
from .verdicts import against, decide

AUDIOSET = (
    "The columns of the paper are what it prints for **AudioSet**{}: another corpus and another size of network, to be "
    "compared in direction only."
)


def table1(systems: list[Measured]) -> pd.DataFrame:
    """One row a method: a backbone without or with GL-AT, over all seeds that it was trained with.

    Two networks on the whole clip, where `params.table1` asks for them, are a row after GL-AT's.

    Columns: those of `measured.score_columns`; `vs_alone`, `vs_alone_mAUC` and `vs_alone_d_prime` (with interval, p, p
    corrected and verdict), with GL-AT minus without, paired; `vs_glat` alike, two networks on the whole clip minus
    GL-AT; `multiply_adds_per_clip`; and what the paper prints for AudioSet: `paper_audioset_*` (the backbone's own
    publication, or the paper's GL-AT) and `paper_reproduced_audioset_*`.

    Raises:
        GlatError: the runs were not evaluated on the same clips.
    """
    same_clips(systems)
    alone = {one.first["backbone"]: one for one in systems if one.first["glat"] is None}
    with_glat = {one.first["backbone"]: one for one in systems if one.first["glat"] and not one.system.control}
    rows = []
    for one in systems:
        backbone, second = one.first["backbone"], one.first["glat"] is not None
        two = one.system.control == experiments.TWO_NETWORKS
        row: dict[str, Any] = {"method": one.system.label, "backbone": backbone, "glat": second and not two}
        row |= score_columns(one)
        row |= against("vs_alone", one, alone[backbone])
        row |= against("vs_glat", one, with_glat[backbone] if two else None)
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
    """Table 1 in the paper's own layout, with the published AudioSet values in columns of their own."""
    rows = table.to_dict("records")
    lines = []
    for row in rows:
        prefixes = ["paper_audioset"] if row["glat"] else ["paper_audioset", "paper_reproduced_audioset"]
        paper = [" / ".join(text.number(row[f"{p}_{metric}"]) for p in prefixes) for metric in METRICS]
        ours = [text.score(row, metric) for metric in METRICS]
        name = text.marked(row["method"], row)
        lines.append([name, *ours, text.difference(row, "vs_alone"), f"{row['parameters']:,}", *paper])
    header = ["Method", "mAP", "mAUC", "d′", "mAP minus the backbone's alone", "parameters"]
    told = [
        f"# Table 1 on `{rows[0]['dataset']}`",
        text.measured_where(rows, confidence, set(table["seeds"])),
        text.HOW_DIFFERENCES_READ,
        AUDIOSET.format(" (original / reproduced by its authors)"),
        text.markdown([*header, "paper, AudioSet: mAP", "mAUC", "d′"], lines).rstrip(),
    ]
    told += text.marks(rows)
    told += [beside_glat(table, row) for row in rows if experiments.TWO_NETWORKS in row["method"]]
    if collapsed := table.loc[table["collapsed"] > 0, "method"].tolist():
        told.append(f"**Collapsed** (all clips scored the same in at least one seed): {', '.join(collapsed)}.")
    return "\n\n".join(told) + "\n"


def beside_glat(table: pd.DataFrame, two: dict[str, Any]) -> str:
    """What two networks on the whole clip (a row of Table 1) score and cost beside GL-AT: which of the two is it that
    helps?"""
    of = table[table["backbone"] == two["backbone"]]
    glat = of[of["glat"]].iloc[0]
    alone = of["multiply_adds_per_clip"].min()
    return (
        f"**{two['method']}** is GL-AT with one window as long as the clip: an ensemble of two that chooses nothing, "
        f"for {two['multiply_adds_per_clip'] / alone:.2f} times the multiply-adds of the backbone alone, where "
        f"{glat['method']} takes {glat['multiply_adds_per_clip'] / alone:.2f}. Its mAP minus that of {glat['method']}: "
        f"{text.difference(two, 'vs_glat')}."
    )


def table2(systems: list[Measured]) -> pd.DataFrame:
    """The backbone alone, then GL-AT's global stream, local stream and both, all from the runs of Table 1.

    Columns: `method`, `global`, `local` (which streams are scored), those of `measured.score_columns`, `vs_alone*`
    (minus the backbone alone, paired), and the paper's AudioSet values.

    Raises:
        GlatError: the runs were not evaluated on the same clips.
    """
    same_clips(systems)
    plain, rows = systems[0], []
    for one in systems:
        glat, stream = one.first["glat"] is not None, one.system.stream
        row: dict[str, Any] = {"method": one.system.label}
        row |= {"global": not glat or stream != "local", "local": glat and stream != "global"} | score_columns(one)
        row |= against("vs_alone", one, plain)
        printed = published.TABLE2.get((one.first["backbone"], stream if glat else "alone"), (None, None))
        row |= {"paper_audioset_mAP": printed[0], "paper_audioset_mAUC": printed[1]}
        rows.append(row)
    return decide(rows, confidence(systems))


def markdown2(table: pd.DataFrame, confidence: float) -> str:
    """Table 2 in the paper's own layout."""
    rows = table.to_dict("records")
    lines = [
        [
            text.marked(row["method"], row),
            *("✓" if row[stream] else "" for stream in ("global", "local")),
            *(text.score(row, metric) for metric in METRICS),
            text.difference(row, "vs_alone"),
            *(text.number(row[f"paper_audioset_{metric}"]) for metric in ("mAP", "mAUC")),
        ]
        for row in rows
    ]
    header = ["Method", "Global", "Local", "mAP", "mAUC", "d′", "mAP minus the backbone's alone"]
    told = [
        f"# Table 2 on `{rows[0]['dataset']}`",
        text.measured_where(rows, confidence, set(table["seeds"])),
        text.HOW_DIFFERENCES_READ,
        AUDIOSET.format(""),
        text.markdown([*header, "paper, AudioSet: mAP", "mAUC"], lines).rstrip(),
        *text.marks(rows),
    ]
    return "\n\n".join(told) + "\n"


def write_table1(params: Params, folder: Path) -> None:
    """Write table1.csv and table1.md into `folder`."""
    systems = [read(system) for system in experiments.table1(params)]
    table = table1(systems)
    write(table, markdown1(table, confidence(systems)), folder / "table1")


def write_table2(params: Params, folder: Path) -> None:
    """Write table2.csv and table2.md into `folder`."""
    systems = [read(system) for system in experiments.table2(params)]
    table = table2(systems)
    write(table, markdown2(table, confidence(systems)), folder / "table2")


def write(table: pd.DataFrame, markdown: str | None, path: Path) -> None:
    """Write `<path>.csv` and, where given, `<path>.md`."""
    if markdown is not None:
        with whole(path.with_suffix(".md")) as part:
            part.write_text(markdown)
    with whole(path.with_suffix(".csv")) as part:
        table.to_csv(part, index=False, float_format="%.6f")

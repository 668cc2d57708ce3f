"""Controls that the paper lacks: attention or any window, the method or its compute, and which open choices matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ..config import controls as asked
from ..config.params import Params
from ..config.systems import TWO_NETWORKS
from ..lib.escaping import markdown as escaped
from . import tables, text
from .columns import score_columns
from .measured import Measured, confidence, read, same_clips
from .plots import ALONE, METHOD, figure, foot, open_marks
from .verdicts import comparison_columns, decide

WITHOUT_THE_METHOD = ("backbone alone", asked.EQUAL_COMPUTE, TWO_NETWORKS)
TOLERANCE = 0.03  # by which "equal compute" may miss unsaid; CNN10's share is 1.01
VARIANTS = (
    "Variants of GL-AT (docs/variants.md): each is compared with the backbone alone that was trained for as many steps as "
    "cost the variant's multiply-adds, which it has to beat; windows at inference alone cost no training, so theirs is the "
    "backbone alone as it is. The last column is what one clip costs once the network is trained."
)


def training_multiply_adds(one: Measured, plain: Measured) -> float:
    """Multiply-adds of one training: steps x (forward + backward, which costs twice the forward), per clip of a batch.

    A frozen stream only runs forward. If the global one starts from a run of `plain`, that training counts too. Published
    weights (`init.global`) do not count, as the backbone alone starts from them too. A run that trains nothing costs what
    the training of its weights does.
    """
    macs, run = one.mean("cost", "multiply_adds_per_clip"), one.system.runs[0]
    if run.glat is None:
        return one.steps * 3 * macs
    whole, steps = plain.mean("cost", "multiply_adds_per_clip"), 0 if run.untrained else one.steps
    cost = {stream: 1 if stream in run.frozen_streams else 3 for stream in ("global", "local")}
    own = {str(each.folder / "checkpoint.pt") for each in plain.system.runs}
    before = plain.steps if own.issuperset(each.init["global"] for each in one.system.runs) else 0
    return steps * (cost["global"] * whole + cost["local"] * (macs - whole)) + before * 3 * whole


def compute_columns(one: Measured, start: Measured, unit: Measured) -> dict[str, float]:
    """`steps`; `training_compute`, the training's multiply-adds relative to those of `unit`; `multiply_adds_per_clip`. NaN
    where one of the three has no run. start: whose weights windows at inference start from."""
    if not (one.metrics and start.metrics and unit.metrics):
        return dict.fromkeys(("steps", "training_compute", "multiply_adds_per_clip"), float("nan"))
    return {
        "steps": one.steps,
        "training_compute": training_multiply_adds(one, start) / training_multiply_adds(unit, unit),
        "multiply_adds_per_clip": one.mean("cost", "multiply_adds_per_clip"),
    }


def equal_share(one: Measured, equal: Measured | None, start: Measured) -> float:
    """The share that the training of the backbone alone with "equal compute" has of the multiply-adds of one of GL-AT, by
    count; NaN where one of them has no run."""
    if equal is None or not (one.metrics and equal.metrics and start.metrics):
        return float("nan")
    return training_multiply_adds(equal, start) / training_multiply_adds(one, start)


def unequal(rows: list[dict[str, Any]], name: str) -> list[str]:
    """What a page says of the rows of GL-AT whose baseline has more or less than its compute, by more than `TOLERANCE`."""
    odd = [row for row in rows if abs(row["equal_share"] - 1) > TOLERANCE]
    if not odd:
        return []
    shares = ", ".join(
        f"{escaped(row[name])} of {row['method'].partition(' + ')[0]}: {row['equal_share']:.2f}" for row in odd
    )
    told = (
        "Equal compute is not equal here, as these networks cost more for windows, or less, than the windows' length says. The "
        f"share of GL-AT's multiply-adds that the backbone alone was trained with: {shares}. Below 1, the comparison is in "
        "favour of GL-AT."
    )
    return [told]


def controls(rows: list[tuple[asked.Control, Measured]]) -> pd.DataFrame:
    """One row a control.

    Columns: `method` (the backbone's title), `backbone`, `question`, `setting`; those of `columns.score_columns`;
    `vs_glat` and `vs_alone`, mAP minus that of the backbone's GL-AT and of the backbone alone, paired, each with
    interval, p and verdict; where variants are asked for, `vs_equal` too, a variant minus the backbone alone with its
    training's compute; `steps`; `training_compute`, the training's multiply-adds relative to the backbone alone;
    `multiply_adds_per_clip`; `equal_share`, of GL-AT and its variants.

    Raises:
        GlatError: the runs were not evaluated on the same clips.
    """
    same_clips([one for _, one in rows])
    base = {(one.backbone, one.setting): found for one, found in rows if one.question == "method or compute"}
    table_rows = []
    for control, one in rows:
        plain, glat = base[control.backbone, "backbone alone"], base[control.backbone, "GL-AT"]
        row: dict[str, Any] = {
            "method": control.system.runs[0].entry.title, "backbone": control.backbone,
            "question": control.question, "setting": control.setting,
            "run": one.system.runs[0].group,
        } | score_columns(one)  # fmt: skip
        row |= comparison_columns("vs_glat", one, glat) | comparison_columns("vs_alone", one, plain)
        if any(one.baseline for one, _ in rows):
            row |= comparison_columns("vs_equal", one, base.get((control.backbone, control.baseline)))
        equal = asked.EQUAL_COMPUTE if control.setting == "GL-AT" else control.baseline
        row["equal_share"] = equal_share(one, base.get((control.backbone, equal)), plain)
        table_rows.append(row | compute_columns(one, plain, plain))
    return decide(table_rows, confidence(one for _, one in rows))


def markdown(table: pd.DataFrame, confidence: float) -> str:
    """The controls as a Markdown page."""
    rows = table.to_dict("records")
    measured = [row for row in rows if row["seeds"]]
    parts = ["# Controls"]
    if measured:
        parts.append(text.conditions(measured, confidence, set(table.loc[table["seeds"] > 0, "seeds"])))
    parts.append(text.DIFFERENCES)
    parts.append(
        "Two networks on the whole clip: GL-AT with one window as long as the clip, an ensemble of two that chooses "
        "no windows. Equal compute: the backbone alone, trained for as many steps as cost GL-AT's multiply-adds. The "
        "last column is the training's multiply-adds, forward and backward, relative to those of the backbone alone. "
        "A frozen global stream only runs forward. If it is the backbone alone of this table, its training counts "
        "too, so that this control costs more than the others; published weights, from which both start, do not "
        "count. All use the learning rate of params.yaml; the released code trains a stream that starts from trained "
        "weights at a fifth of the rate for training from scratch."
    )
    header = [
        "Backbone", "Question", "Setting", "mAP", "mAP minus GL-AT's", "mAP minus the backbone's alone", "compute",
    ]  # fmt: skip
    lines = [
        [
            row["method"], row["question"], text.with_mark(row["setting"], row),
            text.score(row, "mAP") if row["seeds"] else f"missing: {escaped(row['missing'])}",
            text.difference(row, "vs_glat"), text.difference(row, "vs_alone"),
            text.number(row["training_compute"], 2),
        ]
        for row in rows
    ]  # fmt: skip
    if "vs_equal" in table:
        parts.append(VARIANTS)
        header += ["mAP minus equal compute's", "million multiply-adds a clip"]
        for line, row in zip(lines, rows, strict=True):
            line += [text.difference(row, "vs_equal"), text.number(row["multiply_adds_per_clip"] / 1e6, 1)]
    parts += unequal(rows, "setting")
    return "\n\n".join([*parts, text.markdown(header, lines).rstrip(), *text.mark_notes(measured)]) + "\n"


def draw(table: pd.DataFrame, confidence: float, path: Path) -> None:
    """mAP of each control with its interval, one line a control; GL-AT and the backbone alone as vertical lines."""
    backbones = list(dict.fromkeys(table["backbone"]))
    size = (7.2, 0.6 + 0.3 * len(table))
    with figure(path, len(backbones), 1, size, squeeze=False, sharex=True) as (fig, axes):
        for ax, backbone in zip(axes[:, 0], backbones, strict=True):
            rows = table[table["backbone"] == backbone].reset_index(drop=True)
            labels = [f"{q}: {s}" for q, s in zip(rows["question"], rows["setting"], strict=True)]
            for setting, colour in (("backbone alone", ALONE), ("GL-AT", METHOD)):
                for value in rows.loc[rows["setting"] == setting, "mAP"].dropna():
                    ax.axvline(value, color=colour, alpha=0.5, lw=1)
            for y, row in rows.iterrows():
                if row["seeds"]:
                    colour = ALONE if row["setting"].startswith(WITHOUT_THE_METHOD) else METHOD
                    ax.plot([row["mAP_low"], row["mAP_high"]], [y, y], color=colour, lw=2, alpha=0.5)
                    ax.plot(row["mAP"], y, "o", color=colour)
                    if row["not_converged"]:
                        open_marks(ax, row["mAP"], y, colour)
                else:
                    ax.text(ax.get_xlim()[0], y, f"missing: {row['missing']}", fontsize=6, color="#a00000")
            ax.set_yticks(range(len(rows)), labels)
            ax.invert_yaxis()
            seeds = "/".join(map(str, sorted(set(rows["seeds"]))))
            ax.set_title(
                f"{rows['method'].iloc[0]}, {seeds} seed(s) a row; lines: {confidence:.0%} interval", loc="right"
            )
        axes[-1, 0].set_xlabel("mAP")
        foot(fig, [text.OPEN_MARKS] if table["not_converged"].any() else [])


def write(params: Params, folder: Path, partial: bool = False) -> None:
    """Write controls.csv, .md, .svg and .png into `folder`; with `partial`, from the runs that exist."""
    rows = [(control, read(control.system, partial)) for control in asked.controls(params)]
    table = controls(rows)
    level = confidence((one for _, one in rows), params.evaluation.confidence)
    draw(table, level, folder / "controls")
    tables.write(table, markdown(table, level), folder / "controls")

"""A run in pictures: its curves, precision against recall of its streams, and a few clips as it hears them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..config.params import Params
from ..config.runs import Run
from ..config.systems import title
from ..lib.errors import GlatError, warn
from ..lib.escaping import file_name
from ..results import text
from ..results.curves import RECALL, draw_training, macro_pr
from ..results.measured import read_curve
from ..results.plots import COLOURS, figure, foot
from ..scoring.predictions import STREAMS, read_predictions
from ..training import convergence

CLIPS = 2  # pictures of clips a run: each takes a second to draw


def draw(run: Run, folder: Path, params: Params, out: Path) -> None:
    """Draw an evaluated run into `out`: `curves` of one that was trained, `pr_curves`, and `clips/` where the evaluation packs
    are there."""
    finding = convergence.found(run, folder)
    unconverged = {run.name} if convergence.marked(finding) else set()
    if not run.untrained:
        draw_training([(run, read_curve(folder / "train.csv"))], out / "curves", unconverged)
    draw_pr(folder / "predictions.h5", convergence.name(title(run), finding), out / "pr_curves")
    try:
        draw_clips(run, folder, params, out / "clips")
    except GlatError as error:
        warn(f"{folder}: without pictures of clips: {error}")


def draw_pr(predictions: Path, network: str, path: Path) -> None:
    """Precision against recall of each stream of a network, the mean over classes: `<path>.svg`, `.png` and `.csv`."""
    kept = read_predictions(predictions)
    curves = {name: macro_pr(kept["target"].astype(bool), kept[name]) for name in STREAMS if name in kept}
    pd.DataFrame({"recall": RECALL} | curves).to_csv(path.with_suffix(".csv"), index=False, float_format="%.6f")
    with figure(path, size=(5.2, 4)) as (fig, ax):
        for colour, (name, precision) in zip(COLOURS, curves.items(), strict=False):
            ax.plot(RECALL, precision, color=colour, label=name)
        ax.set(xlabel="recall", ylabel="precision, mean over classes", ylim=(0, 1.02))
        ax.set_title(network, loc="left")
        ax.legend()
        foot(fig, [text.OPEN_MARKS] if convergence.MARK in network else [])


def draw_clips(run: Run, folder: Path, params: Params, out: Path) -> None:
    """The first of the clips that the report shows, drawn by lot from those that the run is evaluated on, as it hears them."""
    from ..use import explain  # takes seconds to import

    packs, strong = explain.corpus(params, run)
    if not all(Path(pack).exists() for pack in packs):
        return
    for number, clip in enumerate(explain.draw_lots(packs, min(CLIPS, params.report.clips), params.evaluation.seed), 1):
        picture = out / file_name(f"{number}_{clip}")
        how = {"packs": packs, "strong": strong, "seed": params.evaluation.seed}
        explain.explain(folder / "checkpoint.pt", clip, picture, **how)

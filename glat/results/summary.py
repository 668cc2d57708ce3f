"""mAP, mAUC and d' of every run in one small file: what `dvc metrics` and `dvc exp show` compare."""

from __future__ import annotations

import json
from pathlib import Path

from .. import experiments
from ..config import Params
from ..files import whole
from ..predictions import METRICS
from .measured import read


def summary(params: Params) -> dict[str, dict[str, float]]:
    """mAP, mAUC and d' of each run by name: of the fused score where there are two streams, to six digits.

    Raises:
        GlatError: a run that is not evaluated.
    """
    found = {}
    for system in experiments.systems_of(params, "report"):
        if system.stream != "fused":
            continue  # a stream of a run that is there as a whole
        for run, metrics in zip(system.runs, read(system).metrics.values(), strict=True):
            found[run.name] = {name: round(metrics["streams"]["fused"][name]["value"], 6) for name in METRICS}
    return found


def write(params: Params, folder: Path) -> None:
    """Write metrics.json into `folder`."""
    with whole(folder / "metrics.json") as part:
        part.write_text(json.dumps(summary(params), indent=2) + "\n")

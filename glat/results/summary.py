"""mAP, mAUC and d' of every run in one small file, with the run's marks, for `dvc metrics` and `dvc exp show`."""

from __future__ import annotations

import json
from pathlib import Path

from ..config import experiments
from ..config.params import Params
from ..lib.files import whole
from ..scoring.predictions import METRICS
from ..training import convergence
from .measured import read, read_metrics


def summary(params: Params) -> dict[str, dict[str, float | str | None]]:
    """mAP, mAUC and d' of each run by name, to six digits: of the fused score if there are two streams, and None for a
    metric without a finite value (d' of a perfect AUC). `method` is the system with its marks, `convergence` the
    state of the run's training at its end (`glat.training.convergence`).

    Raises:
        GlatError: a run that was not evaluated.
    """
    found = {}
    for system in experiments.systems_of(params, "report"):
        if system.stream != "fused":
            continue  # a single stream of a run that is listed with its fused score
        read(system)  # all of it, and checked
        for run in system.runs:
            metrics = read_metrics(run.folder / "metrics.json")
            values = {name: metrics["streams"]["fused"][name]["value"] for name in METRICS}
            finding = metrics.get("convergence")
            found[run.name] = {name: value if value is None else round(value, 6) for name, value in values.items()} | {
                "method": convergence.name(system.label, finding), "convergence": convergence.state(finding)
            }  # fmt: skip
    return found


def write(params: Params, folder: Path) -> None:
    """Write metrics.json into `folder`."""
    with whole(folder / "metrics.json") as part:
        part.write_text(json.dumps(summary(params), indent=2, ensure_ascii=False) + "\n")

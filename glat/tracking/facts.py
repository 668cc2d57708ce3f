"""What a run's folder says, in MLflow's terms: parameters, tags, metrics. Nothing here knows MLflow."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..config import experiments
from ..config.network import short
from ..config.params import Params
from ..config.runs import Run
from ..lib.errors import GlatError, refusal
from ..lib.escaping import markdown
from ..lib.provenance import hardware, versions
from ..training import convergence
from ..training.attempt import Attempt, train_csv
from ..training.convergence import WATCHED

SERVED = ("table1", "table2", "fig2a", "fig2b", "controls", "localisation")  # what `serves` can name
CURVES = ("train", "validation")
LONGEST = 5000  # characters of a tag or parameter that MLflow surely takes


class Row(NamedTuple):
    """One line of a curve."""

    step: int
    at: int  # milliseconds since 1970
    values: dict[str, float]


def parameters(run: Run) -> dict[str, str]:
    """Everything in config.yaml, flat: `training.steps`, `glat.n`. Without GL-AT there is no key under `glat`."""
    return {key: str(value)[:LONGEST] for key, value in _flat(run.model_dump(by_alias=True)) if value is not None}


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield f"{prefix}{key}", f"{len(value)}: {' '.join(map(str, value))}"
        else:
            yield f"{prefix}{key}", f"{value:g}" if isinstance(value, float) else value


def tags(run: Run, attempt: Attempt, folder: Path, params: Params) -> dict[str, str]:
    """What runs are grouped and found by."""
    glat, revision = run.glat, attempt.commit.removesuffix("-dirty")
    known, made = not revision.startswith("unknown"), attempt.environment
    serves = [name for name in SERVED if _of_settings(run) in runs_of_result(params, name)]
    found = {
        "dataset": run.dataset,
        "backbone": run.entry.title,
        "method": "GL-AT" if glat else "alone",
        "variant": run.group.removeprefix(short(run.backbone)).removeprefix("-glat").strip("-") or "-",
        "N": str(glat.n) if glat else "-",
        "tau": f"{glat.tau:g}" if glat else "-",
        "seed": str(run.seed),
        "serves": ", ".join(serves) or "nothing that params.yaml asks for",
        "git_commit": revision,
        "git_dirty": str(attempt.commit != revision).lower() if known else "unknown",
        "snakemake_rule": attempt.rule or "none (by hand)",
        "folder": f"{attempt.host}:{folder.absolute()}" if attempt.host else str(folder.absolute()),
        "attempt": attempt.id,
        "convergence": convergence.found(run, folder)["state"] if attempt.status == "FINISHED" else "",
        "checkpoint": attempt.weights,
        "versions": versions(made) if made else "",
        "hardware": hardware(made) if made else "",
        "data_hash": attempt.data,
        "mlflow.runName": run.name,
        "mlflow.source.name": f"glat train {folder}/config.yaml",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": revision if known else "",
        "mlflow.user": attempt.user,
        "mlflow.note.content": note(run, attempt, serves),
    }
    return {key: value for key, value in found.items() if value}


def _of_settings(run: Run) -> Run:
    """A run as settings have it, before its architecture was looked up."""
    network = run.network and run.network.model_copy(update={"architecture": None})
    return run.model_copy(update={"network": network})


def runs_of_result(params: Params, result: str) -> list[Run]:
    """The runs of the chosen dataset that a result shows; none where params.yaml does not have that dataset."""
    known = params.dataset in params.datasets
    return experiments.runs_of(experiments.systems_of(params, result)) if known else []


def note(run: Run, attempt: Attempt, serves: list[str]) -> str:
    """The run in a few words, for the top of its page."""
    title = run.entry.title
    what = f"{title} + GL-AT, N = {run.glat.n}, tau = {run.glat.tau:g} s" if run.glat else f"{title} alone"
    lines = [f"**{what}**, seed {run.seed}, {run.training.steps} steps on `{run.dataset}`."]
    lines.append(f"Serves: {', '.join(serves)}." if serves else "No table or figure of params.yaml needs it.")
    if attempt.reason:
        lines.append(f"Failed: {markdown(attempt.reason)}")
    return "\n\n".join(lines)


def curve(folder: Path, kind: str, attempt: Attempt) -> list[Row]:
    """The lines of a run's `train` or `validation` curve; empty if it is not there."""
    path = folder / WATCHED if kind == "validation" else folder / "train.csv"
    path = train_csv(folder) if kind == "train" and attempt.status != "FINISHED" else path
    rows: list[Row] = []
    try:
        with path.open(errors="replace") as file:
            lines = list(csv.DictReader(file))
    except FileNotFoundError:
        return rows
    except (OSError, csv.Error) as error:
        raise GlatError(f"{path}: {refusal(error) or f'no curve ({error}); remove it'}") from None
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):  # of a line that a full disk or a kill cut off
            at, seconds = line.pop("at", None), line.pop("seconds", None)
            at, step = float(at or attempt.started + float(seconds or 0)), int(line.pop("step"))
            values = {f"{kind}/{key}": number for key, text in line.items() if (number := _number(text)) is not None}
            rows.append(Row(step, round(at * 1000), values))
    return rows


def _number(text: str | None) -> float | None:
    with suppress(ValueError):
        return value if math.isfinite(value := float(text or "")) else None
    return None


def final(run: Run, folder: Path, params: Params, metrics: dict[str, Any]) -> dict[str, float]:
    """What metrics.json says, as `final/mAP`, `final/mAP_low`, `final_global/mAP`, and where the run's windows were, as
    `localisation/hit`. The fused stream is what a table shows, and has no name of its own."""
    from ..scoring import localisation  # takes seconds to import

    found = {"cost/parameters": metrics["parameters"]}
    for stream, of in metrics["streams"].items():
        prefix = "final" if stream == "fused" else f"final_{stream}"
        for metric, bounds in of.items():
            found |= {f"{prefix}/{metric}{'' if end == 'value' else f'_{end}'}": value for end, value in bounds.items()}
    cost = metrics.get("cost", {})
    found |= {f"cost/{key}": cost.get(key) for key in ("multiply_adds_per_clip", "seconds_per_clip")}
    found |= {f"localisation/{key}": value for key, value in localisation.of_run(run, folder, params).items()}
    return {key: float(value) for key, value in found.items() if value is not None}

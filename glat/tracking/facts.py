"""What a run's folder says, in MLflow's terms: parameters, tags, metrics. Nothing here knows MLflow."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..config import experiments
from ..config.params import Params
from ..config.runs import Run, evaluated
from ..lib.errors import GlatError, refusal
from ..lib.escaping import markdown
from ..lib.provenance import hardware, versions
from ..models.registry import BACKBONES
from ..training import convergence
from ..training.convergence import WATCHED
from .attempt import SYSTEM, Attempt, train_csv

SERVED = ("table1", "table2", "fig2a", "fig2b", "controls", "localisation")  # what `serves` can name
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
    serves = [name for name in SERVED if run in runs_of_result(params, name)]
    found = {
        "dataset": run.dataset,
        "backbone": BACKBONES[run.backbone].title,
        "method": "GL-AT" if glat else "alone",
        "variant": variant(run),
        "N": str(glat.n) if glat else "-",
        "tau": f"{glat.tau:g}" if glat else "-",
        "seed": str(run.seed),
        "serves": ", ".join(serves) or "nothing that params.yaml asks for",
        "git_commit": revision,
        "git_dirty": "unknown" if revision.startswith("unknown") else str(attempt.commit != revision).lower(),
        "snakemake_rule": attempt.rule or "none (by hand)",
        "folder": f"{attempt.host}:{folder.absolute()}" if attempt.host else str(folder.absolute()),
        "attempt": attempt.id,
        "mlflow.runName": run.name,
        "mlflow.source.name": f"glat train {folder}/config.yaml",
        "mlflow.source.type": "LOCAL",
        "mlflow.note.content": note(run, attempt, serves),
    }
    if attempt.status == "FINISHED":
        found["convergence"] = convergence.found(run, folder)["state"]
    if attempt.user:
        found["mlflow.user"] = attempt.user
    if attempt.weights:
        found["checkpoint"] = attempt.weights
    if not revision.startswith("unknown"):
        found["mlflow.source.git.commit"] = revision
    if attempt.environment:
        found |= {"versions": versions(attempt.environment), "hardware": hardware(attempt.environment)}
    if attempt.data:
        found["data_hash"] = attempt.data
    return found


def runs_of_result(params: Params, result: str) -> list[Run]:
    """The runs of the chosen dataset that a result shows; none where params.yaml does not have that dataset."""
    if params.dataset not in params.datasets:
        return []
    return experiments.runs_of(experiments.systems_of(params, result))


def variant(run: Run) -> str:
    """What sets the run apart from its backbone's plain training or GL-AT, as its name has it: `n3`, `random`; else `-`."""
    rest = run.name.removeprefix(run.backbone).removesuffix(f"-s{run.seed}").removeprefix("-glat").strip("-")
    return rest or "-"


def note(run: Run, attempt: Attempt, serves: list[str]) -> str:
    """The run in a few words, for the top of its page."""
    title = BACKBONES[run.backbone].title
    what = f"{title} + GL-AT, N = {run.glat.n}, tau = {run.glat.tau:g} s" if run.glat else f"{title} alone"
    lines = [f"**{what}**, seed {run.seed}, {run.training.steps} steps on `{run.dataset}`."]
    lines.append(f"Serves: {', '.join(serves)}." if serves else "No table or figure of params.yaml needs it.")
    if attempt.reason:
        lines.append(f"Failed: {markdown(attempt.reason)}")
    return "\n\n".join(lines)


def data_hash(run: Run) -> str:
    """A hash of the packed training data: of the hashes that the packs hold of their segments and waveforms. Empty without packs."""
    from ..data.packs.read import open_pack  # takes seconds to load

    digest = hashlib.blake2b(digest_size=16)
    for path in run.packs:
        try:
            with open_pack(Path(path)) as pack:
                made_from = json.loads(pack.attrs["provenance"])
                digest.update((made_from["segments_sha256"] + made_from["waveforms_blake2b"]).encode())
        except (GlatError, OSError, KeyError, ValueError):
            return ""
    return digest.hexdigest()


def curve(folder: Path, kind: str, attempt: Attempt) -> list[Row]:
    """The lines of a run's `train`, `validation` or `system` curve; empty if it is not there."""
    train = folder / "train.csv" if attempt.status == "FINISHED" else train_csv(folder)
    path = {"train": train, "validation": folder / WATCHED, "system": folder / SYSTEM}[kind]
    try:
        with path.open(errors="replace") as file:
            lines = list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    except (OSError, csv.Error) as error:
        raise GlatError(f"{path}: {refusal(error) or f'no curve ({error}); remove it'}") from None
    rows = []
    for line in lines:
        try:
            at = float(line.pop("at", None) or attempt.started + float(line.get("seconds") or 0))
            step = int(line.pop("step"))
        except (ValueError, TypeError, KeyError):
            continue  # a line that a full disk or a kill cut off
        line.pop("seconds", None)
        values = {f"{kind}/{key}": number for key, text in line.items() if (number := _number(text)) is not None}
        rows.append(Row(step, round(at * 1000), values))
    return rows


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def final(folder: Path) -> dict[str, float] | None:
    """What metrics.json says, as `final/mAP`, `final/mAP_low`, `final_global/mAP`; None if the run is not evaluated since
    it was trained. The fused stream is what a table shows, and has no name of its own."""
    if not evaluated(folder):
        return None
    from ..results.measured import read_metrics  # imports torch, which the sender of a training does without

    metrics = read_metrics(folder / "metrics.json")
    found = {}
    for stream, of in metrics["streams"].items():
        prefix = "final" if stream == "fused" else f"final_{stream}"
        for metric, bounds in of.items():
            for end, value in bounds.items():
                if value is not None:
                    found[f"{prefix}/{metric}" + ("" if end == "value" else f"_{end}")] = float(value)
    cost = metrics.get("cost", {})
    for key in ("multiply_adds_per_clip", "seconds_per_clip"):
        if cost.get(key) is not None:
            found[f"cost/{key}"] = float(cost[key])
    found["cost/parameters"] = float(metrics["parameters"])
    return found


def localisation(run: Run, folder: Path, params: Params) -> dict[str, float]:
    """Where the run's windows were, against the strong labels: `localisation/hit` and its like, as the table of
    localisation has them for one run; empty without GL-AT or without strong labels."""
    from ..scoring.localisation import class_table, localise, strong_labels, windows_per_class
    from ..scoring.predictions import read_predictions

    if params.dataset not in params.datasets:
        return {}
    strong = strong_labels(params)
    if run.glat is None or strong.empty or not (folder / "predictions.h5").exists():
        return {}
    kept = read_predictions(folder / "predictions.h5")
    found = localise(kept, strong, run.glat.tau, run.audio.clip_seconds)
    if found.empty:
        return {}
    names = dict(zip(kept["mid"], kept["display_name"], strict=True))
    every = class_table([found], strong, names, windows_per_class(kept, strong), params.evaluation.confidence).iloc[-1]
    keys = (
        "hit",
        "hit_low",
        "hit_high",
        "hit_random",
        "centre_error",
        "centre_error_random",
        "covered",
        "covered_random",
    )
    return {f"localisation/{key}": float(every[key]) for key in keys if math.isfinite(every[key])}

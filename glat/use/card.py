"""A model card: what a published run is, in the form of the Hugging Face Hub, from the run's own numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..lib.documents import read_json
from ..lib.errors import GlatError
from ..lib.escaping import markdown
from ..lib.layout import METRICS
from ..results.text import markdown as table, number
from ..training.checkpoints import Checkpoint

THRESHOLDS = "thresholds.json"
NAMES = {"mAP": "mAP", "mAUC": "mAUC", "d_prime": "d'", "accuracy": "accuracy"}
STREAMS = {"fused": "both streams", "global": "global stream", "local": "local stream"}
WEAKEST = 5  # classes that the card names


def evaluation(checkpoint: Checkpoint, folder: Path) -> dict[str, Any] | None:
    """metrics.json of a run's folder, if it is of this checkpoint. Raises GlatError for a damaged one."""
    path, again = folder / METRICS, "evaluate the run again"
    if not path.exists():
        return None
    found = read_json(path, again, again)
    if found.get("checkpoint") != checkpoint.digest:
        return None
    if not isinstance(found.get("streams"), dict) or not isinstance(found.get("evaluation"), dict):
        raise GlatError(f"{path}: damaged; {again}")
    return found


def card(checkpoint: Checkpoint, metrics: dict[str, Any] | None, folder: Path, licence: str) -> str:
    """README.md of a folder for the Hub. metrics: `evaluation` of the run in `folder`."""
    run = checkpoint.run
    facts = {
        "run": run,
        "licence": licence,
        "metadata": _metadata(checkpoint, metrics, licence),
        "title": run.entry.title + (" in GL-AT" if run.glat else ""),
        "labels": [one["display_name"] for one in checkpoint.classes],
        "parameters": checkpoint.tagger.parameter_count(),
        "metrics": metrics,
        "scores": _scores(metrics) if metrics else "",
        "weakest": _weakest(folder / "per_class.csv") if metrics else "",
        "thresholds": _chosen_on(folder / THRESHOLDS),
    }
    loader = FileSystemLoader(Path(__file__).parent)
    pages = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    pages.filters["escaped"] = markdown
    return pages.get_template("card.md.j2").render(facts)


def _chosen_on(path: Path) -> str:
    """The clips that the thresholds of a run were chosen on; empty where there are none."""
    if not path.exists():
        return ""
    found = read_json(path, "", "calibrate the run again")
    splits = " and ".join(f"`{markdown(str(one))}`" for one in found.get("splits", []))
    role = {
        "validation": "a validation split, which it was neither trained nor evaluated on",
        "training": "clips that it was trained on, so that they are too high for others",
        "evaluation": "the clips of the table above, so that its scores there are no test of them",
    }.get(found.get("role", ""), "clips that it was neither trained nor evaluated on")
    return f"{splits or 'its dataset'}: {role}"


def _metadata(checkpoint: Checkpoint, metrics: dict[str, Any] | None, licence: str) -> str:
    """The card's head: what the Hub finds it by."""
    run = checkpoint.run
    head: dict[str, Any] = {
        "license": licence,
        "library_name": "glat",
        "pipeline_tag": "audio-classification",
        "tags": ["audio-tagging", "weakly-labelled", run.entry.title, *(["gl-at"] if run.glat else [])],
    }
    if metrics:
        values = metrics["streams"].get("fused", {})
        found = [
            {"type": key, "name": NAMES[key], "value": round(values[key]["value"], 4)}
            for key in NAMES
            if values.get(key) and values[key]["value"] is not None
        ]
        of = {"task": {"type": "audio-classification"}, "dataset": {"name": run.dataset, "type": run.dataset}}
        head["model-index"] = [{"name": run.name, "results": [of | {"metrics": found}]}]
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True)


def _scores(metrics: dict[str, Any]) -> str:
    """Each stream's metrics with their intervals, as a table."""
    streams = {key: values for key in STREAMS if (values := metrics["streams"].get(key))}
    keys = [key for key in NAMES if any(key in values for values in streams.values())]
    alone = len(streams) == 1
    rows = [
        ["the network" if alone else STREAMS[stream], *(_with_interval(values.get(key, {})) for key in keys)]
        for stream, values in streams.items()
    ]
    return table(["", *(NAMES[key] for key in keys)], rows)


def _with_interval(found: dict[str, Any]) -> str:
    return f"{number(found.get('value'))} [{number(found.get('low'))}, {number(found.get('high'))}]"


def _weakest(path: Path) -> str:
    """A table of the classes with the lowest AP; empty if per_class.csv does not exist."""
    if not path.exists():
        return ""
    try:
        found = pd.read_csv(path).dropna(subset="AP_fused").nsmallest(WEAKEST, "AP_fused")
        ends = [[row.get(f"AP_fused{end}") for end in ("", "_low", "_high")] for _, row in found.iterrows()]
        names, counts = found["display_name"].astype(str), found.get("positives", pd.Series(0, found.index)).astype(int)
    except (ValueError, LookupError, TypeError):
        raise GlatError(f"{path}: damaged; evaluate the run again") from None
    rows = [
        [markdown(name), str(count), _with_interval(dict(zip(("value", "low", "high"), three, strict=True)))]
        for name, count, three in zip(names, counts, ends, strict=True)
    ]
    return table(["class", "clips", "AP"], rows)

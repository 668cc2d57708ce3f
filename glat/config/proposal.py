"""An entry of params.yaml for recordings of one's own, with settings fit for how many and how long they are."""

from __future__ import annotations

import math
import os
import re
import shlex
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import numpy as np
import yaml

from ..data import room
from ..data.survey import Survey
from ..lib.documents import read_yaml
from ..lib.errors import GlatError, warn
from ..lib.escaping import NAME
from ..lib.files import whole
from . import experiments
from .params import load
from .settings import Audio
from .types import check_path

TRAIN = re.compile(r"(train|training|fit)\d*", re.IGNORECASE)
DEVELOPMENT = re.compile(r"(dev|development)\d*", re.IGNORECASE)  # for training only where nothing else is
EVALUATION = re.compile(r"(test|testing|eval|evaluation|holdout|hold_out)\d*", re.IGNORECASE)
VALIDATION = re.compile(r"(val|valid|validation)\d*", re.IGNORECASE)
FOLD = re.compile(r"fold\d+", re.IGNORECASE)
EPOCHS, FEWEST_STEPS, LOOKS = 60, 400, 20


def check_name(path: Path, name: str) -> None:
    """Raises GlatError for a name that a dataset can't have, or that one has, and without a file of settings."""
    if not NAME.fullmatch(name):
        raise GlatError(f"{name!r} cannot be a dataset's name: use letters, digits, '_', '.' and '-'")
    settings = read_yaml(path, "settings", "run from the project's root or name it with --params")
    if isinstance(settings, dict) and name in (settings.get("datasets") or {}):
        raise GlatError(f"{path}: has a dataset {name!r} already; choose another name, or remove that entry")


def own_path(text: str) -> str:
    """A path as params.yaml has it: from the project's folder on if it is below, else whole."""
    path = os.path.abspath(text)
    below = os.path.relpath(path)
    try:
        return check_path(path if below.startswith("..") else below)
    except ValueError as error:
        raise GlatError(str(error)) from None


def entry(
    source: dict[str, Any], found: Survey, train: list[str] | None = None, evaluate: list[str] | None = None
) -> dict[str, Any]:
    """The settings of a dataset, `datasets.<name>`.

    train, evaluate: the splits for each; None: by their names. A clip is as long as nearly all recordings, and 10 s at
    most. The budget is `EPOCHS` times through the training clips, and `FEWEST_STEPS` at least.

    Raises:
        GlatError: splits whose names don't tell what they are for, or that are not there.
    """
    clips, classes = found.clips, len(found.classes)
    counts = {str(name): len(of) for name, of in clips.groupby("split", sort=False)}
    roles = _roles(found, list(counts), train, evaluate)
    folds = roles.get("folds", [])
    training_clips = sum(counts[name] for name in folds or roles["train"]) * (len(folds) - 1 or 1) // (len(folds) or 1)
    seconds = _clip_seconds(found)
    windows = min(5, classes)
    tau = _round(0.3 * seconds)
    small = training_clips < 2000
    batch = 8 if small else 32
    training: dict[str, Any] = {
        "steps": max(FEWEST_STEPS, -(-EPOCHS * training_clips // batch)), "batch_size": batch,
        "learning_rate": 2e-3 if small else 1e-3, "schedule": "cosine", "warmup": 20, "gradient_clip": 5.0,
    }  # fmt: skip
    if small:  # what holds networks back, which pays in long trainings only
        training |= {"mixup_alpha": 0.0, "spec_augment": {"time_stripes": 0, "mel_stripes": 0}}
    if "validate" in roles:
        training |= {"select": "best", "validation": {"every": -(-training["steps"] // LOOKS)}}
    width = 0.125 if small else 0.25 if training_clips < 10_000 else 0.5 if training_clips < 50_000 else 1.0
    sweep = sorted({_round(share * seconds) for share in (0.1, 0.2, 0.3, 0.5, 1.0)})
    return {
        "source": source,
        "classes": classes,
        "shard_size": 1000,
        "splits": counts,
        **roles,
        "audio": {"clip_seconds": seconds} | _min_seconds(found),
        "backbones": ["cnn10"],
        "table1": {"two_networks": []},
        "glat": {"n": windows, "tau": tau},
        "fig2": {"n": list(range(1, min(7, classes) + 1)), "tau": sweep},
        "width": width,
        "dropout": 0.0 if small else 1.0,
        "hop": 640 if width < 1 else 320,
        "training": training,
        "execution": {"checkpoint_every": 100, "log_every": 20} if small else {"checkpoint_every": 1000},
    }


COMMENTS = {
    "splits": "clips in each",
    "folds": "each is evaluated on by a network that is trained on the others",
    "validate": "the network is selected on these, and evaluated on others",
    "audio": "longer recordings are trained on in random parts and evaluated as a whole",
    "backbones": "or [talnet, cnn10, resnet38, atsca], for all of Table 1",
    "glat": "windows a clip, and their length in seconds",
    "fig2": "values of both that the sweeps of Fig. 2 take",
    "width": "of the published networks",
}


def as_yaml(name: str, entry: dict[str, Any], found: Survey) -> str:
    """The entry as lines of params.yaml."""
    lines = [
        f"  # Written by `glat dataset new` from {len(found.clips)} clips of {len(found.classes)} classes: docs/own_sounds.md."
    ]
    lines.append(f"  {_flow(name)}:")
    for key, value in entry.items():
        text = _flow(value)
        if isinstance(value, dict) and len(text) > 100:
            lines.append(f"    {key}:")
            lines += [f"      {inner}: {_flow(content)}" for inner, content in value.items()]
        else:
            comment = f"  # {COMMENTS[key]}" if key in COMMENTS else ""
            lines.append(f"    {key}: {text}{comment}")
    return "\n".join(lines) + "\n"


def insert(path: Path, name: str, text: str) -> None:
    """Put an entry at the end of `datasets` in a file of settings, as deep as the others are; nothing else of it changes.

    Raises GlatError if the file would not be one of settings with it.
    """
    before = path.read_bytes().decode("utf-8")
    root = yaml.compose(before)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    found = next(
        (value for key, value in pairs if key.value == "datasets" and isinstance(value, yaml.MappingNode)), None
    )
    if found is None or found.flow_style:
        raise GlatError(f"{path}: has no section `datasets` of lines to put the entry in; add it by hand:\n{text}")
    text = indent(dedent(text), " " * found.value[0][0].start_mark.column)
    lines = before.splitlines(keepends=True)
    newline = "\r\n" if lines[0].endswith("\r\n") else "\n"
    last = found.value[-1][1].end_mark
    at = last.line + (last.column > 0)
    while at > 0 and not lines[at - 1].strip():
        at -= 1
    if at and not lines[at - 1].endswith("\n"):
        lines[at - 1] += newline
    with whole(path.resolve()) as part:  # a link stays one
        part.write_bytes("".join([*lines[:at], newline, text.replace("\n", newline), *lines[at:]]).encode())
        try:
            load(part, {"dataset": name})
        except GlatError as error:
            raise GlatError(f"with the new entry, {str(error).replace(str(part), str(path))}") from None


def packs(path: Path, name: str, found: Survey) -> str:
    """How much room the new dataset's packs take, in words."""
    audio, there = load(path, {"dataset": name}).audio, found.clips.dropna(subset="seconds")
    took = room.of_lengths(there["seconds"], there["path"].tolist(), audio.sample_rate, audio.clip_seconds, audio.codec)
    return f"{took} ({audio.sample_rate} Hz, {audio.codec}), and a shard of them twice that while it is packed"


def example_run(path: Path, name: str) -> str:
    """The folder of a run of GL-AT that Table 1 of the new dataset has."""
    params = load(path, {"dataset": name})
    return str(experiments.table1(params)[1].runs[0].folder)


def example(source: dict[str, Any], found: Survey) -> str:
    """A recording of the evaluation, as a word of a command line."""
    clips = found.clips[found.clips["seconds"].notna()]
    path = clips.sort_values("split", key=lambda names: names.map(lambda name: not EVALUATION.fullmatch(name)))["path"]
    return shlex.quote(str(Path(source["audio"]) / path.iloc[0]))


def _min_seconds(found: Survey) -> dict[str, float]:
    """The shortest that a recording may be, where some are shorter than what is usual."""
    shortest = float(found.clips["seconds"].min())
    return {"min_seconds": max(0.01, math.floor(100 * shortest) / 100)} if shortest < Audio().min_seconds else {}


def _roles(
    found: Survey, names: list[str], train: list[str] | None, evaluate: list[str] | None
) -> dict[str, list[str]]:
    for name in [*(train or []), *(evaluate or [])]:
        if name not in names:
            raise GlatError(f"{found.table.path}: has no split {name!r}; it has {', '.join(names)}")
    of = {
        kind: [name for name in names if pattern.fullmatch(name)]
        for kind, pattern in (("train", TRAIN), ("evaluate", EVALUATION), ("validate", VALIDATION))
    }
    told = f"{found.table.path}: column {found.table.columns.split!r} has {', '.join(names)}"
    if not train and not evaluate and len(names) > 1 and all(map(FOLD.fullmatch, names)):
        return {"folds": sorted(names, key=lambda name: int(name[4:]))}
    development = [name for name in names if DEVELOPMENT.fullmatch(name)]
    if of["train"]:
        of["validate"] += development
    roles = {"train": train or of["train"] or development, "evaluate": evaluate or of["evaluate"] or of["validate"]}
    rest = [name for name in of["validate"] if name not in (*roles["train"], *roles["evaluate"])]
    roles |= {"validate": rest} if rest else {}
    if not roles["train"] or not roles["evaluate"]:
        lacking = "to train on" if not roles["train"] else "to evaluate on"
        raise GlatError(
            f"{told}, and none of them says by its name that it is {lacking}; add --train and --evaluate with their names"
        )
    if unused := sorted(set(names) - {name for used in roles.values() for name in used}):
        if not (train and evaluate):
            raise GlatError(
                f"{told}, and {unused[0]!r} does not say by its name what it is for; add --train and --evaluate with the names "
                "of all splits that are to be used"
            )
        warn(f"{told}: {', '.join(unused)} are not used")
    if both := set(roles["train"]) & set(roles["evaluate"]):
        raise GlatError(f"--train, --evaluate: {min(both)} cannot be for both")
    return roles


def _clip_seconds(found: Survey) -> float:
    longest = float(np.nanquantile(found.clips["seconds"], 0.95))
    return min(10.0, max(1.0, math.ceil(2 * longest - 1e-3) / 2))


def _round(seconds: float) -> float:
    return max(0.5, round(2 * seconds) / 2) if seconds >= 1 else max(0.4, round(seconds, 1))


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.strip().removesuffix("...").strip()

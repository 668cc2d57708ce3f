"""One training from its start to its end, however often it was resumed: `attempt.json` in the run's folder."""

from __future__ import annotations

import csv
import getpass
import hashlib
import json
import os
import platform
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from ..config.runs import Run, read_run
from ..lib.errors import GlatError, refusal
from ..lib.escaping import printable
from ..lib.files import digest, is_locked, whole
from ..lib.provenance import maker
from ..lib.redaction import redact

LOCK = ".lock"  # held while a process trains the run (`progress.run_lock`)
UNKNOWN = {"commit": "unknown (trained before it was noted)"}


class Attempt(BaseModel):
    """Who trains a run, since when, with which code, and how it ended."""

    id: str
    run: Run  # that it trains, whatever config.yaml says by now
    started: float  # seconds since 1970
    ended: float | None = None
    status: Literal["RUNNING", "FINISHED", "FAILED", "KILLED"] = "RUNNING"
    reason: str = ""  # of a failure, in a sentence
    commit: str  # with "-dirty" where files differed from it; "unknown..." outside a repository
    environment: dict[str, str | int] = {}  # versions and hardware (`glat.lib.hardware.environment`)
    rule: str = ""  # of Snakemake; empty by hand
    data: str = ""  # hash of the packed data that it trains on; empty where not known
    user: str = ""
    host: str = ""
    weights: str = ""  # hash of the checkpoint.pt that it left


def read(folder: Path) -> Attempt | None:
    """The attempt of a run's folder; None if there is none. Raises GlatError if the file is damaged."""
    path = folder / "attempt.json"
    try:
        return Attempt.model_validate_json(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        message = refusal(error) or "damaged; delete it, and `glat track sync` makes it anew from the run"
        raise GlatError(f"{path}: {message}") from None


def write(folder: Path, attempt: Attempt) -> None:
    with whole(folder / "attempt.json") as part:
        part.write_text(attempt.model_dump_json(indent=1, by_alias=True) + "\n")


def begin(
    folder: Path, step: int, data: str = "", accelerator: str = "cpu", devices: int = 1, seconds: float = 0.0
) -> Attempt:
    """Note that this process trains the run from `step` on: a new attempt from step 0, else the interrupted one.

    seconds: that it was trained before. A run that got more steps is a new attempt, which began so long ago: its curve counts
    from there.
    """
    run, old, user = read_run(folder / "config.yaml"), None, ""
    with suppress(GlatError):
        old = read(folder)
    with suppress(KeyError, OSError):
        user = getpass.getuser()
    here = maker(accelerator, devices)
    here |= {"run": run, "rule": os.environ.get("GLAT_RULE", ""), "data": data, "user": user, "host": platform.node()}
    if step and old and old.run == run:
        attempt = old.model_copy(update=here | {"status": "RUNNING", "ended": None, "reason": ""})
    else:
        attempt = Attempt(id=uuid.uuid4().hex, started=time.time() - seconds, **here)
    write(folder, attempt)
    return attempt


def end(folder: Path, status: str, reason: str = "") -> None:
    """Note how the attempt ended."""
    if (attempt := read(folder)) is not None:
        left = digest(folder / "checkpoint.pt") if status == "FINISHED" else ""
        how = {"status": status, "reason": printable(redact(reason)), "ended": time.time(), "weights": left}
        write(folder, attempt.model_copy(update=how))


def data_hash(run: Run) -> str:
    """A hash of the packed training data: of those that the packs hold of their segments and waveforms. Empty without."""
    from ..data.packs.read import open_pack  # takes seconds to load

    found = hashlib.blake2b(digest_size=16)
    for path in run.packs:
        try:
            with open_pack(Path(path)) as pack:
                made_from = json.loads(pack.attrs["provenance"])
                found.update((made_from["segments_sha256"] + made_from["waveforms_blake2b"]).encode())
        except (GlatError, OSError, KeyError, ValueError):
            return ""
    return found.hexdigest()


def settle(folder: Path) -> Attempt | None:
    """The attempt as it stands. One that nobody trains any more is noted as killed, one that ended without being
    followed as finished, and one that was never followed is made from what the training left. None if the run was never
    trained."""
    attempt, checkpoint, curve = read(folder), folder / "checkpoint.pt", train_csv(folder)
    if attempt and attempt.status == "RUNNING" and is_locked(folder / LOCK):
        return attempt
    left, settled = digest(checkpoint), None
    if attempt and attempt.weights:
        settled = attempt if left in ("", attempt.weights) else None  # trained anew without being followed
    elif attempt and left and checkpoint.stat().st_mtime > attempt.started and curve.name == "train.csv":
        # Trained without being followed: to the end of this attempt, or with other settings.
        how = {"status": "FINISHED", "reason": "", "ended": checkpoint.stat().st_mtime, "weights": left}
        settled = attempt.model_copy(update=how) if attempt.run == read_run(folder / "config.yaml") else None
    elif attempt:
        seen = max(attempt.started, curve.stat().st_mtime) if curve.exists() else attempt.started
        killed = {"status": "KILLED", "ended": seen} if attempt.status == "RUNNING" else {}
        settled = attempt.model_copy(update=killed)
    settled = settled or _imported(folder)
    if settled and settled != attempt:
        write(folder, settled)
    return settled


def train_csv(folder: Path) -> Path:
    """The training's curve: `train.csv`, or while it trains the file that becomes it."""
    return part if (part := folder / ".train.csv.part").exists() else folder / "train.csv"


def _imported(folder: Path) -> Attempt | None:
    """The attempt of a training that was never followed, from its checkpoint: the same one in every copy of the run."""
    path, curve = folder / "checkpoint.pt", folder / "train.csv"
    if not path.exists() or not curve.exists():
        return None
    from . import checkpoints  # imports torch

    run, trained, seconds = read_run(folder / "config.yaml"), None, 0.0
    with suppress(GlatError, ValidationError):  # of another kind, or damaged: who evaluates it is told
        content = checkpoints.read(path)
        run, trained = Run.model_validate(content.get("run")), content.get("trained")
    with curve.open() as file, suppress(ValueError, TypeError, KeyError, IndexError, csv.Error):
        seconds = float(list(csv.DictReader(file))[-1]["seconds"])
    ended, left = path.stat().st_mtime, digest(path)
    how: dict[str, Any] = {"started": ended - seconds, "ended": ended, "status": "FINISHED", "weights": left}
    # Its rule is unknown, and so is its data: the packs that are there now may be others.
    return Attempt(id=left, run=run, rule="unknown", host=platform.node(), **how, **(trained or UNKNOWN))

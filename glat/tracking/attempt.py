"""One training from its start to its end, however often it was resumed: `attempt.json` in the run's folder."""

from __future__ import annotations

import csv
import getpass
import os
import platform
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from ..config.runs import Run, read_run
from ..config.training import Execution
from ..lib.errors import GlatError, refusal
from ..lib.escaping import printable
from ..lib.files import digest, lock, whole
from ..lib.provenance import maker
from ..lib.redaction import redact
from ..training.convergence import WATCHED

SYSTEM = "system.csv"  # what is kept of a training besides train.csv and validation.csv
TRAINING_LOCK = ".lock"  # held while a process trains the run (glat.training.progress.run_lock)


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
    pid: int = 0
    weights: str = ""  # hash of checkpoint.pt that it left

    def mine(self, pid: int) -> bool:
        """Whether the process `pid` of this machine trains it."""
        return (self.host, self.pid) == (platform.node(), pid)


def read(folder: Path) -> Attempt | None:
    """The attempt of a run's folder; None if there is none. Raises GlatError if the file is damaged."""
    path = folder / "attempt.json"
    try:
        return Attempt.model_validate_json(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        told = refusal(error) or "damaged; delete it, and `glat track sync` makes it anew from the run"
        raise GlatError(f"{path}: {told}") from None


def write(folder: Path, attempt: Attempt) -> None:
    with whole(folder / "attempt.json") as part:
        part.write_text(attempt.model_dump_json(indent=1, by_alias=True) + "\n")


def begin(folder: Path, step: int, data: str = "", execution: Execution = Execution()) -> Attempt:  # noqa: B008
    """Note that this process trains the run from `step` on: a new attempt from step 0, else the one that was broken off."""
    from ..lib.hardware import accelerator

    run, old = read_run(folder / "config.yaml"), None
    with suppress(GlatError):
        old = read(folder)
    here = {
        "run": run,
        **maker(accelerator(execution.accelerator), execution.processes),
        "rule": os.environ.get("GLAT_RULE", ""),
        "data": data,
        "user": _user(),
        "host": platform.node(),
        "pid": os.getpid(),
    }
    if step and old and old.run == run:
        attempt = old.model_copy(update=here | {"status": "RUNNING", "ended": None, "reason": ""})
    else:
        attempt = Attempt(id=uuid.uuid4().hex, started=time.time(), **here)
        for name in (WATCHED, SYSTEM):
            (folder / name).unlink(missing_ok=True)
    write(folder, attempt)
    return attempt


def end(folder: Path, status: str, reason: str = "") -> None:
    """Note how the attempt ended."""
    if (attempt := read(folder)) is not None:
        left = digest(folder / "checkpoint.pt") if status == "FINISHED" else ""
        how = {"status": status, "reason": printable(redact(reason)), "ended": time.time(), "weights": left}
        write(folder, attempt.model_copy(update=how))


def settle(folder: Path) -> Attempt | None:
    """The attempt as it stands: one that nobody trains any more is noted as killed, one that ended without being
    followed as finished, and one that was never followed is made from what the training left. None if the run was never
    trained."""
    attempt = read(folder)
    if attempt and attempt.status == "RUNNING" and trained_now(folder):
        return attempt
    left = digest(folder / "checkpoint.pt")
    ended = (folder / "checkpoint.pt").stat().st_mtime if left else 0.0
    if attempt and attempt.weights:
        attempt = attempt if left in ("", attempt.weights) else None  # trained anew without being followed
    elif attempt and ended > attempt.started and not _part(folder).exists():
        # Trained without being followed: to the end of this attempt, or with other settings.
        how = {"status": "FINISHED", "reason": "", "ended": ended, "weights": left}
        attempt = attempt.model_copy(update=how) if attempt.run == read_run(folder / "config.yaml") else None
    elif attempt and attempt.status == "RUNNING":
        attempt = attempt.model_copy(update={"status": "KILLED", "ended": _last_sign(folder, attempt)})
    attempt = attempt or _imported(folder)
    if attempt is not None:
        write(folder, attempt)
    return attempt


def trained_now(folder: Path) -> bool:
    """Whether a process trains the run: it then holds the folder's lock, which the system frees when it ends."""
    try:
        with (folder / TRAINING_LOCK).open("r") as file:
            return not lock(file, wait=False, shared=True)
    except OSError:
        return False


def train_csv(folder: Path) -> Path:
    """The training's curve: `train.csv`, or while it trains the file that becomes it."""
    return part if (part := _part(folder)).exists() else folder / "train.csv"


def _part(folder: Path) -> Path:
    return folder / ".train.csv.part"


def _imported(folder: Path) -> Attempt | None:
    """The attempt of a training that was never followed, from its checkpoint: the same one in every copy of the run."""
    path, curve = folder / "checkpoint.pt", folder / "train.csv"
    if not path.exists() or not curve.exists():
        return None
    from ..training import checkpoints  # imports torch

    run, trained = read_run(folder / "config.yaml"), None
    with suppress(GlatError, ValidationError):  # of another kind, or damaged: who evaluates it is told
        content = checkpoints.read(path)
        run, trained = Run.model_validate(content.get("run")), content.get("trained")
    ended, left = path.stat().st_mtime, digest(path)
    return Attempt(
        id=left,
        run=run,
        started=ended - _seconds(curve),
        ended=ended,
        status="FINISHED",
        weights=left,
        host=platform.node(),
        rule="unknown",  # and so is the data: the packs that are there now may be others
        **(trained or {"commit": "unknown (trained before it was noted)"}),
    )


def _seconds(curve: Path) -> float:
    """How long a training took, by its curve."""
    with curve.open() as file, suppress(ValueError, TypeError, KeyError, IndexError, csv.Error):
        return float(list(csv.DictReader(file))[-1]["seconds"])
    return 0.0


def _last_sign(folder: Path, attempt: Attempt) -> float:
    """When a killed training was last seen to work."""
    path = train_csv(folder)
    return max(attempt.started, path.stat().st_mtime) if path.exists() else attempt.started


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""

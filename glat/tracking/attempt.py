"""One training from its start to its end, however often it was resumed: `attempt.json` in the run's folder."""

from __future__ import annotations

import csv
import fcntl
import getpass
import hashlib
import json
import os
import platform
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from ..errors import GlatError
from ..files import whole
from ..provenance import maker

WATCHED, SYSTEM = "validation.csv", "system.csv"  # what is kept of a training besides train.csv
TRAINING_LOCK = ".lock"  # held while a process trains the run (glat.progress.alone)


class Attempt(BaseModel):
    """Who trains a run, since when, with which code, and how it ended."""

    id: str
    started: float  # seconds since 1970
    ended: float | None = None
    status: Literal["RUNNING", "FINISHED", "FAILED", "KILLED"] = "RUNNING"
    reason: str = ""  # of a failure, in a sentence
    commit: str  # with "-dirty" where files differed from it; "unknown..." outside a repository
    environment: dict[str, str | int] = {}  # versions and hardware (`glat.hardware.environment`)
    rule: str = ""  # of Snakemake; empty by hand
    data: str = ""  # hash of the packed data that it trains on; empty where not known
    user: str = ""
    host: str = ""
    pid: int = 0
    config: str = ""  # hash of config.yaml that it trains with
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
    except (OSError, ValueError, ValidationError):
        raise GlatError(f"{path}: damaged; delete it, and `glat track sync` makes it anew from the run") from None


def write(folder: Path, attempt: Attempt) -> None:
    with whole(folder / "attempt.json") as part:
        part.write_text(attempt.model_dump_json(indent=1) + "\n")


def begin(folder: Path, step: int, data: str = "") -> Attempt:
    """Note that this process trains the run from `step` on: a new attempt from step 0, else the one that was broken off."""
    try:
        old = read(folder)
    except GlatError:
        old = None
    here = {
        **maker(),
        "rule": os.environ.get("GLAT_RULE", ""),
        "data": data,
        "user": _user(),
        "host": platform.node(),
        "pid": os.getpid(),
        "config": content(folder / "config.yaml"),
    }
    if step and old:
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
        left = content(folder / "checkpoint.pt") if status == "FINISHED" else ""
        how = {"status": status, "reason": reason, "ended": time.time(), "weights": left}
        write(folder, attempt.model_copy(update=how))


def settle(folder: Path) -> Attempt | None:
    """The attempt as it stands: one that nobody trains any more is noted as killed, and one of a training that was never
    followed is made from what the training left. None if the run was never trained with its config.yaml."""
    attempt = read(folder)
    if attempt and attempt.weights and content(folder / "checkpoint.pt") not in ("", attempt.weights):
        attempt = None  # trained again, and not followed
    if attempt and attempt.config not in ("", content(folder / "config.yaml")):
        return None  # of other settings than those that it is to be trained with next
    if attempt is None:
        attempt = _imported(folder)
        if attempt is not None:
            write(folder, attempt)
    elif attempt.status == "RUNNING" and not trained_now(folder):
        attempt = attempt.model_copy(update={"status": "KILLED", "ended": _last_sign(folder, attempt)})
        write(folder, attempt)
    return attempt


def trained_now(folder: Path) -> bool:
    """Whether a process trains the run: it then holds the folder's lock, which the system frees when it ends."""
    try:
        with (folder / TRAINING_LOCK).open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def train_csv(folder: Path) -> Path:
    """The training's curve: `train.csv`, or while it trains the file that becomes it."""
    part = folder / ".train.csv.part"
    return part if part.exists() else folder / "train.csv"


def evaluated(folder: Path) -> bool:
    """Whether metrics.json is there, and of the checkpoint that is there."""
    metrics, checkpoint = folder / "metrics.json", folder / "checkpoint.pt"
    return metrics.exists() and not (checkpoint.exists() and metrics.stat().st_mtime < checkpoint.stat().st_mtime)


def _imported(folder: Path) -> Attempt | None:
    path = folder / "train.csv"
    if not path.exists():
        return None
    with path.open() as file:
        rows = list(csv.DictReader(file))
    ended = path.stat().st_mtime
    made_by = {"commit": "unknown (trained before it was tracked)"}
    with suppress(OSError, ValueError):  # a damaged one is told where its numbers are read
        if evaluated(folder):
            made_by = json.loads((folder / "metrics.json").read_text()).get("trained") or made_by
    seconds = float(rows[-1]["seconds"]) if rows else 0.0
    return Attempt(
        id=uuid.uuid4().hex,
        started=ended - seconds,
        ended=ended,
        status="FINISHED",
        **made_by,
        config=content(folder / "config.yaml"),
        weights=content(folder / "checkpoint.pt"),
        rule="unknown",  # and so is the data: the packs that are there now may be others
    )


def _last_sign(folder: Path, attempt: Attempt) -> float:
    """When a killed training was last seen to work."""
    path = train_csv(folder)
    return max(attempt.started, path.stat().st_mtime) if path.exists() else attempt.started


def content(path: Path) -> str:
    """A hash of a file's content; empty where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except FileNotFoundError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""

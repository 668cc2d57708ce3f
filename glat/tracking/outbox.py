"""Runs that wait to be sent to MLflow, and the one process that sends them: `python -m glat.tracking.outbox <lock>`.

A command leaves a run here and goes on. Where a sender is at work, that one takes it; else the command starts one, which
ends when nothing is left. So there is never more than one of these processes beside a project and a tracking server, and
no more work for it than there are runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
import uuid
from contextlib import redirect_stderr, suppress
from pathlib import Path

from ..config.params import Params, parse
from ..lib.errors import GlatError, tell
from ..lib.files import whole
from ..lib.redaction import redact
from . import attempt as attempts
from .send import Busy, alone
from .sender import LOG, LOOK, Sender, wait_in_a_job
from .store import NotSent, Store, name_of, uri

PLACE = Path(".mlflow.outbox")  # beside mlflow.db


def box() -> Path:
    """The folder of what waits for the tracking server that is chosen."""
    return PLACE / hashlib.blake2b(name_of(uri()).encode(), digest_size=8).hexdigest()


def hand_over(folder: Path, params: Params) -> None:
    """Have a run sent; nothing waits for it. What cannot be noted or started now, `glat track sync` sends later."""
    try:
        _put(folder, params)
        with (box() / "lock").open("w") as lock:
            if not _taken(lock.fileno()):
                return  # whoever holds it looks here once more when it has let go of it
            call = [sys.executable, "-m", "glat.tracking.outbox", str(lock.fileno())]
            null = subprocess.DEVNULL
            process = subprocess.Popen(
                call, stdin=null, stdout=null, stderr=null, start_new_session=True, pass_fds=[lock.fileno()]
            )
        wait_in_a_job(process)
    except OSError as error:
        tell(f"{folder}: not sent to MLflow now ({error}); `glat track sync` sends it later")


def _taken(lock: int) -> bool:
    """Take the lock; False if another process holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _put(folder: Path, params: Params) -> None:
    settings = redact(params.model_dump(mode="json", by_alias=True))  # no password in another file
    for dataset in settings["datasets"].values():
        dataset["source"] = {"kind": dataset["source"].get("kind")}  # nothing is got here
    with whole(box() / f"{time.time_ns()}-{uuid.uuid4().hex}.json") as part:
        part.touch(0o600)
        part.write_text(json.dumps({"folder": str(folder), "settings": settings}))


def drain(lock: int) -> bool:
    """Send all that waits, by the lock that this process holds; whether all was sent. A run that is not sent for a
    reason of its own is left to `glat track sync`, and here too where its files could not be written; where the server is
    at fault, all that waits is left here."""
    whole_of_it, kept = True, set()
    while True:
        while letters := _waiting(kept):
            newest: dict[str, dict] = {}
            of: dict[str, list[Path]] = {}
            for letter in letters:
                with suppress(OSError, ValueError, KeyError, TypeError):
                    content = json.loads(letter.read_text())
                    newest[content["folder"]] = content["settings"]
                    of.setdefault(content["folder"], []).append(letter)
            for folder, settings in newest.items():
                try:
                    sent = not Path(folder).is_dir() or _send(Path(folder), settings)
                except OSError:  # its folder cannot be written, or the disk is full: another time it may go
                    kept |= set(of[folder])
                    whole_of_it = False
                    continue
                if not sent:
                    whole_of_it = False
                    try:
                        Store().ask()
                    except NotSent:
                        return False
            for letter in set(letters) - kept:
                letter.unlink(missing_ok=True)
        fcntl.flock(lock, fcntl.LOCK_UN)
        # A command that came before this found the lock taken, and left its run here; one that comes now takes it.
        if not _waiting(kept) or not _taken(lock):
            return whole_of_it


def _waiting(kept: set[Path]) -> list[Path]:
    """What waits here, the oldest first, without what is kept for another time."""
    return sorted(set(box().glob("[0-9]*.json")) - kept)


def _send(folder: Path, settings: dict) -> bool:
    with (folder / LOG).open("a") as log, redirect_stderr(log):
        while True:
            try:
                with alone(folder):
                    return Sender(folder, 0, parse(settings)).finish()
            except Busy:
                if attempts.trained_now(folder):
                    return True  # by the process that follows that training
                time.sleep(LOOK)
            except GlatError as error:
                tell(f"not sent to MLflow: {error}")
                return False


def main() -> int:
    lock = int(sys.argv[1])
    os.set_inheritable(lock, False)
    os.nice(10)
    return 0 if drain(lock) else 1


if __name__ == "__main__":
    sys.exit(main())

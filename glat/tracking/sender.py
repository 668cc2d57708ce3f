"""The process that sends one run while it trains: `python -m glat.tracking.sender <folder> <pid of who started it>`,
with the settings as JSON on its standard input.

It watches the process that started it. Where that ends without a word, it was killed, and MLflow is told so; where the
training is over already, the folder is sent once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from ..config.params import Params, parse
from ..lib.errors import GlatError, tell
from ..lib.redaction import hook, redact
from . import attempt as attempts
from .send import Sending, alone
from .store import NotSent, Store

LOOK = 0.5  # seconds between two looks at the training
EVERY = 5.0  # seconds between two sendings; after a failure the wait doubles, up to `LONGEST`
LONGEST = 120.0
PATIENCE = 10.0  # seconds for which it tries again once the training is over
LOG = "mlflow.log"  # in the run's folder: what was not sent, and why
IN_A_JOB = 120.0  # seconds for which a cluster's job waits for its sender


class Sender:
    """Sends a folder again and again until its training is over."""

    def __init__(self, folder: Path, parent: int, params: Params):
        self.folder, self.parent, self.params = folder, parent, params
        self.store: Store | None = None
        self.failure = ""

    def over(self) -> bool:
        """Whether the training has ended; one that ended without a word is noted as killed."""
        dead = os.getppid() != self.parent  # looked at first: one that ends well says so before it is gone
        attempt = attempts.read(self.folder)
        if attempt is None or attempt.status != "RUNNING" or not attempt.mine(self.parent):
            return True
        if dead:
            attempts.end(self.folder, "KILLED")
        return dead

    def send(self, live: bool = False) -> bool:
        """Try once; the reason of a failure is told once."""
        try:
            self.store = self.store or Store()
            Sending(self.folder, self.store, self.params).send(live)
        except Exception as error:  # noqa: BLE001 - whatever it is: it is to be tried again, and how it ends to be told
            if isinstance(error, NotSent):
                self.store = None  # a server that comes back is opened anew
            reason = str(error) if isinstance(error, GlatError) else redact(f"{type(error).__name__}: {error}")
            if reason != self.failure:
                tell(f"not sent to MLflow: {reason}")
            self.failure = reason
            return False
        if self.failure:
            tell("sent to MLflow again")
        self.failure = ""
        return True

    def follow(self) -> bool:
        """Send until the training is over; whether all was sent."""
        from .system import Samples

        samples, wait, due = None, EVERY, 0.0
        while not self.over():
            with suppress(OSError):  # a full disk
                samples = samples or Samples(self.folder / attempts.SYSTEM)
                samples.take()
            if time.monotonic() >= due:
                wait = EVERY if self.send(live=True) else min(2 * wait, LONGEST)
                due = time.monotonic() + wait
            time.sleep(LOOK)
        return self.finish()

    def finish(self) -> bool:
        """The last sending, tried for `PATIENCE` seconds."""
        deadline = time.monotonic() + PATIENCE
        while not self.send():
            if time.monotonic() > deadline:
                return False
            time.sleep(2)
        return True


def wait_in_a_job(process: subprocess.Popen | None) -> None:
    """Wait for a sender where it would end with this process: Slurm ends all that a job leaves behind."""
    if process is not None and "SLURM_JOB_ID" in os.environ:
        with suppress(subprocess.TimeoutExpired):
            process.wait(IN_A_JOB)


def main() -> int:
    folder, parent = Path(sys.argv[1]), int(sys.argv[2])  # not getppid: it may be dead by now
    sys.excepthook = hook
    os.nice(10)  # the training goes before
    try:
        params = parse(json.load(sys.stdin))
        with alone(folder, wait=True):
            return 0 if Sender(folder, parent, params).follow() else 1
    except GlatError as error:
        tell(f"not sent to MLflow: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())

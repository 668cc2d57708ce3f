"""What a training does for MLflow: note in the run's folder what happens, and start the process that sends it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning

from ..config.params import Params
from ..config.runs import Run, split_packs
from ..lib.errors import tell
from ..training.progress import first_process
from . import attempt
from .facts import data_hash
from .sender import LOG, wait_in_a_job
from .watch import Watch


class Begin(lightning.Callback):
    """Tells when the training really starts: after it waited for another one, and from which step."""

    def __init__(self, run: Run, folder: Path, params: Params):
        self.run, self.folder, self.params, self.begun = run, folder, params, False
        self.sender: subprocess.Popen | None = None

    def on_train_start(self, trainer, stage) -> None:
        with at_no_cost(self.folder):
            execution = self.params.execution_of(self.run.dataset, self.run.backbone)
            attempt.begin(self.folder, trainer.global_step, data_hash(self.run), execution)
            self.begun = True
            self.sender = sender(self.folder, self.params)


@contextmanager
def at_no_cost(folder: Path) -> Iterator[None]:
    """What cannot be noted (a full disk, a damaged note) is told, and stops no training."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is
        tell(f"{folder}: not noted for MLflow: {error}")


@contextmanager
def follow(run: Run, folder: Path, params: Params | None) -> Iterator[list[lightning.Callback]]:
    """Callbacks for a training inside the block; how the block ends is how the training ended.

    `params`: the project's settings; None, or with `tracking.enabled` false: nothing is followed. Only the first
    process of a distributed training is.
    """
    asked = params is not None and params.tracking.enabled and run.dataset in params.datasets
    if not asked or not first_process():
        yield []
        return
    packs = split_packs(params, run.dataset, params.datasets[run.dataset].evaluate)
    begin = Begin(run, folder, params)
    try:
        yield [begin, Watch(run, folder, packs, params.tracking.watch)]
    except BaseException as error:
        if begin.begun:
            failed = isinstance(error, Exception)
            with at_no_cost(folder):
                attempt.end(folder, "FAILED" if failed else "KILLED", str(error) if failed else "")
            wait_in_a_job(begin.sender)
        raise
    if begin.begun:
        with at_no_cost(folder):
            attempt.end(folder, "FINISHED")
        wait_in_a_job(begin.sender)


def sender(folder: Path, params: Params) -> subprocess.Popen | None:
    """Start the process that sends a run, in a session of its own, so that what kills this process leaves it alive.

    It is given the settings on its standard input, as they are here after every change to them. It writes to `mlflow.log` in the folder. A machine that cannot start it loses nothing: the folder is sent later.
    """
    try:
        with (folder / LOG).open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "glat.tracking.sender", str(folder), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            with process.stdin:
                process.stdin.write(params.model_dump_json(by_alias=True).encode())
            return process
    except OSError as error:
        tell(f"{folder}: not sent to MLflow now ({error}); `glat track sync` sends it later")
        return None

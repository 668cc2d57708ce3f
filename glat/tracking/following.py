"""What a training and an evaluation do for MLflow: note in the run's folder what happens, and send it from a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning

from ..config.params import Params
from ..config.runs import Run, evaluation_packs
from ..lib.errors import GlatError, warn
from ..lib.hardware import first_process
from ..lib.logs import SENDER
from ..lib.redaction import redact
from ..training import attempt
from ..training.progress import Curve
from ..training.watch import Watch
from .send import Sending
from .store import Store

EVERY = 5.0  # seconds between two sendings; a hundredth of the time since the start, so that weeks cost no more
LONGEST = 120.0  # seconds up to which the wait doubles while a server does not answer
PATIENCE = 20.0  # seconds that a process waits at its end for what it sends


class Sender(threading.Thread):
    """Sends a run's folder until `finish`. It ends with the process: what is not sent by then, `glat track sync` sends."""

    def __init__(self, folder: Path, params: Params):
        super().__init__(name=SENDER, daemon=True)
        self.folder, self.params = folder, params
        self.store: Store | None = None
        self.over, self.failure = threading.Event(), ""
        self.monitor: Any = None

    def run(self) -> None:
        begin, wait = time.monotonic(), 0.0
        while not self.over.wait(max(wait, (time.monotonic() - begin) / 100) if wait else 0):
            wait = EVERY if self.send(live=True) else min(max(2 * wait, EVERY), LONGEST)
        self._end_monitor()
        self.send()

    def send(self, live: bool = False) -> bool:
        """Try once; the reason of a failure is told once."""
        failure = ""
        try:
            self.store = self.store or Store()
            sending = Sending(self.folder, self.store, self.params)
            sending.send(live)
            if live and not self.monitor:
                from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

                self.monitor = SystemMetricsMonitor(sending.id, resume_logging=True, tracking_uri=self.store.address)
                self.monitor.start()
        except Exception as error:
            failure = str(error) if isinstance(error, GlatError) else redact(f"{type(error).__name__}: {error}")
            if failure != self.failure:
                warn(f"{self.folder}: not sent to MLflow: {failure}")
            self.store = None  # a server that comes back is opened anew
            self._end_monitor()
        self.failure = failure
        return not failure

    def _end_monitor(self) -> None:
        if self.monitor:
            self.monitor.finish()
            self.monitor = None

    def finish(self) -> None:
        """Have the rest sent, and wait for it: `PATIENCE` seconds, and less for a server that did not answer before."""
        self.over.set()
        self.join(1.0 if self.failure else PATIENCE)
        if self.is_alive() or self.failure:
            warn(f"{self.folder}: MLflow lacks something of it; `glat track sync` sends it")


def send_now(folder: Path, params: Params) -> None:
    """Send a run that is not trained now, as far as that takes no longer than `PATIENCE`."""
    sender = Sender(folder, params)
    sender.over.set()
    sender.start()
    sender.finish()


class Follow(lightning.Callback):
    """Notes the start of a training once it really starts, after it waited for another one, and sends from then on."""

    def __init__(self, run: Run, folder: Path, params: Params):
        self.run, self.folder, self.sender, self.begun = run, folder, Sender(folder, params), False

    def on_train_batch_start(self, trainer, stage, *_) -> None:
        if self.begun:
            return
        self.begun = True  # the loaders' processes are there by now: none is forked from one with a thread that sends
        with at_no_cost(self.folder):
            accelerator = "gpu" if stage.device.type == "cuda" else stage.device.type
            data = attempt.data_hash(self.run)
            before = sum(one.seconds for one in trainer.callbacks if isinstance(one, Curve))
            attempt.begin(self.folder, trainer.global_step, data, accelerator, trainer.world_size, before)
            self.sender.start()

    def end(self, status: str, reason: str = "") -> None:
        if self.sender.ident is not None:  # it was started
            with at_no_cost(self.folder):
                attempt.end(self.folder, status, reason)
            self.sender.finish()


@contextmanager
def at_no_cost(folder: Path) -> Iterator[None]:
    """What cannot be noted (a full disk, a damaged note) is told, and stops no training."""
    try:
        yield
    except Exception as error:
        warn(f"{folder}: not noted for MLflow: {error}")


@contextmanager
def follow(run: Run, folder: Path, params: Params | None) -> Iterator[list[lightning.Callback]]:
    """Callbacks for a training inside the block; how the block ends is how the training ended.

    `params`: the project's settings; None, or with `tracking.enabled` false: nothing is followed. Only the first
    process of a distributed training is.
    """
    if not (params and params.tracking.enabled and run.dataset in params.datasets and first_process()):
        yield []
        return
    following = Follow(run, folder, params)
    packs = evaluation_packs(params, run)
    try:
        yield [following, Watch(run, folder, packs, params.tracking.watch)]
    except BaseException as error:
        failed = isinstance(error, Exception)
        following.end("FAILED" if failed else "KILLED", str(error) if failed else "")
        raise
    following.end("FINISHED")

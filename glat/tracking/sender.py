"""A thread that sends what stands in a run's folder to MLflow: while a training runs, or what an evaluation added."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from ..config.params import Params
from ..lib.errors import GlatError, warn
from ..lib.logs import SENDER
from ..lib.redaction import redact
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

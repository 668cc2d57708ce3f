"""What a training does for MLflow: note in the run's folder what happens, and have it sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning

from ..config.params import Params
from ..config.runs import Run, evaluation_packs
from ..lib.errors import GlatError, warn
from ..lib.hardware import first_process
from ..training import attempt
from ..training.progress import Curve
from ..training.watch import Watch
from .sender import Sender


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
    callbacks: list[lightning.Callback] = [following]
    try:
        callbacks.append(Watch(run, folder, evaluation_packs(params, run), params.tracking.watch))
    except GlatError as error:
        warn(f"{folder}: not scored on evaluation clips while it is trained: {error}")
    try:
        yield callbacks
    except BaseException as error:
        failed = isinstance(error, Exception)
        following.end("FAILED" if failed else "KILLED", str(error) if failed else "")
        raise
    following.end("FINISHED")

"""What a training leaves behind while it runs: its curve, its resume point, and a sign of life."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import lightning
import torch
from lightning.pytorch.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment
from torch import Tensor
from torch.distributed import DistError, TCPStore

from ..config.runs import Run, write_run
from ..lib.errors import GlatError, brief, tell, warn
from ..lib.files import locked, whole
from ..lib.hardware import first_process

FAILED = -2  # told in place of what the first process decides
TOGETHER = timedelta(minutes=10)  # in which all processes of a training begin
COLUMNS = ("step", "loss", "loss_global", "loss_local", "learning_rate", "gradient_norm", "clips_per_second", "seconds")


@contextmanager
def run_lock(lock: Path) -> Iterator[bool]:
    """Hold a run's lock, so that two processes never train it at once; the system frees it when its holder ends.

    Only the first process of a distributed training takes it; the others hear of it by `decided_by_first`. Yields whether
    it had to wait for another training: one that outlived a killed Snakemake, as a rule.
    """
    if not first_process():
        yield False
        return
    with locked(lock, f"{lock.parent}: another process trains this run; waiting for it to end") as waited:
        yield waited


def decided_by_first(cluster: ClusterEnvironment, decide: Callable[[], int]) -> int:
    """What the first process decides, which holds the run's lock, for all that srun or torchrun started beside it; they wait
    as long as it waits for the lock. A process that Lightning started decides for itself: the first had settled all before.

    Raises GlatError in the others where the first fails, and in the first where one of them does not come.
    """
    if not isinstance(cluster, SLURMEnvironment | TorchElasticEnvironment) or (world := cluster.world_size()) == 1:
        return decide()
    first = cluster.global_rank() == 0
    port = 1024 + (cluster.main_port + 10_000) % 64_000  # not the training's own
    try:  # when the first comes, which may have waited for the lock, all others are there
        store = TCPStore(cluster.main_address, port, world, first, TOGETHER if first else timedelta(days=30))
        return _tell_others(store, world, decide) if first else _hear(store)
    except DistError as error:
        what = (
            f"not all {world} processes of this training came within {TOGETHER}" if first else "the first process ended"
        )
        raise GlatError(f"{what}; the lines of the others, or their logs, say why ({brief(error, 100)})") from None


def _tell_others(store: TCPStore, world: int, decide: Callable[[], int]) -> int:
    """What `decide` returns, once all others have heard of it, or that it failed: the store ends with its process."""
    decided = FAILED
    try:
        decided = decide()
    finally:
        store.set("decided", str(decided))
        end = time.monotonic() + TOGETHER.total_seconds()
        while store.add("heard", 0) < world - 1 and time.monotonic() < end:
            time.sleep(0.05)
    return decided


def _hear(store: TCPStore) -> int:
    decided = int(store.get("decided"))
    store.add("heard", 1)
    if decided == FAILED:
        raise GlatError("the first process of this training failed; its line, or its log, says why")
    return decided


def over_processes(trainer: lightning.Trainer, values: dict[str, Tensor]) -> dict[str, float]:
    """Means over the processes of a training, whose parts of a batch are equal: what the whole batch has."""
    if not values:
        return {}
    own = torch.stack([value.to(trainer.strategy.root_device, torch.float64) for value in values.values()])
    whole = own if trainer.world_size == 1 else trainer.strategy.reduce(own, reduce_op="mean")
    return dict(zip(values, whole.tolist(), strict=True))


class Curve(lightning.Callback):
    """train.csv: every `every` steps the means since the last line, over the whole batches, and the speed.

    The lines are in a hidden file while the training runs, which is moved to `path` at its end. They are part of the
    resume point, as are the sums since the last of them and the time.
    """

    def __init__(self, path: Path, every: int, batch_size: int):
        self.path, self.every, self.batch_size = path, every, batch_size
        self.part = path.with_name(f".{path.name}.part")
        self.rows: list[dict[str, float]] = []
        self.sums: dict[str, Tensor] = {}  # float64, of the steps since the last line, on the device
        self.steps = 0
        self.seconds = self.since = 0.0  # of training before this process, in all and since the last line

    def on_save_checkpoint(self, trainer, stage, checkpoint) -> None:
        now, sums = time.monotonic(), over_processes(trainer, self.sums)
        stage.check(sums, trainer.global_step)  # so that no resume point holds what no training can go on with
        checkpoint["glat_curve"] = {
            "rows": self.rows,
            "sums": sums,
            "steps": self.steps,
            "seconds": now - self.begin,
            "since": now - self.last,
        }

    def on_load_checkpoint(self, trainer, stage, checkpoint) -> None:
        for name, value in checkpoint["glat_curve"].items():
            setattr(self, name, value)
        self.sums = {name: torch.tensor(value, dtype=torch.float64) for name, value in self.sums.items()}

    def on_train_start(self, trainer, stage) -> None:
        now = time.monotonic()
        self.begin, self.last = now - self.seconds, now - self.since
        if trainer.is_global_zero:
            self._write()

    def on_train_batch_end(self, trainer, stage, *_) -> None:
        for name, value in stage.row.items():
            self.sums[name] = value.double() + self.sums.get(name, 0.0)
        self.steps += 1
        step = trainer.global_step
        if step % self.every and step != trainer.max_steps and not trainer.should_stop:
            return
        means = over_processes(trainer, {name: total / self.steps for name, total in self.sums.items()})
        stage.check(means, step)
        now = time.monotonic()
        if trainer.is_global_zero:
            speed = round(self.steps * self.batch_size / (now - self.last), 2)
            self.rows.append({"step": step, **means, "clips_per_second": speed, "seconds": round(now - self.begin, 2)})
            self._write()
        self.sums, self.steps, self.last = {}, 0, now

    def _write(self) -> None:
        with whole(self.part) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)

    def finish(self) -> None:
        """Move the finished curve to its place."""
        self._write()
        os.replace(self.part, self.path)


class Kept(lightning.Callback):
    """kept/<step>/ every `every` steps: the network as it then is, with its run's settings, so that `glat evaluate` scores
    it. Nothing is chosen by them. every: None for no such network."""

    def __init__(self, run: Run, folder: Path, every: int | None, save: Callable[[int, Path], None]):
        self.run, self.folder, self.every, self.save = run, folder / "kept", every, save

    def remove(self) -> None:
        """Remove those of an earlier training."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def on_train_batch_end(self, trainer, stage, *_) -> None:
        step = trainer.global_step
        if not self.every or step % self.every:
            return
        stage.check(over_processes(trainer, stage.row), step)
        if trainer.is_global_zero:
            folder = self.folder / f"{step:07d}"
            with stage.in_use():
                self.save(step, folder / "checkpoint.pt")
            write_run(self.run, folder / "config.yaml")


class EndAtOnce(lightning.Callback):
    """SIGTERM, as a cluster sends it, ends each process at once. Lightning's own handler has them end together, where
    some wait for the others without an end, and keep the run's lock."""

    def on_train_start(self, trainer, stage) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


class PlainProgress(lightning.Callback):
    """Lines for a log (about twenty a training), and a warning if the network scores every clip the same.

    That is looked at every `every` steps, on the step's own batch: on the first process's part of it. where: what it is
    computed on, in words.
    """

    def __init__(self, run: Run, start: int, every: int, where: str):
        self.run, self.start, self.every, self.where = run, start, every, where
        self.live = sys.stderr.isatty()  # then Lightning draws its bar
        self.equal = 0  # looks in a row that found all scores the same

    def state_dict(self) -> dict:
        return {"equal": self.equal}

    def load_state_dict(self, state: dict) -> None:
        self.equal = state["equal"]

    def on_train_start(self, trainer, stage) -> None:
        if trainer.is_global_zero:
            begun = f"resumed at step {self.start}" if self.start else "from the start"
            tell(f"{self.run.folder}: {self.run.training.steps} steps, {begun} ({self.where})")
        self.begin = time.monotonic()

    def on_train_batch_end(self, trainer, stage, outputs, batch, *_) -> None:
        step, steps = trainer.global_step, trainer.max_steps
        if trainer.is_global_zero and step % self.every == 0:
            self.equal = self.equal + 1 if stage.collapsed(batch["waveform"]) else 0
            if self.equal == 2:
                warn(
                    f"warning: {self.run.folder}: step {step}: training has collapsed: all clips of a batch get the "
                    "same scores, now and at the last look; lower training.learning_rate or start again with another seed"
                )
        if step % max(1, steps // 20) and step != steps:
            return
        loss = over_processes(trainer, {"loss": stage.row["loss"]})["loss"]
        if self.live or not trainer.is_global_zero:
            return
        speed = (step - self.start) / (time.monotonic() - self.begin)
        left = (steps - step) / speed
        tell(
            f"{self.run.folder}: step {step}/{steps}, loss {loss:.4f}, "
            f"{speed * self.run.training.batch_size:.1f} clips/s, {left:.0f} s left"
        )

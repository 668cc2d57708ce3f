"""What the steps over a shard have in common: processes to work with, progress, and the room that they need."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from operator import length_hint
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from ..lib.errors import GlatError, tell

STRINGS = {"dtype": str, "keep_default_na": False, "encoding": "utf-8"}  # how pandas reads a table of names

T = TypeVar("T")


def progress(items: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """A bar on a terminal, a plain line each 10 % in a log. total: how many there are, where `items` has no length."""
    total = length_hint(items) if total is None else total
    if sys.stderr.isatty():
        yield from tqdm(items, title, total, leave=False)
        return
    step = 0
    for done, item in enumerate(items, 1):
        yield item
        if done * 10 // total > step:
            step = done * 10 // total
            tell(f"{title}: {done} of {total}")


def in_order(
    work: Callable[..., T], jobs: Iterable[tuple[Any, ...]], workers: int, title: Callable[..., str], ahead: int = 4
) -> Iterator[T]:
    """`work(*job)` of each job in their order, by `workers` processes, each at most `ahead` results ahead of the reader.

    title: what to call a job in an error. Raises GlatError, at about its job, where a process is killed.
    """
    if workers <= 1:
        yield from (work(*job) for job in jobs)
        return
    # Spawned, not forked: the parent may hold threads (torch, HDF5), which a fork would leave half alive.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _follow_parent)
    jobs, begun = iter(jobs), deque[tuple[tuple[Any, ...], Future[T]]]()
    try:
        while True:
            while len(begun) < ahead * workers and (job := next(jobs, None)) is not None:
                begun.append((job, pool.submit(work, *job)))
            if not begun:
                return
            job, result = begun.popleft()
            try:
                yield result.result()
            except BrokenProcessPool:
                raise GlatError(f"{title(*job)}: a worker process died here or just after; out of memory?") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end with it: a killed parent must not leave workers waiting for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if parent := multiprocessing.parent_process():
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()


def need_space(path: Path, size: int) -> None:
    """Raise GlatError unless `size` bytes are free where `path` is to be written."""
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise GlatError(f"{path}: needs {size / 1e9:.3g} GB and {folder} has {free / 1e9:.3g} GB free; make room")

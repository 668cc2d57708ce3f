"""What the steps over a shard have in common: their progress, and the room that they need."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sized
from pathlib import Path

from tqdm import tqdm

from ..lib.errors import GlatError, tell

STRINGS = {"dtype": str, "keep_default_na": False, "encoding": "utf-8"}  # how pandas reads a table of names


def progress(items: Sized, title: str) -> Iterator:
    """A bar on a terminal, a plain line each 10 % in a log."""
    if sys.stderr.isatty():
        yield from tqdm(items, title, leave=False)
        return
    total, step = len(items), 0
    for done, item in enumerate(items, 1):
        yield item
        if done * 10 // total > step:
            step = done * 10 // total
            tell(f"{title}: {done} of {total}")


def need_space(path: Path, size: int) -> None:
    """Raise GlatError unless `size` bytes are free where `path` is to be written."""
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise GlatError(f"{path}: needs {size / 1e9:.3g} GB and {folder} has {free / 1e9:.3g} GB free; make room")

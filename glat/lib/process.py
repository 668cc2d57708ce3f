"""Settings of a process that save time and change no result."""

from __future__ import annotations

import gc
import os


def tune() -> None:
    """Make this process faster; to be called before torch makes its first tensor.

    The garbage collector, with Python's own settings, takes a third of the time of a short command: it searches, while torch
    and Lightning are imported, through their hundred thousands of objects, none of which is garbage.

    torch takes memory for each large tensor from the system and gives it back at once, page by page of 4 kB, which is a
    good part of a narrow network's training step on a CPU. With THP_MEM_ALLOC_ENABLE it asks Linux for pages of
    2 MB (`benchmarks.pages`); 0 in the environment prevents it.
    """
    gc.set_threshold(50_000, 20)
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

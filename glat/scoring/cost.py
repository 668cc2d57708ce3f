"""The cost of a network: multiply-adds, which are the same everywhere, and seconds on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..models.tagger import Tagger


def multiply_adds(tagger: Tagger, seconds: float) -> int:
    """Multiply-adds of one clip of `seconds` through the network: convolutions and matrix products, as PyTorch counts
    them. The front end, which every network shares, does not count."""
    front_end = tagger.front_end
    device = next(tagger.parameters()).device
    training = tagger.training
    with torch.inference_mode():
        silence = torch.zeros(1, round(seconds * front_end.sample_rate), device=device)
        logmel = front_end(silence)
        with FlopCounterMode(display=False) as counter:
            tagger.eval().from_logmel(logmel, seconds)
    tagger.train(training)
    return counter.get_total_flops() // 2


class Stopwatch:
    """Seconds per clip: the median over batches, without the first (the warm-up) if there are others.

    On a CPU this is CPU time, summed over the threads of the process, so that other processes do not count; on a GPU it
    is wall-clock time.
    """

    def __init__(self, device: str):
        self.gpu = device != "cpu"
        self.clock = "GPU, time passed" if self.gpu else "CPU time"
        self.laps: list[float] = []

    @contextmanager
    def lap(self, clips: int) -> Iterator[None]:
        """Time one batch of `clips` clips."""
        start = self._now()
        yield
        self.laps.append((self._now() - start) / clips)

    def _now(self) -> float:
        if self.gpu:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    @property
    def seconds_per_clip(self) -> float:
        return median(self.laps[1:] or self.laps)

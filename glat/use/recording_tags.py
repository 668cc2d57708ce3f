"""What the clips of one recording become, one after the other: scores over time, events, or tags of clips."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .events import Hysteresis, MedianFilter, odd_steps
from .formats import Tag
from .hearing import Heard
from .options import Plan
from .overlaps import Overlaps, Steps


class OverTime:
    """The clips of one recording -> its scores over time, block by block: on `Steps`, and the mean where clips overlap.

    seconds: the clips' length; hop: from one clip's start to the next one's.
    """

    def __init__(self, seconds: float, hop: float):
        self.seconds, self.hop, self.step = seconds, hop, 0.0  # of a step; known with the first clip
        self._overlaps, self._given = Overlaps(), 0

    def add(self, one: Heard) -> np.ndarray:
        """(n, L): the steps that no later clip changes."""
        assert one.timeline is not None
        steps = Steps(one.timeline.frame, self.seconds, self.hop)
        self.step = steps.seconds
        found = self._overlaps.add(*steps.spread(one.timeline.fused[0].numpy(), one.start))
        self._given += len(found)
        return found

    def end(self, seconds: float) -> np.ndarray:
        """The steps that are left of a recording of so many seconds: none of the zeros behind it."""
        left = self._overlaps.end()
        return left[: max(0, int(np.ceil(round(seconds / self.step, 6))) - self._given)] if len(left) else left


class Events:
    """The events of one recording."""

    def __init__(self, plan: Plan, seconds: float, labels: list[str], file: Path):
        self.plan, self.labels, self.file = plan, labels, file
        self.time, self.runs = OverTime(seconds, plan.hop), Hysteresis(plan.high, plan.low)
        self.smooth: MedianFilter | None = None

    def add(self, one: Heard) -> Iterator[Tag]:
        scores = self.time.add(one)
        if self.smooth is None:
            self.smooth = MedianFilter(odd_steps(self.plan.median, self.time.step))
        yield from self._tags(scores, one.end)

    def end(self, seconds: float) -> Iterator[Tag]:
        if self.smooth is None:
            return
        yield from self._tags(self.time.end(seconds), seconds)
        found = [*self.runs.add(self.smooth.end()), *self.runs.end()]
        yield from (self._tag(event, seconds) for event in found)

    def _tags(self, scores: np.ndarray, seconds: float) -> Iterator[Tag]:
        assert self.smooth is not None
        for event in self.runs.add(self.smooth.add(scores)):
            yield self._tag(event, seconds)

    def _tag(self, event: Any, seconds: float) -> Tag:
        end = min(event.offset * self.time.step, seconds)
        return Tag(self.file, event.onset * self.time.step, end, self.labels[event.label], event.score)


class Clips:
    """The classes of the clips of one recording."""

    def __init__(self, plan: Plan, labels: list[str], file: Path):
        self.plan, self.labels, self.file = plan, labels, file

    def add(self, one: Heard) -> Iterator[Tag]:
        for index, score in best(one.streams.fused[0], self.plan):
            yield Tag(self.file, one.start, one.end, self.labels[index], score)

    def end(self, seconds: float) -> Iterator[Tag]:
        return iter(())


def best(scores: torch.Tensor, plan: Plan) -> Iterator[tuple[int, float]]:
    """Index and score of the classes of one clip, (L,), that reach their thresholds: the `plan.top` highest, best first."""
    order = scores.argsort(descending=True).tolist()
    reach = ((index, score) for index in order if (score := scores[index].item()) >= plan.high[index])
    yield from islice(reach, plan.top)

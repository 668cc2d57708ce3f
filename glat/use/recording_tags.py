"""What the clips of one recording become, one after the other: scores over time, events, or tags of clips."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .events import Hysteresis, MedianFilter, odd_frames
from .formats import Tag
from .hearing import Heard
from .options import Plan
from .overlaps import Overlaps


class OverTime:
    """The clips of one recording -> its scores over time, block by block: the mean where clips overlap.

    seconds: the clips' length. A clip's frames are put where the nearest frames of the first clip's grid are, so with a `hop`
    that is no whole number of frames they are up to half a frame off.
    """

    def __init__(self, seconds: float):
        self.seconds, self.frame = seconds, 0.0  # of a frame; known with the first clip
        self._overlaps, self._given = Overlaps(), 0

    def add(self, one: Heard) -> np.ndarray:
        """(n, L): the frames that no later clip changes."""
        assert one.timeline is not None
        scores = one.timeline.fused[0].numpy()  # (T, L)
        self.frame = self.seconds / len(scores)
        found = self._overlaps.add(round(one.start / self.frame), scores)
        self._given += len(found)
        return found

    def end(self, seconds: float) -> np.ndarray:
        """The frames that are left of a recording of so many seconds: none of the zeros behind it."""
        left = self._overlaps.end()
        return left[: max(0, int(np.ceil(round(seconds / self.frame, 6))) - self._given)] if len(left) else left


class Events:
    """The events of one recording."""

    def __init__(self, plan: Plan, seconds: float, labels: list[str], file: Path):
        self.plan, self.labels, self.file = plan, labels, file
        self.time, self.runs = OverTime(seconds), Hysteresis(plan.high, plan.low)
        self.smooth: MedianFilter | None = None

    def add(self, one: Heard) -> Iterator[Tag]:
        scores = self.time.add(one)
        if self.smooth is None:
            self.smooth = MedianFilter(odd_frames(self.plan.median, self.time.frame))
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
        frame = self.time.frame
        end = min(event.offset * frame, seconds)
        return Tag(self.file, event.onset * frame, end, self.labels[event.label], event.score)


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

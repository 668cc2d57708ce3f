"""What the backbones of all libraries share: a head on frame features, and one sentence where a library is not there."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from ..lib.errors import brief
from .backbone import Backbone

if TYPE_CHECKING:
    from ..config.network import Network

# What libraries raise for inputs that their networks do not take.
FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def library(name: str) -> ModuleType:
    """An optional library. Raises ValueError, which says how it is installed."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ValueError(
            f"{name} is not installed; `pip install glat[{name}]` or `uv sync --locked --extra {name}`"
        ) from None


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: those that are near it, if there are any."""
    near = get_close_matches(name, list(known), 3, 0.5)
    return f"; near are {', '.join(near)}" if near else ""


class LibraryBackbone(Backbone):
    """A library's network with a head that has `clip` and `frames` (`glat.models.heads`) on its frame features."""

    classifier: tuple[str, ...] = ("head",)
    head: nn.Module
    multiples: ClassVar[tuple[int, ...]] = (1,)  # what the number of frames that it hears may have to be a multiple of
    multiple: int = 1  # the one of them that it is; `features` pads what is shorter

    def __init__(self, classes: int, width: float, mels: int, network: Network):
        super().__init__()
        self.network = network

    @abstractmethod
    def load_pretrained(self, names: list[str] | None) -> list[str]:
        """Load the library's published weights. names: the display names of the classes, in order.

        Returns those whose part of the classifier stays as it was initialised.

        Raises:
            ValueError: they can't be had, or are of another network.
        """

    def fault(self, frames: int, mels: int) -> str:
        """Why it takes no input of `frames` frames; empty where it does. It must have been made on the device "meta", where
        nothing is computed."""
        try:
            found = self._try(frames, mels)
        except FAULTS as error:
            return brief(error, 200) or f"it raises {type(error).__name__}"
        return "" if found.dim() == 3 and found.shape[1] else "it leaves no frame"

    def least_frames(self, clip: int, windows: list[int], mels: int) -> int:
        """The shortest input that gives frame features. It must have been made on the device "meta"; `multiple` becomes the
        first of `multiples` with which it takes the clip and the windows, and `stride` is found if it is a whole number.

        Raises:
            ValueError: it takes no clip of `clip` frames, or none of the windows.
        """
        inputs, refusals = [("clip", clip), *(("window", one) for one in windows)], list[str]()
        for multiple in self.multiples:
            self.multiple = multiple
            faults = (
                f"{what} of {n} frames by {mels} bands: {why}" for what, n in inputs if (why := self.fault(n, mels))
            )
            if (first := next(faults, None)) is None:
                break
            refusals.append(first)
        else:
            raise ValueError(f"{self.network.model} takes no {refusals[0]}")
        self.stride = self._find_stride(clip, mels)
        low, high = 1, clip
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.fault(middle, mels) else (low, middle)
        return low

    def _find_stride(self, clip: int, mels: int) -> int | None:
        """`stride`: by how much longer an input is that has so many more frames of M."""
        try:
            few, many = (self._try(frames, mels).shape[1] for frames in (clip, 5 * clip))
            stride = round(4 * clip / (many - few))
            return stride if self._try(clip + 64 * stride, mels).shape[1] == few + 64 else None
        except FAULTS:  # it takes no longer input
            return None

    def _try(self, frames: int, mels: int) -> Tensor:
        """M of an input of `frames` frames, as a shape without values."""
        return self.features(torch.zeros(1, 1, frames, mels, device="meta"))

    def clip_scores(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return self.head.clip(features.float())  # type: ignore[operator]

    def frame_scores(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return self.head.frames(features.float())  # type: ignore[operator]

"""The interface of a backbone, and the layers that several backbones share.

A backbone turns a log-mel spectrogram into frame features M (B, T, C), and M into clip scores and frame scores. GL-AT
(`twostream.py`) wraps any module with this interface without knowing which one it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from .frontend import FrontEnd


class Masked(NamedTuple):
    """Clips or windows under SpecAugment."""

    logmel: Tensor  # (B, 1, frames, mels) in dB
    keep: Tensor | None  # see `Backbone`; None: nothing is masked


class Backbone(nn.Module, ABC):
    """The interface between a network and GL-AT. To add a network, subclass it in a file and list it in `registry.py`.

    Class attributes:
        front_end: settings of `LogMel` that differ from its defaults.
        min_frames: the shortest log-mel input, in frames, that leaves one frame after all pooling.
        stride: how many frames of log-mel there are to a frame of M; None: those of M fill the input evenly. If pooling
            drops the end of an input, frames that are spread evenly over it are too late.
        classifier: names of the submodules that make up the classifier (for `sharing: classifier`, `frame_dropout`, and for
            what is frozen or trained at a rate of its own); the rest is what trained weights bring to other classes.

    SpecAugment is a mask `keep` (B, 1, frames, mels), 0 inside a stripe and 1 outside, by which the spectrogram is
    multiplied after its bands are normalised. A network that normalises its bands takes it as a second argument,
    `features(logmel, keep=None)`, and passes it to `normalise_mels`. A network without that argument gets stripes
    filled with each band's mean instead.
    """

    front_end: ClassVar[dict[str, Any]] = {}
    min_frames: int = 1
    stride: int | None = None
    classifier: tuple[str, ...] = ("fc1", "fc_audioset")
    dropout_scale: float = 1.0

    @classmethod
    def own_front_end(cls, sample_rate: int, network: Any) -> FrontEnd | None:  # noqa: ARG003 - for those who have one
        """A front end of its own for waveforms of a rate, in the place of `LogMel`; None: it has none."""
        return None

    takes_keep: ClassVar[bool] = False  # whether `features` has that second argument

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.takes_keep = "keep" in signature(cls.features).parameters

    def dropout(self, x: Tensor, rate: float) -> Tensor:
        """Dropout at the published `rate` times `dropout_scale`; a small network in a short training needs less."""
        return F.dropout(x, rate * self.dropout_scale, self.training)

    @abstractmethod
    def features(self, logmel: Tensor) -> Tensor:
        """(B, 1, frames, mels) log-mel in dB -> frame features M (B, T, C)."""

    @abstractmethod
    def clip_scores(self, features: Tensor) -> Tensor:
        """M (B, T, C) -> class probabilities of the clip (B, L), float32."""

    @abstractmethod
    def frame_scores(self, features: Tensor) -> Tensor:
        """M (B, T, C) -> class probabilities of each frame (B, T, L), float32, without dropout: S_g of the paper."""

    def frame_seconds(self, seconds: float, frames: int, per_second: float) -> float:
        """How long a frame of M lasts, where there are `frames` in an input of `seconds`, of a log-mel with `per_second`."""
        return self.stride / per_second if self.stride else seconds / frames

    def masked_features(self, logmel: Tensor, keep: Tensor | None) -> Tensor:
        """`features` under SpecAugment, whether or not the network takes `keep`; None: nothing is masked."""
        if keep is None:
            return self.features(logmel)
        if self.takes_keep:
            return self.features(logmel, keep)  # type: ignore[call-arg]
        # Of each clip by itself: a batch may be in parts, on several processes.
        return self.features(torch.lerp(logmel.mean(2, keepdim=True), logmel, keep))

    def forward(self, logmel: Tensor, keep: Tensor | None = None) -> Tensor:
        """(B, 1, frames, mels) -> clip scores (B, L)."""
        return self.clip_scores(self.masked_features(logmel, keep))


class PooledHead(Backbone):
    """A backbone with the head of PANNs: max + mean over time, two fully connected layers, sigmoid per class."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.fc1 = nn.Linear(channels, channels)
        self.fc_audioset = nn.Linear(channels, classes)

    def clip_scores(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            m = features.float()  # (B, T, C)
            x = m.amax(1) + m.mean(1)  # (B, C): pooling P (PANNs)
            x = self.dropout(x, 0.5)
            x = F.relu(self.fc1(x))
            x = self.dropout(x, 0.5)
            return torch.sigmoid(self.fc_audioset(x))  # (B, L)

    def frame_scores(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return torch.sigmoid(self.fc_audioset(F.relu(self.fc1(features.float()))))  # (B, T, L)


class ConvBlock(nn.Module):
    """[conv 3x3 - BN - ReLU] x 2, then average pooling over (time, frequency): the block of PANNs."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, pool: int = 2) -> Tensor:
        x = F.relu_(self.bn1(self.conv1(x)))
        x = F.relu_(self.bn2(self.conv2(x)))
        return F.avg_pool2d(x, pool) if pool > 1 else x


def normalise_mels(bn: nn.BatchNorm2d, logmel: Tensor, keep: Tensor | None = None) -> Tensor:
    """Batch-normalise each mel band of (B, 1, frames, mels), then multiply by `keep`: the first layer of every network
    (PANNs)."""
    # On the device "meta", where a library's network is tried, there is nothing to cast.
    with nullcontext() if logmel.is_meta else torch.autocast(logmel.device.type, enabled=False):
        x = bn(logmel.float().transpose(1, 3)).transpose(1, 3)
        return x if keep is None else x * keep


def scale_channels(channels: int, width: float) -> int:
    """`channels` times `width`, rounded to a multiple of 8 (at least 8) to fill vector units."""
    return channels if width == 1 else max(8, round(channels * width / 8) * 8)


def initialise(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for convolutions and linear layers (PANNs); use with `Module.apply`."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

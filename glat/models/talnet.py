"""TALNet ([9] of the paper): ten convolutions, a bidirectional GRU, and linear softmax pooling of frame scores."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, initialise, normalise_mels, scale_channels

RANGE = (1e-7, 1 - 1e-7)  # of probabilities, so that no loss is infinite (its authors' code)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class TALNet(Backbone):
    """9 980 527 parameters at width 1 with 527 classes; M has T = 100 frames for 10 s and C = 1024 channels.

    Its front end gives 40 frames a second (400 for 10 s). The original normalises each mel band by the training
    set's mean and deviation; here the batch normalisation at the start of all networks does that (ours). The GRU starts
    with orthogonal weights and zero biases, and frame probabilities are clamped (its authors' code).
    """

    front_end: ClassVar[dict[str, Any]] = {"hop": 800, "centred_end": False}
    min_frames = stride = 4
    classifier = ("fc",)

    def __init__(self, classes: int, width: float = 1.0, mels: int = 64):
        super().__init__()
        self.bn0 = nn.BatchNorm2d(mels, affine=False)
        channels = [scale_channels(c, width) for c in (32, 64, 128, 256, 512)]
        self.block1 = _block(1, channels[0])
        self.block2 = _block(channels[0], channels[1])
        self.block3 = _block(channels[1], channels[2])
        self.block4 = _block(channels[2], channels[3])
        self.block5 = _block(channels[3], channels[4])
        self.gru = nn.GRU(channels[4] * (mels // 32), scale_channels(512, width), batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * self.gru.hidden_size, classes)
        self.apply(initialise)
        for name, parameter in self.gru.named_parameters():
            (nn.init.zeros_ if "bias" in name else nn.init.orthogonal_)(parameter)

    def features(self, logmel: Tensor, keep: Tensor | None = None) -> Tensor:
        x = normalise_mels(self.bn0, logmel, keep)  # (B, 1, 400, 64)
        x = F.max_pool2d(self.block1(x), (2, 2))  # (B, 32, 200, 32)
        x = F.max_pool2d(self.block2(x), (2, 2))  # (B, 64, 100, 16)
        x = F.max_pool2d(self.block3(x), (1, 2))  # (B, 128, 100, 8)
        x = F.max_pool2d(self.block4(x), (1, 2))  # (B, 256, 100, 4)
        x = F.max_pool2d(self.block5(x), (1, 2))  # (B, 512, 100, 2)
        x = x.transpose(1, 2).flatten(2)  # (B, 100, 1024)
        with torch.autocast(x.device.type, enabled=False):
            return self.gru(x.float())[0]  # (B, 100, 1024)

    def frame_scores(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return torch.sigmoid(self.fc(features.float())).clamp(*RANGE)  # (B, T, L)

    def clip_scores(self, features: Tensor) -> Tensor:
        """Linear softmax pooling: sum_t p_t^2 / sum_t p_t for each class."""
        p = self.frame_scores(features)  # (B, T, L)
        return ((p * p).sum(1) / p.sum(1)).clamp(*RANGE)  # (B, L); clamped again because of rounding

"""AT-SCA ([25] of the paper): spatial and channel-wise attention added to CNN10.

Its code is not public. According to its abstract, spatial attention has a global part that finds event-related
time-frequency regions and a local part that estimates onset and offset; channel-wise attention accompanies both. The
layers below are our reading of that (ours) and can follow any convolution block.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .backbone import initialise, normalise_mels, scale_channels
from .cnn10 import Cnn10

# Bias of each gate at the start: sigmoid(2) = 0.88 (the channel gate, a sum of two, starts at 0.98). Twelve gates that
# began half shut would hide the clip (ours).
OPEN = 2.0


class ChannelAttention(nn.Module):
    """A gate per channel: sigmoid of a shared two-layer MLP over the mean and the maximum of each channel."""

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        hidden = max(4, channels // reduction)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3))))  # (B, C)
        return x * gate[:, :, None, None]


class RegionAttention(nn.Module):
    """The global spatial part: a time-frequency gate from a 7x7 convolution over the channels' mean and maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.stack((x.mean(1), x.amax(1)), 1)  # (B, 2, T, F)
        return x * torch.sigmoid(self.conv(maps))


class FrameAttention(nn.Module):
    """The local spatial part: a gate per frame from a convolution over time of the frequency-pooled features."""

    def __init__(self, channels: int, kernel: int = 3):
        super().__init__()
        self.conv = nn.Conv1d(channels, 1, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.conv(x.mean(3)))  # (B, 1, T)
        return x * gate.unsqueeze(3)


class Atsca(Cnn10):
    """CNN10 with channel, region and frame attention after each block; T = 62 frames for 10 s and C = 512."""

    def __init__(self, classes: int, width: float = 1.0, mels: int = 64):
        super().__init__(classes, width, mels)
        channels = [scale_channels(c, width) for c in (64, 128, 256, 512)]
        gates = [(ChannelAttention(c), RegionAttention(), FrameAttention(c)) for c in channels]
        self.attention = nn.ModuleList(nn.Sequential(*three) for three in gates).apply(initialise)
        for channel, region, frame in gates:
            for layer in (channel.mlp[2], region.conv, frame.conv):
                nn.init.constant_(layer.get_parameter("bias"), OPEN)

    def features(self, logmel: Tensor, keep: Tensor | None = None) -> Tensor:
        x = normalise_mels(self.bn0, logmel, keep)  # (B, 1, 1001, 64)
        blocks = (self.conv_block1, self.conv_block2, self.conv_block3, self.conv_block4)
        for block, attend in zip(blocks, self.attention, strict=True):
            x = self.dropout(attend(block(x)), 0.2)  # (B, 64 .. 512, 500 .. 62, 32 .. 4)
        return x.mean(3).transpose(1, 2)  # (B, 62, 512)

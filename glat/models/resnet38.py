"""ResNet38 of PANNs ([22] of the paper): a ResNet-34 body between two convolution blocks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import ConvBlock, PooledHead, initialise, normalise_mels, scale_channels


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; a stride of 2 is an average pool before the first, and on the shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.stride = stride
        self.drop = nn.Dropout(0.1)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride == 2:
            # As in the published checkpoints: the pool is entry 0, the convolution 1, its normalisation 2.
            conv = nn.Conv2d(inputs, outputs, 1, bias=False)
            self.downsample = nn.Sequential(nn.AvgPool2d(2), conv, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.avg_pool2d(x, 2) if self.stride == 2 else x
        out = F.relu_(self.bn1(self.conv1(out)))
        out = self.bn2(self.conv2(self.drop(out)))
        return F.relu_(out + shortcut)


def _layer(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    rest = (BasicBlock(outputs, outputs, stride=1) for _ in range(blocks - 1))
    return nn.Sequential(BasicBlock(inputs, outputs, stride), *rest)


class Body(nn.Module):
    """Basic blocks [3, 4, 6, 3] (ResNet-34); the time and frequency axes shrink by 8."""

    def __init__(self, channels: list[int]):
        super().__init__()
        self.layer1 = _layer(channels[0], channels[0], 3, stride=1)
        self.layer2 = _layer(channels[0], channels[1], 4, stride=2)
        self.layer3 = _layer(channels[1], channels[2], 6, stride=2)
        self.layer4 = _layer(channels[2], channels[3], 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class ResNet38(PooledHead):
    """73 783 247 parameters at width 1 with 527 classes; M has T = 31 frames for 10 s and C = 2048 channels."""

    min_frames = stride = 32

    def __init__(self, classes: int, width: float = 1.0, mels: int = 64):
        channels = [scale_channels(c, width) for c in (64, 128, 256, 512)]
        top = scale_channels(2048, width)
        super().__init__(top, classes)
        self.bn0 = nn.BatchNorm2d(mels)
        self.conv_block1 = ConvBlock(1, channels[0])
        self.resnet = Body(channels)
        self.conv_block_after1 = ConvBlock(channels[-1], top)
        self.apply(initialise)
        for module in self.resnet.modules():
            if isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)  # each block starts as its shortcut (PANNs)

    def features(self, logmel: Tensor, keep: Tensor | None = None) -> Tensor:
        x = normalise_mels(self.bn0, logmel, keep)  # (B, 1, 1001, 64)
        x = self.dropout(self.conv_block1(x), 0.2)  # (B, 64, 500, 32)
        x = F.avg_pool2d(self.resnet(x), 2)  # (B, 512, 62, 4) -> (B, 512, 31, 2)
        x = self.dropout(x, 0.2)
        x = self.dropout(self.conv_block_after1(x, pool=1), 0.2)  # (B, 2048, 31, 2)
        return x.mean(3).transpose(1, 2)  # (B, 31, 2048)

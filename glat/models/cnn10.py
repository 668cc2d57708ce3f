"""CNN10 of PANNs ([22] of the paper): four convolution blocks and the PANNs head."""

from __future__ import annotations

from torch import Tensor, nn

from .backbone import ConvBlock, PooledHead, initialise, normalise_mels, scale_channels


class Cnn10(PooledHead):
    """5 219 279 parameters at width 1 with 527 classes; M has T = 62 frames for 10 s and C = 512 channels.

    Names of submodules are those of the published checkpoints, so these load without renaming.
    """

    min_frames = stride = 16

    def __init__(self, classes: int, width: float = 1.0, mels: int = 64):
        channels = [scale_channels(c, width) for c in (64, 128, 256, 512)]
        super().__init__(channels[-1], classes)
        self.bn0 = nn.BatchNorm2d(mels)
        self.conv_block1 = ConvBlock(1, channels[0])
        self.conv_block2 = ConvBlock(channels[0], channels[1])
        self.conv_block3 = ConvBlock(channels[1], channels[2])
        self.conv_block4 = ConvBlock(channels[2], channels[3])
        self.apply(initialise)

    def features(self, logmel: Tensor, keep: Tensor | None = None) -> Tensor:
        x = normalise_mels(self.bn0, logmel, keep)  # (B, 1, 1001, 64)
        x = self.dropout(self.conv_block1(x), 0.2)  # (B, 64, 500, 32)
        x = self.dropout(self.conv_block2(x), 0.2)  # (B, 128, 250, 16)
        x = self.dropout(self.conv_block3(x), 0.2)  # (B, 256, 125, 8)
        x = self.dropout(self.conv_block4(x), 0.2)  # (B, 512, 62, 4)
        return x.mean(3).transpose(1, 2)  # (B, 62, 512)

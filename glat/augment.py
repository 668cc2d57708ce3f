"""SpecAugment and mixup on log-mel spectrograms, as PANNs train with; draws come from a NumPy generator."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def stripes(rng: np.random.Generator, clips: int, length: int, count: int, width: int) -> Tensor:
    """Masks (clips, length), true inside `count` stripes a clip, each of 0 .. width - 1 steps at a random place (PANNs)."""
    size = rng.integers(0, max(min(width, length), 1), (clips, count, 1))
    first = np.floor(rng.random((clips, count, 1)) * (length - size)).astype(int)
    t = np.arange(length)
    return torch.from_numpy(((t >= first) & (t < first + size)).any(1))


def spec_augment(
    logmel: Tensor, rng: np.random.Generator, time_stripes: int, time_width: int, mel_stripes: int, mel_width: int
) -> Tensor:
    """Mask stripes of time and of mel bands: (B, 1, frames, mels) -> the same.

    PANNs mask with zero behind the batch normalisation of the mel bands. Here both streams have such a layer of their
    own, so masking comes before, with the value that becomes zero there: the mean of the band over the batch (ours).
    """
    clips, _, frames, mels = logmel.shape
    time = stripes(rng, clips, frames, time_stripes, time_width)[:, None, :, None]
    band = stripes(rng, clips, mels, mel_stripes, mel_width)[:, None, None, :]
    return torch.where((time | band).to(logmel.device), logmel.mean((0, 2), keepdim=True), logmel)


def mixup(logmel: Tensor, target: Tensor, rng: np.random.Generator, alpha: float) -> tuple[Tensor, Tensor]:
    """Mix each clip with another of its batch: x_i <- l_i x_i + (1 - l_i) x_j, labels alike, l ~ Beta(alpha, alpha).

    PANNs read twice the batch and mix its halves; here the partner is the next clip of a random cycle through the
    batch, so that each clip is read once (ours). Shapes: log-mel (B, 1, frames, mels), target (B, L).
    """
    clips = len(logmel)
    order = torch.from_numpy(rng.permutation(clips))
    partner = torch.empty_like(order)
    partner[order] = order.roll(-1)
    partner = partner.to(logmel.device)
    share = torch.from_numpy(rng.beta(alpha, alpha, clips)).float().to(logmel.device)
    x = share[:, None, None, None]
    y = share[:, None]
    return x * logmel + (1 - x) * logmel[partner], y * target + (1 - y) * target[partner]

"""SpecAugment and mixup on log-mel spectrograms, as PANNs train with; draws come from a NumPy generator."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .settings import Training


def stripes(rng: np.random.Generator, clips: int, length: int, count: int, width: int) -> Tensor:
    """Masks (clips, length), true inside `count` stripes a clip, each of 0 .. width - 1 steps at a random place (PANNs)."""
    size = rng.integers(0, max(min(width, length), 1), (clips, count, 1))
    first = np.floor(rng.random((clips, count, 1)) * (length - size)).astype(int)
    t = np.arange(length)
    return torch.from_numpy(((t >= first) & (t < first + size)).any(1))


def spec_augment(
    shape: tuple[int, ...],
    rng: np.random.Generator,
    time_stripes: int,
    time_width: int,
    mel_stripes: int,
    mel_width: int,
) -> Tensor | None:
    """SpecAugment of log-mels of a shape (B, 1, frames, mels) as factors of that shape: 0 inside stripes, 1 outside; None
    where no stripes are asked for.

    PANNs set the stripes to zero once the mel bands are normalised, which each network does for itself
    (`models.backbone.normalise_mels`): these factors go there.
    """
    if not time_stripes and not mel_stripes:
        return None
    clips, _, frames, mels = shape
    time = stripes(rng, clips, frames, time_stripes, time_width)[:, None, :, None]
    band = stripes(rng, clips, mels, mel_stripes, mel_width)[:, None, None, :]
    return (~(time | band)).float()


def mixup(
    logmel: Tensor, target: Tensor, rng: np.random.Generator, alpha: float, keep: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Mix each clip with another of its batch: x_i <- l_i x_i + (1 - l_i) x_j, labels alike, l ~ Beta(alpha, alpha).

    PANNs read twice the batch and mix its halves; here the partner is the next clip of a random cycle through the
    batch, so that each clip is read once (ours). Shapes: log-mel (B, 1, frames, mels), target (B, L).

    PANNs mix what SpecAugment has masked, so a stripe of one clip still sounds of the other. With `keep`, the factors of
    `spec_augment`, the mixture holds that clip alone there, and the factors that come back weigh it by its share:
    behind a batch normalisation, which is affine, the two make the mixture of the masked clips.
    """
    clips = len(logmel)
    order = torch.from_numpy(rng.permutation(clips))
    partner = torch.empty_like(order)
    partner[order] = order.roll(-1)
    partner = partner.to(logmel.device)
    share = torch.from_numpy(rng.beta(alpha, alpha, clips)).float().to(logmel.device)
    x = share[:, None, None, None]
    y = share[:, None]
    if keep is not None:
        own = x * keep
        keep = own + (1 - x) * keep[partner]
        x = torch.where(keep > 0, own / keep, x)
    return x * logmel + (1 - x) * logmel[partner], y * target + (1 - y) * target[partner], keep


class Augmented(NamedTuple):
    """A batch as it is trained on; the factors of SpecAugment are None where nothing is masked."""

    logmel: Tensor  # (B, 1, frames, mels) in dB
    target: Tensor  # (B, L)
    keep: Tensor | None  # (B, 1, frames, mels): SpecAugment of the clips
    keep_windows: (
        Tensor | None
    )  # (B * N, 1, W, mels): and of the local stream's windows, where they have stripes of their own

    def part(self, number: int, parts: int) -> Augmented:
        """One of equal parts of the batch."""
        return Augmented(*(None if x is None else x.chunk(parts)[number] for x in self))


def augment(
    logmel: Tensor,
    target: Tensor,
    settings: Training,
    masks: np.random.Generator,
    mixing: np.random.Generator,
    windows: tuple[int, int] | None = None,
) -> Augmented:
    """SpecAugment and mixup as the settings ask for: log-mel (B, 1, frames, mels) and target (B, L) -> `Augmented`.

    windows: how many the local stream hears of each clip, and their length in frames: (N, W); None without GL-AT.
    """
    choice = settings.spec_augment.model_dump()
    where = choice.pop("where")
    keep, keep_windows = spec_augment(logmel.shape, masks, **choice), None
    if where == "windows" and windows:
        count, width = windows
        keep_windows = spec_augment((len(logmel) * count, 1, width, logmel.shape[3]), masks, **choice)
    keep, keep_windows = (x if x is None else x.to(logmel.device) for x in (keep, keep_windows))
    if settings.mixup_alpha:
        logmel, target, keep = mixup(logmel, target, mixing, settings.mixup_alpha, keep)
    return Augmented(logmel, target, keep, keep_windows)

"""SpecAugment and mixup on log-mel spectrograms, as PANNs train with, and Freq-MixStyle; draws come from a NumPy generator."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..config.training import Training
from ..models.backbone import Masked


def stripes(rng: np.random.Generator, clips: int, length: int, count: int, width: int) -> Tensor:
    """Masks (clips, length), true inside `count` stripes a clip, each of 0 .. width - 1 steps at a random place (PANNs)."""
    size = rng.integers(0, max(min(width, length), 1), (clips, count, 1))
    first = np.floor(rng.random((clips, count, 1)) * (length - size)).astype(int)
    t = np.arange(length)
    return torch.from_numpy(((t >= first) & (t < first + size)).any(1))


def on(device: torch.device | str, x: Tensor) -> Tensor:
    """A tensor on a device. A GPU copies it from pinned memory, for which nobody waits."""
    device = torch.device(device)
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def spec_augment(
    shape: tuple[int, ...],
    rng: np.random.Generator,
    time_stripes: int,
    time_width: int,
    mel_stripes: int,
    mel_width: int,
    device: torch.device | str = "cpu",
) -> Tensor | None:
    """SpecAugment of log-mels of a shape (B, 1, frames, mels) as factors of that shape: 0 inside stripes, 1 outside; None
    where no stripes are asked for.

    PANNs set the stripes to zero once the mel bands are normalised, which each network does for itself
    (`models.backbone.normalise_mels`): these factors go there.
    """
    if not time_stripes and not mel_stripes:
        return None
    clips, _, frames, mels = shape
    time = on(device, stripes(rng, clips, frames, time_stripes, time_width))[:, None, :, None]
    band = on(device, stripes(rng, clips, mels, mel_stripes, mel_width))[:, None, None, :]
    return (~(time | band)).float()


def pairs(clips: int, rng: np.random.Generator, alpha: float) -> tuple[Tensor, Tensor]:
    """Whom mixup mixes each clip with, (B,) indices, and the clip's own share l ~ Beta(alpha, alpha), (B,).

    PANNs read twice the batch and mix its halves; here the partner is the next clip of a random cycle through the
    batch, so that each clip is read once (ours).
    """
    order = torch.from_numpy(rng.permutation(clips))
    partner = torch.empty_like(order)
    partner[order] = order.roll(-1)
    return partner, torch.from_numpy(rng.beta(alpha, alpha, clips)).float()


FRAME = 160  # samples at 16 kHz, which networks on the waveform hear, as long as a frame of PANNs' log-mel
ALL, EVEN = slice(None), slice(0, None, 2)  # the clips that are mixed with their partners


def twos(clips: int, rng: np.random.Generator, alpha: float) -> tuple[Tensor, Tensor]:
    """The same for clips that are mixed two by two, each `EVEN` one with the next (PANNs): (B / 2,) and (B / 2,)."""
    return torch.arange(1, clips, 2), torch.from_numpy(rng.beta(alpha, alpha, clips // 2)).float()


def mix(x: Tensor, partner: Tensor, share: Tensor, own: slice = ALL) -> Tensor:
    """Mixup of anything (B, ...): x_i <- l_i x_i + (1 - l_i) x_j for the clips i that `own` names."""
    share = share.view(-1, *[1] * (x.dim() - 1))
    return share * x[own] + (1 - share) * x[partner]


def mix_masked(masked: Masked, partner: Tensor, share: Tensor, own: slice = ALL) -> Masked:
    """Mixup of clips under SpecAugment.

    PANNs mix what SpecAugment has masked, so a stripe of one clip still sounds of the other. There the mixture holds that
    other clip alone, and the factor is its share: behind a batch normalisation, which is affine, the two make the
    mixture of the masked clips.
    """
    logmel, keep = masked
    assert keep is not None, "nothing is masked: `mix` does"
    share = share[:, None, None, None]
    first = share * keep[own]
    both = first + (1 - share) * keep[partner]
    share = torch.where(both > 0, first / both, share)  # in each cell
    return Masked(share * logmel[own] + (1 - share) * logmel[partner], both)


def mix_style(logmel: Tensor, rng: np.random.Generator, alpha: float) -> Tensor:
    """Freq-MixStyle (Schmid et al., DCASE 2022; `mixstyle` of EfficientAT): each mel band of a clip (B, 1, frames, mels) gets
    mean and deviation over time that lie between its own and those of another clip, l ~ Beta(alpha, alpha) of its own."""
    clips, device = len(logmel), logmel.device
    share = on(device, torch.from_numpy(rng.beta(alpha, alpha, clips)).float())
    other = on(device, torch.from_numpy(rng.permutation(clips)))
    mean = logmel.mean((1, 2), keepdim=True)
    deviation = (logmel.var((1, 2), keepdim=True) + 1e-6).sqrt()
    return (logmel - mean) / deviation * mix(deviation, other, share) + mix(mean, other, share)


class Augmented(NamedTuple):
    """A batch as it is trained on; None where nothing is masked."""

    logmel: Tensor  # (B, 1, frames, mels) in dB
    target: Tensor  # (B, L)
    masked: Masked | None  # the clips under SpecAugment
    keep_windows: Tensor | None  # (B * N, 1, W, mels), where the local stream's windows have stripes of their own

    def part(self, number: int, parts: int) -> Augmented:
        """One of equal parts of the batch."""

        def own(x):
            if isinstance(x, tuple):
                return type(x)(*map(own, x))
            return x if x is None else x.chunk(parts)[number]

        return own(self)


def augment(
    logmel: Tensor,
    target: Tensor,
    settings: Training,
    masks: np.random.Generator,
    mixing: np.random.Generator,
    windows: tuple[int, int] | None = None,
    style: np.random.Generator | None = None,
) -> Augmented:
    """SpecAugment, mixup and Freq-MixStyle as the settings ask for: log-mel (B, 1, frames, mels) and target (B, L) ->
    `Augmented`; with `mixup_pairs` from twice as many clips.

    windows: how many the local stream hears of each clip, and their length in frames: (N, W); None without GL-AT. Of a
    waveform (B, 1, samples, 1), stripes are as long as those of a log-mel.
    """
    styles = settings.augmentation.mix_style
    if style and styles.rate and style.random() < styles.rate:
        logmel = mix_style(logmel, style, styles.alpha)
    choice: dict[str, Any] = settings.spec_augment.model_dump() | {"device": logmel.device}
    where = choice.pop("where")
    if logmel.shape[3] == 1:
        choice |= {"time_width": FRAME * choice["time_width"], "mel_stripes": 0}
    keep, keep_windows = spec_augment(logmel.shape, masks, **choice), None
    if where == "windows" and windows:
        count, width = windows
        mixtures = len(logmel) // 2 if settings.mixup_pairs else len(logmel)
        keep_windows = spec_augment((mixtures * count, 1, width, logmel.shape[3]), masks, **choice)
    masked = None if keep is None else Masked(logmel, keep)
    if settings.mixup_alpha:
        choose, own = (twos, EVEN) if settings.mixup_pairs else (pairs, ALL)
        partner, share = (on(logmel.device, x) for x in choose(len(logmel), mixing, settings.mixup_alpha))
        if masked:
            masked = mix_masked(masked, partner, share, own)
        logmel, target = (mix(x, partner, share, own) for x in (logmel, target))
    return Augmented(logmel, target, masked, keep_windows)

"""Augmentation of waveforms, before the log-mel: roll, gain and mixup as EfficientAT and PaSST have them.

Every draw is of the whole batch and a function of (seed, step).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..config.training import Augmentation
from ..data.randomness import Use
from .augmentation import mix, on, pairs


def augment_waveforms(
    waveform: Tensor, target: Tensor, settings: Augmentation, rate: int, draw: Callable[[Use], np.random.Generator]
) -> tuple[Tensor, Tensor]:
    """Waveforms (B, samples), float in [-1, 1], at `rate` Hz and targets (B, L) -> both augmented. Nothing is clipped.

    roll: each clip is rolled in time by up to so many seconds either way; what leaves it at one end comes back at the other.
    gain: each clip is amplified by up to so many decibels either way.
    waveform_mixup: a clip is mixed with another of the batch with probability `rate`, and is then the louder of the two: its
    share is max(l, 1 - l), l ~ Beta(alpha, alpha). Both are without their means. EfficientAT draws the other from the whole
    corpus; that it is of the batch is ours, and reads no clip more.
    """
    clips, device = len(waveform), waveform.device
    if settings.roll:
        most = round(settings.roll * rate)
        shifts = draw(Use.ROLL).integers(-most, most, clips, endpoint=True)
        waveform = torch.stack([one.roll(shift) for one, shift in zip(waveform, shifts.tolist(), strict=True)])
    if settings.gain:
        factor = 10 ** (draw(Use.GAIN).uniform(-settings.gain, settings.gain, clips) / 20)
        waveform = waveform * on(device, torch.from_numpy(factor).float())[:, None]
    if settings.waveform_mixup.rate:
        random = draw(Use.WAVEFORM_MIXUP)
        partner, share = pairs(clips, random, settings.waveform_mixup.alpha)
        share = torch.maximum(share, 1 - share)
        share[torch.from_numpy(random.random(clips) >= settings.waveform_mixup.rate)] = 1.0
        partner, share = on(device, partner), on(device, share)
        mixed = mix(waveform - waveform.mean(1, keepdim=True), partner, share)
        waveform, target = torch.where(share[:, None] < 1, mixed, waveform), mix(target, partner, share)
    return waveform, target

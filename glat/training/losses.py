"""The losses of both streams."""

from __future__ import annotations

import math
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.twostream import Streams


def bce(scores: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy of probabilities (B, L), the mean over clips and classes; NaN if a score is not finite."""
    with torch.autocast(scores.device.type, enabled=False):
        scores = scores.float()
        # torch refuses such scores, on a GPU with a crash; and to ask for them here would wait for the GPU.
        finite = scores.isfinite()
        loss = F.binary_cross_entropy(torch.where(finite, scores, 0.5), target)
        return torch.where(finite.all(), loss, math.nan)


def smooth(target: Tensor, share: float) -> Tensor:
    """Targets (B, L) of which a share is spread over all classes: (1 - share) y + share / L (Szegedy et al., CVPR 2016)."""
    return target if not share else (1 - share) * target + share / target.shape[1]


def losses(streams: Streams, target: Tensor, frozen_global: bool = False) -> dict[str, Tensor]:
    """Loss of each stream and their sum (paper, eq. 5): BCE(y_g, y) + BCE(y_l, y); without BCE(y_g, y) if frozen."""
    parts = {"global": bce(streams.global_, target)}
    if streams.local is not None:
        parts["local"] = bce(streams.local, target)
    total = parts["local"] if frozen_global else reduce(torch.add, parts.values())
    return {"loss": total} | {f"loss_{name}": part for name, part in parts.items()}

"""The losses of both streams."""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config.training import Distillation
from ..models.twostream import Streams
from .distillation import Lesson


def bce(scores: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross entropy of probabilities (B, L), the mean over clips and classes; NaN if a score is not finite. weight:
    (B, L), of each in the mean."""
    with torch.autocast(scores.device.type, enabled=False):
        scores = scores.float()
        # torch refuses such scores, on a GPU with a crash; and to ask for them here would wait for the GPU.
        finite = scores.isfinite()
        loss = F.binary_cross_entropy(torch.where(finite, scores, 0.5), target, weight)
        return torch.where(finite.all(), loss, math.nan)


def smooth(target: Tensor, share: float) -> Tensor:
    """Targets (B, L) of which a share is spread over all classes: (1 - share) y + share / L (Szegedy et al., CVPR 2016)."""
    return target if not share else (1 - share) * target + share / target.shape[1]


def taught(scores: Tensor, lesson: Lesson) -> Tensor:
    """Binary cross entropy with a teacher's scores, as EfficientAT has it; 0 for clips and classes that it does not know. Of a
    mixture of clips it is the mixture of theirs."""
    known = lesson.known
    return bce(scores, (lesson.scores / known.clamp(min=1e-6)).clamp(max=1.0), known)


def losses(
    streams: Streams,
    target: Tensor,
    frozen: Collection[str] = (),
    lesson: Lesson | None = None,
    distillation: Distillation | None = None,
    learned_fusion: bool = False,
) -> dict[str, Tensor]:
    """Loss of each stream and their sum (paper, eq. 5): BCE(y_g, y) + BCE(y_l, y); without that of frozen streams. Of a stream
    that learns from a teacher, each is a mean of its loss by the labels and by the teacher. A learned fusion adds BCE of the
    fused score to the sum, which reaches its own weights alone (`models.fusion`)."""
    scores = {"global": streams.global_} | ({} if streams.local is None else {"local": streams.local})
    parts = {}
    for name, score in scores.items():
        parts[name] = bce(score, target)
        if lesson and distillation and name in distillation.streams:
            parts[name] = torch.lerp(parts[name], taught(score, lesson), distillation.weight)
    total = reduce(torch.add, [part for name, part in parts.items() if name not in frozen])
    if learned_fusion:
        total = total + bce(streams.fused, target)
    return {"loss": total} | {f"loss_{name}": part for name, part in parts.items()}

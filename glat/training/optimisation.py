"""What moves the weights: the optimiser, and the learning rate over the steps."""

from __future__ import annotations

import math

import torch

from ..config.training import Training
from ..models.tagger import Tagger
from .freezing import rates


def optimiser(tagger: Tagger, settings: Training, fused: bool = False) -> torch.optim.Optimizer:
    """Adam (paper), or AdamW (Loshchilov and Hutter, ICLR 2019), which PaSST trains with and EfficientAT offers, over all
    weights that are trained. fused: one kernel for all weights, on a GPU."""
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(
        rates(tagger, settings.learning_rate, settings.backbone_learning_rate, settings.layer_decay),
        lr=settings.learning_rate,
        amsgrad=settings.amsgrad,
        weight_decay=settings.weight_decay,
        fused=fused or None,
    )


def rate_factor(settings: Training, step: int) -> float:
    """What the learning rate of a step, counted from 0, is multiplied by, but for a plateau: it rises, stays, and falls.

    It rises along a line, or as exp(-5 (1 - t)^2), t from 0 to 1 (PaSST and EfficientAT, after Laine and Aila, 2017).
    """
    rise = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    if settings.rise == "exponential":
        rise = math.exp(-5 * (1 - rise) ** 2)
    return rise * _fall(settings, step / settings.steps)


def _fall(settings: Training, done: float) -> float:
    """What is left of the rate when a share `done` of all steps is done. PaSST's and EfficientAT's line goes down by the epoch,
    PSLA's and AST's exponential by halves each few epochs; both are a curve here."""
    if settings.schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    if settings.schedule not in ("linear", "exponential"):
        return 1.0
    start, end, last = settings.decay.start, settings.decay.end, settings.decay.last
    fallen = min(1.0, max(0.0, (done - start) / (end - start)))
    return last**fallen if settings.schedule == "exponential" else 1 - (1 - last) * fallen

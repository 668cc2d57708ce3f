"""A learning rate that falls on a plateau of held-out clips, as TALNet's authors train it (`schedule: plateau`)."""

from __future__ import annotations

import numpy as np
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ..config.runs import Run
from ..data.packs.read import Packs
from ..data.randomness import Use, generator
from ..lib.errors import GlatError, tell
from .looks import Looks


def held_out_clips(run: Run, clips: int) -> np.ndarray:
    """Indices of the training clips, of `clips`, that no step trains on, ascending; none but for `schedule: plateau`.

    Raises GlatError if the share is less than one clip.
    """
    if run.training.schedule != "plateau":
        return np.empty(0, np.int64)
    count = round(run.training.plateau.held_out * clips)
    if not count:
        share = run.training.plateau.held_out
        raise GlatError(f"training.plateau.held_out: {share} of {clips} training clips is none; give more")
    return np.sort(generator(Use.HELD_OUT, run.seed).choice(clips, count, replace=False))


class HeldOut(Looks):
    """Every `plateau.every` steps: mAP on the held-out clips, and `stage.reduction`, by which the learning rate has fallen.

    What was decided so far is part of the resume point.
    """

    def __init__(self, run: Run, packs: Packs):
        settings = run.training.plateau
        super().__init__(run, packs, held_out_clips(run, len(packs)), settings.every, Use.HELD_OUT)
        # torch's own rule lowers a learning rate, so the factor is the learning rate of an optimiser of nothing.
        self.nothing = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        self.rule = ReduceLROnPlateau(
            self.nothing, mode="max", factor=settings.factor, patience=settings.patience, eps=0.0
        )

    @property
    def reduction(self) -> float:
        return self.nothing.param_groups[0]["lr"]

    def state_dict(self) -> dict:
        return {"rule": self.rule.state_dict(), "reduction": self.reduction}

    def load_state_dict(self, state: dict) -> None:
        self.rule.load_state_dict(state["rule"])
        self.nothing.param_groups[0]["lr"] = state["reduction"]

    def on_train_start(self, trainer, stage) -> None:
        stage.reduction = self.reduction

    def judge(self, trainer, stage, mAP: float) -> None:
        self.rule.step(mAP)
        stage.reduction = self.reduction
        if trainer.is_global_zero:
            tell(
                f"{self.run.folder}: step {trainer.global_step}: mAP {mAP:.4f} on {len(self.clips)} held-out clips, "
                f"learning rate x {self.reduction:.3g}"
            )

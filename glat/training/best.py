"""The network that is best on validation clips, and the end of a training that finds no better one (`select: best`)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from ..config.runs import Run
from ..data.packs.read import Packs
from ..data.randomness import Use
from ..lib.errors import GlatError, tell
from .looks import Looks


class Best(Looks):
    """Every `validation.every` steps: mAP on all validation clips, and the weights of the best one so far; of equal ones the
    first. After `validation.patience` looks in a row without a better one, the training ends.

    All of that is part of the resume point, the weights too: a training that is resumed has the best network up to there, and
    none of later.

    Raises:
        GlatError: no validation clip has a label, or the training ends before the first look.
    """

    def __init__(self, run: Run, packs: Packs):
        settings = run.training.validation
        super().__init__(run, packs, np.arange(len(packs)), settings.every, Use.VALIDATION)
        if not len(packs.labels.indices):
            raise GlatError(
                f"{run.validation_packs[0]}: no clip has a label, so no network is better than another there"
            )
        if settings.every > run.training.steps:
            steps = f"a training of {run.training.steps} steps ends before the first look"
            raise GlatError(f"{run.folder}: training.validation.every: {settings.every}: {steps}")
        self.patience = settings.patience or math.inf
        self.step = self.looks = self.waited = 0
        self.mAP = -math.inf
        self.weights: dict[str, Tensor] = {}  # on the CPU

    def state_dict(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in ("step", "looks", "waited", "mAP", "weights")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for key, value in state.items():
            setattr(self, key, value)

    def on_train_start(self, trainer, stage) -> None:
        self._end_if_waited(trainer)  # a training that had ended so before it was resumed

    def judge(self, trainer, stage, mAP: float) -> None:
        step, before = trainer.global_step, f"the best is {self.mAP:.4f} at step {self.step}"
        better = mAP > self.mAP
        self.looks += 1
        self.waited = 0 if better else self.waited + 1
        if better:
            self.step, self.mAP, before = step, mAP, "the best so far"
            self.weights = {name: weight.detach().cpu().clone() for name, weight in stage.tagger.state_dict().items()}
        if trainer.is_global_zero:
            tell(f"{self.run.folder}: step {step}: mAP {mAP:.4f} on {len(self.clips)} validation clips, {before}")
        self._end_if_waited(trainer)

    def _end_if_waited(self, trainer) -> None:
        if self.waited >= self.patience:
            trainer.should_stop = True
            if trainer.is_global_zero and trainer.global_step < self.run.training.steps:
                many = f"{self.waited} looks in a row without a better network"
                tell(
                    f"{self.run.folder}: ends at step {trainer.global_step}, after {many} (training.validation.patience)"
                )

    def take(self, stage, ended: int) -> dict[str, int | float]:
        """Put the best weights into the network of a training that ended at a step. Returns which they are: their step and its
        mAP, on how many clips, of how many looks, and where the training ended."""
        stage.tagger.load_state_dict(self.weights)
        which = f"the network of step {self.step}, mAP {self.mAP:.4f} on {len(self.clips)} validation clips"
        tell(f"{self.run.folder}: selected: {which}, the best of {self.looks} looks up to step {ended}")
        return {"step": self.step, "mAP": self.mAP, "clips": len(self.clips), "looks": self.looks, "ended": ended}

"""The average of a training's networks, which is used in the place of the last one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from ..config.runs import Run
from ..models.tagger import Tagger


class Average(lightning.Callback):
    """`ema`: W <- decay W + (1 - decay) w after each step, from the network w of the first one on (an exponential moving
    average; Tarvainen and Valpola, NeurIPS 2017). `average`: the mean of the last networks, some steps apart (stochastic
    weight averaging; Izmailov et al., UAI 2018), as PSLA, AST and PaSST have it.

    Of all floating-point numbers of the network: of batch norm's statistics too, as PSLA does. Counts are the last network's.
    The average is part of the resume point. It is held as tensors by name: torch's AveragedModel holds a second network, whose
    compiled backbone would still be the first one's, and asks a GPU for its count at each step. The mathematics is torch's.
    """

    def __init__(self, run: Run):
        self.training = run.training
        decay = run.training.ema
        self.merge = get_swa_multi_avg_fn() if decay is None else get_ema_multi_avg_fn(decay)
        self.count = 0  # of networks in the average
        self.weights: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count, self.weights = state["count"], state["weights"]

    def on_train_start(self, trainer, stage) -> None:
        self.weights = {name: weight.to(stage.device) for name, weight in self.weights.items()}

    def on_train_batch_end(self, trainer, stage, *_) -> None:
        if self._is_due(trainer.global_step):
            self.add(stage.tagger)

    def _is_due(self, step: int) -> bool:
        if self.training.average is None:
            return True
        number, rest = divmod(self.training.steps - step, self.training.average.every)  # counted from the last one
        return not rest and number < self.training.average.last

    @torch.no_grad()
    def add(self, tagger: Tagger) -> None:
        """Put a network as it now is into the average."""
        now = tagger.state_dict()
        if not self.count:
            self.weights = {name: weight.clone() for name, weight in now.items()}
        else:
            averaged = [name for name, weight in now.items() if weight.is_floating_point()]
            self.merge([self.weights[name] for name in averaged], [now[name] for name in averaged], self.count)
            for name in now.keys() - set(averaged):
                self.weights[name].copy_(now[name])
        self.count += 1

    @contextmanager
    def in_use(self, tagger: Tagger) -> Iterator[None]:
        """Within this context, a network has the moving average's weights; a mean of the last networks is not there yet."""
        if self.training.ema is None or not self.count:
            yield
            return
        own = {name: weight.clone() for name, weight in tagger.state_dict().items()}
        tagger.load_state_dict(self.weights)
        try:
            yield
        finally:
            tagger.load_state_dict(own)

"""A learning rate that falls on a plateau of held-out clips, as TALNet's authors train it (`schedule: plateau`)."""

from __future__ import annotations

import lightning
import numpy as np
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ..config.runs import Run
from ..data.packs.read import PackedClips, Packs
from ..data.randomness import Use, generator, torch_generator
from ..lib.errors import GlatError, tell
from ..scoring.metrics import summary


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


class HeldOut(lightning.Callback):
    """Every `plateau.every` steps: mAP on the held-out clips, and `stage.reduction`, by which the learning rate has fallen.

    Every process scores a part of the clips, and all come to the same mAP: each clip's random windows are its own. What
    was decided so far is part of the resume point.
    """

    def __init__(self, run: Run, packs: Packs):
        self.run, self.packs, self.settings = run, packs, run.training.plateau
        self.clips = held_out_clips(run, len(packs))
        # torch's own rule lowers a learning rate, so the factor is the learning rate of an optimiser of nothing.
        self.nothing = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        self.rule = ReduceLROnPlateau(
            self.nothing, mode="max", factor=self.settings.factor, patience=self.settings.patience, eps=0.0
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

    def on_train_batch_end(self, trainer, stage, *_) -> None:
        step = trainer.global_step
        if step % self.settings.every:
            return
        stage.check(stage.row, step)
        value = self.look(stage)
        self.rule.step(value)
        stage.reduction = self.reduction
        if trainer.is_global_zero:
            tell(
                f"{self.run.folder}: step {step}: mAP {value:.4f} on {len(self.clips)} held-out clips, "
                f"learning rate x {self.reduction:.3g}"
            )

    @torch.no_grad()
    def look(self, stage) -> float:
        """mAP on the held-out clips now, of the scores that the network is used for."""
        world, rank, batch = stage.trainer.world_size, stage.global_rank, self.run.training.batch_size
        padded = np.resize(self.clips, -(-len(self.clips) // world) * world)  # as many for each process
        clips, tagger = PackedClips(self.packs), stage.tagger.eval()
        scores = []
        for first in range(rank, len(padded), world * batch):
            chosen = padded[first : first + world * batch : world]
            windows = [torch_generator(Use.HELD_OUT, self.run.seed, clip) for clip in chosen.tolist()]
            waveform = clips.__getitems__(chosen)["waveform"].to(stage.device)
            with torch.autocast(stage.device.type, torch.bfloat16, enabled=stage.trainer.precision == "bf16-mixed"):
                scores.append(tagger.streams(waveform, windows).fused.float())
        tagger.train()
        found = torch.cat(scores)  # (clips of this process, L)
        if world > 1:
            found = stage.all_gather(found).transpose(0, 1).flatten(0, 1)
        return float(summary(self.packs.labels.dense(self.clips), found[: len(self.clips)].cpu().numpy()).mAP)

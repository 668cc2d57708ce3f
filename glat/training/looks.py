"""Looks at a network while it trains: mAP of the scores that it is used for, on clips that no step trains on."""

from __future__ import annotations

from abc import ABC, abstractmethod

import lightning
import numpy as np
import torch
from tqdm import tqdm

from ..config.runs import Run
from ..data.packs.read import PackedClips, Packs
from ..data.randomness import Use, torch_generator
from ..scoring.metrics import summary
from ..scoring.parts import pool_parts


class Looks(lightning.Callback, ABC):
    """Every `every` steps: mAP on the clips at the indices `clips` of packs, of which `judge` makes something.

    Every process scores a part of the clips, and all come to the same mAP: each clip's random windows, a stream of `use`,
    are its own. A longer clip is scored part by part, and the mean of its parts' scores counts.
    """

    def __init__(self, run: Run, packs: Packs, clips: np.ndarray, every: int, use: Use):
        self.run, self.packs, self.clips, self.every, self.use = run, packs, clips, every, use

    @abstractmethod
    def judge(self, trainer: lightning.Trainer, stage, mAP: float) -> None:
        """What follows from a look."""

    def on_train_batch_end(self, trainer, stage, *_) -> None:
        if trainer.global_step % self.every:
            return
        stage.check(stage.row, trainer.global_step)
        with stage.in_use():
            self.judge(trainer, stage, self.look(stage))

    @torch.no_grad()
    def look(self, stage) -> float:
        """mAP on the clips now."""
        world, rank, batch = stage.trainer.world_size, stage.global_rank, self.run.training.batch_size
        clip, offset = self.packs.parts(self.clips)
        padded = np.resize(np.arange(len(clip)), -(-len(clip) // world) * world)  # as many for each process
        clips, tagger = PackedClips(self.packs, clip, offset), stage.tagger.eval()
        scores = []
        quiet = None if rank == 0 else True  # None: a bar where a person sits before it
        for first in tqdm(range(rank, len(padded), world * batch), "look", unit="batch", leave=False, disable=quiet):
            chosen = padded[first : first + world * batch : world]
            windows = [torch_generator(self.use, self.run.seed, *self._number(clip[i], offset[i])) for i in chosen]
            waveform = clips.__getitems__(chosen)["waveform"].to(stage.device)
            with torch.autocast(stage.device.type, torch.bfloat16, enabled=stage.trainer.precision == "bf16-mixed"):
                scores.append(tagger.streams(waveform, windows).fused.float())
        tagger.train()
        found = torch.cat(scores)  # (parts of this process, L)
        if world > 1:
            found = stage.all_gather(found).transpose(0, 1).flatten(0, 1)
        pooled = pool_parts(found[: len(clip)].cpu().numpy(), clip)
        return float(summary(self.packs.labels.dense(self.clips), pooled).mAP)

    @staticmethod
    def _number(clip: np.int64, offset: np.int64) -> list[int]:
        """What a part's random windows are drawn by."""
        return [int(clip), int(offset)] if offset else [int(clip)]

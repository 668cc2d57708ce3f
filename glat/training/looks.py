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


class Looks(lightning.Callback, ABC):
    """Every `every` steps: mAP on the clips at the indices `clips` of packs, of which `judge` makes something.

    Every process scores a part of the clips, and all come to the same mAP: each clip's random windows, a stream of `use`,
    are its own.
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
        self.judge(trainer, stage, self.look(stage))

    @torch.no_grad()
    def look(self, stage) -> float:
        """mAP on the clips now."""
        world, rank, batch = stage.trainer.world_size, stage.global_rank, self.run.training.batch_size
        padded = np.resize(self.clips, -(-len(self.clips) // world) * world)  # as many for each process
        clips, tagger = PackedClips(self.packs), stage.tagger.eval()
        scores = []
        quiet = None if rank == 0 else True  # None: a bar where a person sits before it
        for first in tqdm(range(rank, len(padded), world * batch), "look", unit="batch", leave=False, disable=quiet):
            chosen = padded[first : first + world * batch : world]
            windows = [torch_generator(self.use, self.run.seed, clip) for clip in chosen.tolist()]
            waveform = clips.__getitems__(chosen)["waveform"].to(stage.device)
            with torch.autocast(stage.device.type, torch.bfloat16, enabled=stage.trainer.precision == "bf16-mixed"):
                scores.append(tagger.streams(waveform, windows).fused.float())
        tagger.train()
        found = torch.cat(scores)  # (clips of this process, L)
        if world > 1:
            found = stage.all_gather(found).transpose(0, 1).flatten(0, 1)
        return float(summary(self.packs.labels.dense(self.clips), found[: len(self.clips)].cpu().numpy()).mAP)

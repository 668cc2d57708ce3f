"""mAP over steps, on a few evaluation clips, to be looked at: no step, no network and no setting is chosen by it.

It may mark a training as not converged, which takes the verdicts on it (`glat.training.convergence`); nothing else
depends on it.

AudioSet has no validation set, so what is watched is part of the evaluation set, of every dataset; a network is selected on
clips of their own (`glat.training.best`). The clips are the same at every look and for every run of a dataset. A look leaves
the training as it was: it draws from its own generator, and the network is used as in evaluation.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path

import lightning
import numpy as np
import torch

from ..config.runs import Run
from ..data.packs.read import Packs
from ..data.randomness import Use, clip_generators, generator
from ..lib.errors import GlatError, warn
from ..lib.files import whole
from ..scoring.metrics import summary
from ..scoring.parts import part_names, pool_parts
from ..scoring.predictions import STREAMS
from .convergence import WATCHED

CLIPS_A_CLASS = 4
MOST_LOOKS = 200
COLUMNS = ("step", *(f"mAP_{stream}" for stream in STREAMS), "clips", "at")  # at: seconds since 1970


def looks(run: Run, clips: int, share: float) -> list[int]:
    """The steps after which to look, evenly spaced up to the last: so many that at most `share` x the clips trained on
    are scored."""
    steps = run.training.steps
    count = min(int(share * steps * run.training.batch_size / clips), steps, MOST_LOOKS)
    return sorted({round(steps * (k + 1) / count) for k in range(count)})


class Watch(lightning.Callback):
    """validation.csv: mAP of each stream on `CLIPS_A_CLASS` evaluation clips a class, every now and then."""

    def __init__(self, run: Run, folder: Path, packs: list[str], share: float):
        self.run, self.path, self.packs, self.share = run, folder / WATCHED, packs, share
        self.steps: set[int] = set()
        self.corpus: Packs | None = None
        self.warned = False

    def on_train_start(self, trainer, stage) -> None:
        if self.share and trainer.is_global_zero:
            self.steps = set(looks(self.run, CLIPS_A_CLASS * self.run.classes, self.share))
        self.rows = []
        if trainer.global_step and self.path.exists():
            try:
                with self.path.open() as file:
                    self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= trainer.global_step]
            except (OSError, ValueError, KeyError, TypeError, csv.Error):
                pass  # damaged: begun anew

    def on_train_batch_end(self, trainer, stage, *_) -> None:
        if trainer.global_step not in self.steps:
            return
        try:
            with stage.in_use():
                scored, clips = self.look(stage)
            row = {f"mAP_{name}": value for name, value in scored.items()}
            self.rows.append(row | {"step": trainer.global_step, "clips": clips, "at": round(time.time(), 3)})
            with whole(self.path) as part, part.open("w", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS)
                writer.writeheader()
                writer.writerows(self.rows)
        except Exception as error:
            if not self.warned:
                warn(f"{self.run.folder}: mAP is not watched: {error}")
            self.warned = True

    @torch.no_grad()
    def look(self, stage) -> tuple[dict[str, float], int]:
        """mAP of each stream now, and over how many clips."""
        if self.corpus is None:
            corpus = Packs(self.packs)
            wanted = min(CLIPS_A_CLASS * self.run.classes, len(corpus))
            self.clips = np.sort(generator(Use.WATCH, 0).permutation(len(corpus))[:wanted])
            self.corpus = corpus
        tagger, batch = stage.tagger.eval(), self.run.training.batch_size
        precision = stage.trainer.precision == "bf16-mixed"
        parts: dict[str, list[np.ndarray]] = {}
        try:
            clip, offset = self.corpus.parts(self.clips)
            for first in range(0, len(clip), batch):
                chosen, begin = clip[first : first + batch], offset[first : first + batch]
                draw = clip_generators(0, part_names(self.corpus.clips[chosen], begin))
                waveform = torch.from_numpy(self.corpus.read(chosen, begin)).to(stage.device)
                with torch.autocast(stage.device.type, torch.bfloat16, enabled=precision):
                    streams = tagger.streams(waveform, draw)
                for name, value in streams._asdict().items():
                    if name.rstrip("_") in STREAMS and value is not None:
                        parts.setdefault(name.rstrip("_"), []).append(value.float().cpu().numpy())
        finally:
            tagger.train()
        if "local" not in parts:
            parts.pop("global", None)
        target = self.corpus.labels.dense(self.clips)
        scores = {name: pool_parts(np.concatenate(values), clip) for name, values in parts.items()}
        if not all(np.isfinite(score).all() for score in scores.values()):
            raise GlatError("scores are not finite")
        return {name: summary(target, score).mAP for name, score in scores.items()}, len(self.clips)

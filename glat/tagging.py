"""Tagging audio files with a trained network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr
import torch

from . import checkpoints
from .data.audio import decode


class Tag(NamedTuple):
    file: Path
    start: float  # of the clip inside the file, in seconds
    end: float
    label: str
    score: float  # probability


def tag(checkpoint: Path, files: list[Path], top: int = 5) -> Iterator[Tag]:
    """The `top` classes of each clip of each file, best first.

    A file of any format and rate is mixed to mono, resampled to the network's rate and cut into clips of the length
    that the network was trained on; the last one is zero-padded.

    Raises:
        GlatError: the checkpoint or a file can't be read.
    """
    tagger, run, classes = checkpoints.load(checkpoint)
    rate, seconds = run.audio.sample_rate, run.audio.clip_seconds
    length = round(rate * seconds)
    for file in files:
        decoded = decode(file)
        mono = soxr.resample(np.ascontiguousarray(decoded.samples.mean(0)), decoded.rate, rate)  # (samples,)
        for first in range(0, len(mono), length):
            clip = mono[first : first + length]
            with torch.inference_mode():
                waveform = torch.from_numpy(np.pad(clip, (0, length - len(clip)))).float()
                scores = tagger(waveform[None])[0]  # (L,)
            start, end = first / rate, (first + len(clip)) / rate
            for index in scores.argsort(descending=True)[:top].tolist():
                yield Tag(file, start, end, classes[index]["display_name"], scores[index].item())

"""Tagging audio files with a trained network."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr
import torch

from . import checkpoints
from .data.audio import AudioError, decode
from .models import Streams, Tagger
from .randomness import clip_generators


class Tag(NamedTuple):
    file: Path
    start: float  # of the clip inside the file, in seconds
    end: float
    label: str
    score: float  # probability


class Failure(NamedTuple):
    file: Path
    reason: str


def listen(file: str | Path, rate: int, max_seconds: float = math.inf) -> np.ndarray:
    """An audio file of any format as (samples,) mono at `rate`, about its first `max_seconds`.

    Raises:
        AudioError: it gives no audio, or samples that are not finite.
    """
    decoded = decode(file, max_seconds)
    if not np.isfinite(decoded.samples).all():
        raise AudioError("not finite: NaN or infinite samples")
    return soxr.resample(np.ascontiguousarray(decoded.samples.mean(0)), decoded.rate, rate)


def clips(
    tagger: Tagger, mono: np.ndarray, seconds: float, name: str = "", seed: int = 0
) -> Iterator[tuple[float, float, Streams]]:
    """(samples,) at the network's rate -> start and end in seconds of each clip of `seconds`, and its streams (B = 1).

    The last clip is zero-padded. Random windows are those of an evaluation by `seed`: of the clip `name` in the first
    clip, and of `name` and its start in seconds in later ones.
    """
    rate = tagger.front_end.sample_rate
    length = round(rate * seconds)
    for first in range(0, len(mono), length):
        clip = mono[first : first + length]
        with torch.inference_mode():
            waveform = torch.from_numpy(np.pad(clip, (0, length - len(clip)))).float()
            draw = clip_generators(seed, [f"{name}@{first / rate:g}" if first else name])
            yield first / rate, (first + len(clip)) / rate, tagger.streams(waveform[None], draw)


def evaluation_seed(run: Path) -> int:
    """The seed that the run in a folder was evaluated by; 0 where it was not."""
    try:
        return int(json.loads((run / "metrics.json").read_text())["evaluation"]["seed"])
    except (OSError, ValueError, LookupError, TypeError):
        return 0


def tag(checkpoint: Path, files: list[Path], top: int = 5) -> Iterator[Tag | Failure]:
    """The `top` classes of each clip of each file, best first.

    A file of any format and rate is mixed to mono, resampled to the network's rate and cut into clips of the length
    that the network was trained on; the last one is zero-padded. Random windows are those of the run's evaluation. A file that gives no audio is a `Failure`, and the
    others go on.

    Raises:
        GlatError: the checkpoint can't be read.
    """
    tagger, run, classes = checkpoints.load(checkpoint)
    seed = evaluation_seed(checkpoint.parent)
    for file in files:
        try:
            mono = listen(file, run.audio.sample_rate)  # (samples,)
        except AudioError as error:
            yield Failure(file, str(error))
            continue
        for start, end, streams in clips(tagger, mono, run.audio.clip_seconds, file.stem, seed):
            scores = streams.fused[0]  # (L,)
            for index in scores.argsort(descending=True)[:top].tolist():
                yield Tag(file, start, end, classes[index]["display_name"], scores[index].item())

"""Random streams: each use has a domain of its own, so that no two of them ever draw the same numbers.

A stream is a function of (use, seed, numbers), where the numbers count what is drawn for: the training step, the clip, the
round. Nothing has to be saved for a resume, and a draw for the whole batch is the same on any number of processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import IntEnum, unique

import numpy as np
import torch


@unique
class Use(IntEnum):
    """What a stream is for. The numbers are part of every stream: give a new use a new one, and change none."""

    INITIALISATION = 1  # the weights that a training starts from
    CLASS_ORDER = 2  # of a round of class-balanced batches; numbers: round
    CLIP_ORDER = 3  # of a class's clips; numbers: class, shuffle
    MASKS = 4  # SpecAugment; numbers: step
    MIXUP = 5  # numbers: step
    DROPOUT = 6  # numbers: step, process
    TRAINING_WINDOWS = 7  # of `selection: random` in training; numbers: step, place in the batch
    EVALUATION_WINDOWS = 8  # and in evaluation; numbers: of the clip's name
    COLLAPSE = 9  # windows of the look for a collapsed training
    PICTURES = 10  # the clips that a report pictures
    AUDIT = 11  # the clips that an audit listens to; numbers: clips there are
    WATCH = 12  # the evaluation clips scored while training
    HELD_OUT = 13  # the training clips that `schedule: plateau` holds out; numbers: of a clip, for its windows
    VALIDATION = 14  # windows of the looks at validation clips; numbers: of a clip
    CROPS = 15  # which part of a longer clip is trained on; numbers: step
    ROLL = 20  # of waveforms in time; numbers: step
    GAIN = 21  # of waveforms; numbers: step
    WAVEFORM_MIXUP = 22  # numbers: step
    MIX_STYLE = 23  # numbers: step


def generator(use: Use, seed: int, *numbers: int) -> np.random.Generator:
    """NumPy's generator of one stream.

    The use and the numbers are a spawn key, not more words of the seed: there [1] and [1, 0] would be the same stream, and
    a seed above 2^32 could spell out another's numbers.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(use), *numbers)))


def torch_generator(use: Use, seed: int, *numbers: int) -> torch.Generator:
    """Torch's generator (CPU) of one stream."""
    return torch.Generator().manual_seed(torch_seed(use, seed, *numbers))


def torch_seed(use: Use, seed: int, *numbers: int) -> int:
    """A seed of one stream for what takes no generator (`torch.manual_seed`: dropout, initial weights)."""
    return int(generator(use, seed, *numbers).integers(2**63))


def clip_generators(seed: int, clips: Iterable[str]) -> list[torch.Generator]:
    """What draws the random windows of each clip in an evaluation by `seed`: a function of the seed and the clip's name, so
    that a clip has the same windows in any batch, among any others, and in its picture. A file's name may be any bytes."""
    hashes = [hashlib.sha256(str(clip).encode("utf-8", "backslashreplace")).digest() for clip in clips]
    return [torch_generator(Use.EVALUATION_WINDOWS, seed, int.from_bytes(found[:8])) for found in hashes]

"""Scores of packed clips by a network, batch by batch: both streams, their fusion and the windows that GL-AT chose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..data.packs.read import PackedClips, Packs, as_is
from ..data.randomness import clip_generators
from ..lib import hardware
from ..lib.errors import GlatError
from ..models.tagger import Tagger
from .cost import Stopwatch
from .frames import FrameWriter
from .parts import part_names, pool_parts
from .predictions import STREAMS

TIMED = 10  # batches that are timed where scores over time are kept


class Batch(NamedTuple):
    """Parts of clips, as a network scores them together."""

    waveform: torch.Tensor  # (B, samples) int16, on the device
    draw: Callable[[], list[torch.Generator]]  # what their random windows are drawn by, from the start at each call
    clips: list[str]  # the clip of each


def batches(
    packs: Packs,
    clip: np.ndarray,
    offset: np.ndarray,
    size: int,
    *,
    title: str,
    device: str,
    seed: int,
    workers: int = 0,
) -> Iterator[Batch]:
    """Batches of `size` parts, those of `Packs.parts`, with a bar of progress. workers: processes that read."""
    parts = PackedClips(packs, clip, offset)
    loader: DataLoader = DataLoader(parts, size, collate_fn=as_is, num_workers=workers, pin_memory=device == "cuda")
    for read in tqdm(loader, title, unit="batch", disable=None):
        index = read["index"].numpy()
        clips = list(packs.clips[index])
        draw = partial(clip_generators, seed, part_names(clips, read["offset"].numpy()))
        yield Batch(read["waveform"].to(device, non_blocking=True), draw, clips)


def check_finite(scores: torch.Tensor, batch: Batch) -> None:
    """Raise GlatError if a part's fused scores (B, L) are not finite; nor are the streams then that they are made of."""
    finite = scores.isfinite().all(1)
    if not finite.all():
        bad = batch.clips[int((~finite).nonzero()[0, 0])]
        mend = "; set execution.precision: float32" if torch.is_autocast_enabled(scores.device.type) else ""
        raise GlatError(f"clip {bad}: its scores are not finite{mend}")


def predict(
    tagger: Tagger,
    packs: Packs,
    *,
    batch_size: int,
    device: str,
    precision: str,
    seed: int,
    only: np.ndarray | None = None,
    workers: int = 0,
    pool: str = "mean",
    keep: FrameWriter | None = None,
) -> tuple[dict[str, np.ndarray], float]:
    """Scores and windows of every clip (or of those at the indices `only`), in the packs' order, and the seconds that a
    clip took (`cost.Stopwatch`). device: "cpu" or "cuda"; precision: "float32" or "bf16"; workers: processes that read.

    The first are "fused" and "global" (clips, L) float32, and with GL-AT also "local" (clips, L), "windows" (clips, N)
    starts in seconds and "classes" (clips, N), the class that each window was chosen for. The random selection draws
    by `seed` and each clip's name.

    A clip that is longer than the network hears at a time is scored part by part (`Packs.parts`), and `pool`, the mean or
    the maximum, is taken of the parts' scores. Then there are "part" (P,), the row of each part's clip, and "begin" (P,),
    where in its clip it begins, in seconds; "windows", from there on, and "classes" are (P, N).

    keep: takes the scores over time of each batch. They cost more than the others and are no part of the seconds, so the first
    batches are scored once more to be timed.

    Raises:
        GlatError: a clip whose scores are not finite.
    """
    hardware.use_tf32(False)
    clip, offset = packs.parts(np.arange(len(packs)) if only is None else only)
    tagger = tagger.to(device, memory_format=torch.channels_last).eval()
    parts: dict[str, list[np.ndarray]] = {}
    watch = Stopwatch(device)
    how: dict[str, Any] = {"title": "evaluate", "device": device, "seed": seed, "workers": workers}
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
        for batch in batches(packs, clip, offset, batch_size, **how):
            if keep is None or len(watch.laps) < TIMED:
                with watch.lap(len(batch.waveform)):
                    streams = tagger.streams(batch.waveform, batch.draw())
            if keep is not None:
                streams, over_time = tagger.timeline(batch.waveform, batch.draw())
                keep.add(over_time)
            check_finite(streams.fused, batch)
            for name, value in streams._asdict().items():
                if value is not None and not (name == "global_" and streams.local is None):
                    parts.setdefault(name.rstrip("_"), []).append(value.cpu().numpy())
    found = {name: np.concatenate(values) for name, values in parts.items()}
    for name in found.keys() & set(STREAMS):
        found[name] = pool_parts(found[name], clip, pool)
    if packs.longer and "windows" in found:
        number = np.cumsum(np.diff(clip, prepend=clip[:1]) != 0)
        found |= {"part": number, "begin": offset / packs.sample_rate}
    return found, watch.seconds_per_clip * len(clip) / len(found["fused"])

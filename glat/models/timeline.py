"""Scores over time: those of the clip's frames, sharpened where windows were heard (ours; the paper has none)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Timeline(NamedTuple):
    """Probabilities of the classes over time, (B, T, L). Frame t lasts from t T0 / T to (t + 1) T0 / T seconds.

    Without GL-AT there is only the global stream, which `fused` then equals.
    """

    fused: Tensor  # (max + mean) / 2 of both streams where a window was heard, the global stream's elsewhere
    global_: Tensor  # S_g by the global stream's own classifier
    local: Tensor | None = None  # the highest of the windows that hold the frame; 0 where none does
    heard: Tensor | None = None  # (B, T) whether a window holds the frame


def lay(scores: Tensor, starts: Tensor, tau: float, seconds: float, frames: int) -> tuple[Tensor, Tensor]:
    """Frame scores of windows laid over the clip: (B, N, W, L) of windows of `tau` seconds at `starts` (B, N), in seconds ->
    (B, T, L), T = `frames`, and (B, T) whether a window holds the middle of the frame.

    Where windows overlap, the highest score counts, since each says what it heard; where there is none, the score is 0.

    >>> scores = torch.tensor([[[[0.2], [0.9]]]])  # one window of two frames, from 1 s to 3 s of a clip of 4 s
    >>> laid, heard = lay(scores, torch.tensor([[1.0]]), tau=2.0, seconds=4.0, frames=4)
    >>> laid[0, :, 0], heard[0].tolist()
    (tensor([0.0000, 0.2000, 0.9000, 0.0000]), [False, True, True, False])
    """
    width, classes = scores.shape[2:]
    middle = (torch.arange(frames, device=scores.device, dtype=starts.dtype) + 0.5) * (seconds / frames)  # (T,)
    # (B, N, T): frame of the window. Where a window lies around a frame of the clip, the middle of that one is the boundary of
    # two of the window's, and rounding would choose: a thousandth of one is added.
    place = ((middle - starts[:, :, None]) / min(tau, seconds) * width + 1e-3).floor().long()
    inside = (place >= 0) & (place < width)
    index = place.clamp(0, width - 1)[..., None].expand(-1, -1, -1, classes)
    laid = (scores.gather(2, index) * inside[..., None]).amax(1)  # (B, T, L)
    return laid, inside.any(1)


def timeline(s_g: Tensor, windows: Sequence[tuple[Tensor, Tensor, float]], seconds: float) -> Timeline:
    """S_g (B, T, L), and of each length of windows their frame scores (B, N, W, L), starts (B, N) and length in seconds
    -> `Timeline`. No windows: the global stream alone."""
    if not windows:
        return Timeline(s_g, s_g)
    laid = [lay(scores, starts, tau, seconds, s_g.shape[1]) for scores, starts, tau in windows]
    local = torch.stack([scores for scores, _ in laid]).amax(0)  # (B, T, L)
    heard = torch.stack([inside for _, inside in laid]).any(0)  # (B, T)
    both = (torch.maximum(s_g, local) + (s_g + local) / 2) / 2
    return Timeline(torch.where(heard[..., None], both, s_g), s_g, local, heard)

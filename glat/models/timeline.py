"""Scores over time: those of the clip's frames, sharpened where windows were heard (ours; the paper has none)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Timeline(NamedTuple):
    """Probabilities of the classes over time, (B, T, L). Frame t begins at t * `frame` seconds and lasts as long, the last one
    to the clip's end.

    Without GL-AT there is only the global stream, which `fused` then equals.
    """

    frame: float  # seconds: `Backbone.frame_seconds`
    fused: Tensor  # (max + mean) / 2 of both streams where a window was heard, the global stream's elsewhere
    global_: Tensor  # S_g by the global stream's own classifier
    local: Tensor | None = None  # the highest of the windows that hold the frame; 0 where none does
    heard: Tensor | None = None  # (B, T) whether a window holds the frame


class Window(NamedTuple):
    """What was heard in the N windows of one length, `tau` seconds."""

    scores: Tensor  # (B, N, W, L), of frames that last `frame` seconds
    starts: Tensor  # (B, N) seconds
    tau: float
    frame: float


def lay(scores: Tensor, starts: Tensor, tau: float, middles: Tensor, frame: float) -> tuple[Tensor, Tensor]:
    """Frame scores of windows laid over the clip: (B, N, W, L) of windows of `tau` seconds at `starts` (B, N), whose frames
    last `frame` seconds each, and the `middles` (T,) of the clip's frames, all in seconds -> (B, T, L), and (B, T) whether a
    window holds the middle of the clip's frame. A window's last frame lasts to its end.

    Where windows overlap, the highest score counts, since each says what it heard; where there is none, the score is 0.

    >>> scores = torch.tensor([[[[0.2], [0.9]]]])  # one window of two frames, from 1 s to 3 s of a clip of 4 s
    >>> laid, heard = lay(scores, torch.tensor([[1.0]]), tau=2.0, middles=torch.arange(4) + 0.5, frame=1.0)
    >>> laid[0, :, 0], heard[0].tolist()
    (tensor([0.0000, 0.2000, 0.9000, 0.0000]), [False, True, True, False])
    """
    width, classes = scores.shape[2:]
    # (B, N, T): seconds in the window. Where a window lies around a frame of the clip, the middle of that one is the boundary
    # of two of the window's, and rounding would choose: a thousandth of one is added.
    place = middles - starts[:, :, None] + 1e-3 * frame
    inside = (place >= 0) & (place < tau)
    index = (place / frame).floor().long().clamp(0, width - 1)[..., None].expand(-1, -1, -1, classes)
    laid = (scores.gather(2, index) * inside[..., None]).amax(1)  # (B, T, L)
    return laid, inside.any(1)


def timeline(s_g: Tensor, frame: float, seconds: float, windows: Sequence[Window] = ()) -> Timeline:
    """S_g (B, T, L) of clips of `seconds`, whose frames last `frame` seconds, and what was heard in the windows of each length
    -> `Timeline`. No windows: the global stream alone."""
    if not windows:
        return Timeline(frame, s_g, s_g)
    begins = torch.arange(s_g.shape[1], device=s_g.device, dtype=windows[0].starts.dtype) * frame  # (T,)
    middles = begins + (seconds - begins).clamp(max=frame) / 2  # a frame that is partly padding ends with the clip
    laid = [lay(one.scores, one.starts, one.tau, middles, one.frame) for one in windows]
    local = torch.stack([scores for scores, _ in laid]).amax(0)  # (B, T, L)
    heard = torch.stack([inside for _, inside in laid]).any(0)  # (B, T)
    both = (torch.maximum(s_g, local) + (s_g + local) / 2) / 2
    return Timeline(frame, torch.where(heard[..., None], both, s_g), s_g, local, heard)

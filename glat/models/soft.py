"""A window whose place is differentiable, so that the local loss reaches the selection (ours, `selection: soft`).

Why: the hard choice of a frame passes no gradient, so with separate weights the global stream of GL-AT is the plain
backbone, and nothing teaches it to point at what the local stream needs. Here a window's centre is a weighted mean of the
frames around the peak, a *soft argmax*, and the window is read there by linear interpolation between frames, as a spatial
transformer reads an image (Jaderberg et al. 2015, https://arxiv.org/abs/1506.02025, eq. 5). Both steps have a gradient, and
it is that of what the network computes: there is no straight-through estimate. Which classes get windows, and around which
peak, stays a hard choice.

The mean is over the half-window to each side of the peak alone. Over the whole clip it would lie between two events of a
class, where there is neither.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .selection import window_frames


def soft_peaks(activations: Tensor, peaks: Tensor, reach: float) -> Tensor:
    """Frame indices near `peaks` (B, N), as real numbers: (B, N) float64 with a gradient to the activations (B, N, T).

    sum_t w_t t over the frames with |t - peak| <= reach, where w is the softmax of the activations' logits. Where all are
    equal, that is the peak itself, or the middle of what the clip has of its surroundings.

    >>> peaks = soft_peaks(torch.tensor([[[0.1, 0.1, 0.5, 0.25, 0.1]]]), torch.tensor([[2]]), reach=1.0)
    >>> round(peaks.item(), 3)  # weights 1/9, 1 and 1/3
    2.154
    """
    t = torch.arange(activations.shape[2], device=activations.device)
    near = (t - peaks[:, :, None]).abs() <= reach  # (B, N, T)
    logits = torch.logit(activations.double(), eps=1e-7).masked_fill(~near, -torch.inf)
    return (logits.softmax(2) * t).sum(2)


def interpolate_windows(logmel: Tensor, starts: Tensor, tau: float, frames_per_second: float) -> Tensor:
    """As `selection.cut_windows`, (B, 1, frames, mels) and starts (B, N) -> (B * N, 1, W, mels), but from the very start of a
    window, between two frames: frame k is (1 - f) x[i + k] + f x[i + k + 1] for a start of i + f frames, so that there is a
    gradient to the start.

    >>> logmel = torch.arange(1001.0).expand(64, -1).T[None, None]  # each frame holds its own number
    >>> interpolate_windows(logmel, torch.tensor([[2.5025]]), tau=3.0, frames_per_second=100.0)[0, 0, :2, 0]
    tensor([250.2500, 251.2500])
    """
    clips, _, frames, _ = logmel.shape
    width = window_frames(tau, frames_per_second, frames)
    first = (starts.to(logmel.device) * frames_per_second).clamp(0, frames - width)  # (B, N)
    whole = first.detach().floor()
    share = (first - whole).to(logmel.dtype)[:, :, None, None]  # (B, N, 1, 1)
    index = whole.long()[:, :, None] + torch.arange(width + 1, device=logmel.device)  # (B, N, W + 1)
    clip = torch.arange(clips, device=logmel.device)[:, None, None]
    x = logmel[:, 0][clip, index.clamp(max=frames - 1)]  # (B, N, W + 1, mels)
    return torch.lerp(x[:, :, :-1], x[:, :, 1:], share).flatten(0, 1).unsqueeze(1)  # (B * N, 1, W, mels)

"""Which windows the local stream listens to (paper, section 2.2), and how they are cut.

Everything works on the whole batch by index arithmetic; times are in seconds from the start of the clip.
"""

from __future__ import annotations

import torch
from torch import Tensor

SELECTIONS = ("attention", "random", "uniform")


def top_classes(scores: Tensor, count: int) -> Tensor:
    """The `count` classes with the highest scores: (B, L) -> (B, N) class indices, best first.

    Among equal scores the class with the lower index comes first, so the choice never depends on the machine.
    """
    return scores.argsort(dim=1, descending=True, stable=True)[:, :count]


def peak_frames(activations: Tensor, suppress_frames: int = 0) -> Tensor:
    """The frame of the highest activation of each class: (B, N, T) -> (B, N) frame indices (paper, eq. for m).

    With `suppress_frames` W (a window's length in frames, the released code's rule, not in the paper) the classes
    are walked in order, and after a window is taken the activations of the remaining classes are set to zero in the
    half-window around it: from the peak - W // 4 up to the peak + W // 4, or, where the window was pushed against
    an end of the clip, in the outermost 2 (W // 4) frames there. This walk is sequential over the N classes by its
    nature; each step handles the whole batch.
    """
    if not suppress_frames:
        return activations.max(dim=2).indices  # the first of equal maxima
    frames = activations.shape[2]
    t = torch.arange(frames, device=activations.device)
    reach, half = suppress_frames // 4, suppress_frames / 2
    left = activations.clone()
    peaks = []
    for n in range(activations.shape[1]):
        peak = left[:, n].max(dim=1).indices[:, None]  # (B, 1)
        peaks.append(peak)
        at_end, at_start = peak + half >= frames, peak - half < 0
        inside = (t >= peak - reach) & (t < peak + reach)  # (B, T)
        gone = torch.where(at_end, t >= frames - 2 * reach, torch.where(at_start, t < 2 * reach, inside))
        left = left.masked_fill(gone[:, None], 0.0)
    return torch.cat(peaks, 1)


def window_starts(peaks: Tensor, frames: int, tau: float, seconds: float, frame_time: str = "middle") -> Tensor:
    """Frame indices (B, N) of the T = `frames` -> starts (B, N) of the windows [m - tau/2, m + tau/2], in seconds.

    m = (frame + 0.5) T0 / T with `frame_time` "middle" (ours), m = frame T0 / T with "start" (released code).
    A window that would begin before 0 becomes [0, tau], one that would end after T0 becomes [T0 - tau, T0] (paper).
    """
    offset = 0.5 if frame_time == "middle" else 0.0
    centre = (peaks.double() + offset) * (seconds / frames)
    return (centre - tau / 2).clamp(0.0, max(seconds - tau, 0.0))


def random_starts(clips: int, count: int, tau: float, seconds: float, generator: torch.Generator | None) -> Tensor:
    """(B, N) starts drawn uniformly over all places where a window fits: the control without attention (ours)."""
    return torch.rand(clips, count, generator=generator, dtype=torch.float64) * max(seconds - tau, 0.0)


def uniform_starts(clips: int, count: int, tau: float, seconds: float) -> Tensor:
    """(B, N) evenly spaced starts from the beginning of the clip to its end; one window is centred (ours)."""
    last = max(seconds - tau, 0.0)
    starts = torch.linspace(0.0, last, count, dtype=torch.float64) if count > 1 else torch.tensor([last / 2]).double()
    return starts.expand(clips, count)


def cut_windows(logmel: Tensor, starts: Tensor, tau: float, frames_per_second: float) -> Tensor:
    """Cut N windows of frames out of each clip: (B, 1, frames, mels), starts (B, N) -> (B * N, 1, W, mels).

    W = tau * frames_per_second frames. A window that lacks no more than one frame of the clip is the whole of it: a
    clip of T0 has a frame at both ends, one more than T0 * frames_per_second. Clip b's windows are the rows
    b * N .. b * N + N - 1. Cutting the log-mel gives what cutting the waveform would, up to the padding at the two
    edges of a window, and computes the spectrogram once (ours; the released code cuts the waveform).
    """
    clips, _, frames, _ = logmel.shape
    whole = tau * frames_per_second >= frames - 1 - 1e-6
    width = frames if whole else round(tau * frames_per_second)
    first = (starts.to(logmel.device) * frames_per_second).round().long().clamp(0, frames - width)  # (B, N)
    index = first[:, :, None] + torch.arange(width, device=logmel.device)  # (B, N, W)
    clip = torch.arange(clips, device=logmel.device)[:, None, None]
    return logmel[:, 0][clip, index].flatten(0, 1).unsqueeze(1)  # (B * N, 1, W, mels)

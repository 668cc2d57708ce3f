"""Selection of the windows that the local stream scores (paper, section 2.2), and how they are cut.

Everything works on the whole batch by index arithmetic; times are in seconds from the start of the clip.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SELECTIONS = ("attention", "soft", "random", "uniform")
# The source of random windows: one generator for the batch, or one for each of its clips.
Draws = torch.Generator | Sequence[torch.Generator] | None


def top_classes(scores: Tensor, count: int) -> Tensor:
    """The `count` classes with the highest scores: (B, L) -> (B, N) class indices, best first.

    Among equal scores the class with the lower index comes first, so that the selection never depends on the machine.

    >>> top_classes(torch.tensor([[0.1, 0.7, 0.2, 0.7]]), 3)
    tensor([[1, 3, 2]])
    """
    return scores.argsort(dim=1, descending=True, stable=True)[:, :count]


def peak_frames(activations: Tensor) -> Tensor:
    """The frame of the highest activation of each class: (B, N, T) -> (B, N) frame indices (paper, eq. for m).

    >>> peak_frames(torch.tensor([[[0.1, 0.9, 0.2], [0.5, 0.5, 0.4]]]))
    tensor([[1, 0]])
    """
    return activations.max(dim=2).indices  # the first of equal maxima


def suppressed_peaks(activations: Tensor, window: int, clip: int) -> Tensor:
    """As `peak_frames`, but later windows keep away from earlier ones (released code; the paper has no such rule).

    The classes are processed in order, the whole batch at once. After a peak at frame p of T, the activations of all
    classes are set to zero in the frames p - r to p + r - 1, where r is a quarter of the window in whole frames. If the
    window, centred at p clip / T, would begin before the clip or reach its end, the outermost 2 r frames there are set
    to zero instead. With r = 0, a window at the end sets everything to zero: the released code's slice from -2 r then
    begins at 0.

    Args:
        activations: (B, N, T).
        window: its length in samples, as in the released code: tau times 32 kHz.
        clip: its length in samples: T0 times 32 kHz.
    """
    frames, half = activations.shape[2], window // 2
    reach = window * frames // clip // 4
    last = frames - 2 * reach if reach else 0  # the first of those frames at the end
    t = torch.arange(frames, device=activations.device)
    left, peaks = activations.clone(), []
    for n in range(activations.shape[1]):
        peak = left[:, n].max(dim=1).indices[:, None]  # (B, 1)
        peaks.append(peak)
        sample = peak * clip // frames
        at_end, at_start = sample + half >= clip, sample < half
        begin = torch.where(at_end, last, torch.where(at_start, 0, peak - reach))
        end = torch.where(at_end, frames, torch.where(at_start, 2 * reach, peak + reach))
        suppressed = (t >= begin) & (t < end)  # (B, T)
        left = left.masked_fill(suppressed[:, None], 0.0)
    return torch.cat(peaks, 1)


def window_starts(peaks: Tensor, frames: int, tau: float, seconds: float, frame_time: str = "middle") -> Tensor:
    """Frame indices (B, N), whole or not, of the T = `frames` -> starts (B, N) of the windows [m - tau/2, m + tau/2] in
    seconds.

    m = (frame + 0.5) T0 / T with `frame_time` "middle" (ours), m = frame T0 / T with "start" (released code).
    A window that would begin before 0 becomes [0, tau], one that would end after T0 becomes [T0 - tau, T0] (paper).

    >>> window_starts(torch.tensor([[0, 31, 61]]), frames=62, tau=3.0, seconds=10.0).round(decimals=2).tolist()
    [[0.0, 3.58, 7.0]]
    """
    offset = 0.5 if frame_time == "middle" else 0.0
    centre = (peaks.double() + offset) * (seconds / frames)
    return (centre - tau / 2).clamp(0.0, max(seconds - tau, 0.0))


def random_starts(clips: int, count: int, tau: float, seconds: float, generator: Draws = None) -> Tensor:
    """(B, N) starts drawn uniformly over all places where a window fits: the control without attention (ours).

    With one generator per clip, a clip's windows do not depend on its batch.
    """
    if isinstance(generator, Sequence):
        places = torch.stack([torch.rand(count, generator=g, dtype=torch.float64) for g in generator])
    else:
        places = torch.rand(clips, count, generator=generator, dtype=torch.float64)
    return places * max(seconds - tau, 0.0)


def uniform_starts(clips: int, count: int, tau: float, seconds: float) -> Tensor:
    """(B, N) evenly spaced starts over the clip; a single window is centred (ours).

    >>> uniform_starts(1, 3, tau=2.0, seconds=10.0).tolist(), uniform_starts(1, 1, tau=2.0, seconds=10.0).tolist()
    ([[0.0, 4.0, 8.0]], [[4.0]])
    """
    last = max(seconds - tau, 0.0)
    starts = torch.linspace(0.0, last, count, dtype=torch.float64) if count > 1 else torch.tensor([last / 2]).double()
    return starts.expand(clips, count)


def window_frames(tau: float, frames_per_second: float, frames: int) -> int:
    """Length of a window of `tau` seconds in frames: W, at most that of the clip.

    A window that lacks at most one frame of the clip is the whole clip: a clip of T0 seconds has a frame at both ends,
    one more than T0 * frames_per_second.

    >>> window_frames(3.0, 100.0, frames=1001), window_frames(10.0, 100.0, frames=1001)
    (300, 1001)
    """
    return frames if tau * frames_per_second >= frames - 1 - 1e-6 else round(tau * frames_per_second)


def cut_windows(logmel: Tensor, starts: Tensor, tau: float, frames_per_second: float) -> Tensor:
    """Cut N windows of frames out of each clip: (B, 1, frames, mels), starts (B, N) -> (B * N, 1, W, mels).

    W is that of `window_frames`. The windows of clip b are the rows b * N to b * N + N - 1. Cutting the log-mel gives
    the same as cutting the waveform, up to the padding at the two edges of a window, and computes the spectrogram only
    once (ours; the released code cuts the waveform).

    >>> logmel = torch.arange(1001.0).expand(64, -1).T[None, None]  # each frame holds its own number
    >>> windows = cut_windows(logmel, torch.tensor([[0.0, 2.5]]), tau=3.0, frames_per_second=100.0)
    >>> windows.shape, windows[:, 0, 0, 0]
    (torch.Size([2, 1, 300, 64]), tensor([  0., 250.]))
    """
    clips, _, frames, _ = logmel.shape
    width = window_frames(tau, frames_per_second, frames)
    # A start half-way between two frames would be rounded by its last bit: a thousandth of a frame is added.
    nearest = (starts.to(logmel.device) * frames_per_second + 0.5 + 1e-3).floor().long()
    first = nearest.clamp(0, frames - width)  # (B, N)
    index = first[:, :, None] + torch.arange(width, device=logmel.device)  # (B, N, W)
    clip = torch.arange(clips, device=logmel.device)[:, None, None]
    return logmel[:, 0][clip, index].flatten(0, 1).unsqueeze(1)  # (B * N, 1, W, mels)

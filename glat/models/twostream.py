"""GL-AT: a global and a local stream around any backbone (paper, section 2.1 and Fig. 1)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .backbone import Backbone
from .selection import SELECTIONS, cut_windows, peak_frames, random_starts, top_classes, uniform_starts, window_starts


class Streams(NamedTuple):
    """Scores of one batch; all are probabilities (B, L). Without GL-AT there is only the global stream."""

    fused: Tensor  # y: the prediction
    global_: Tensor  # y_g
    local: Tensor | None = None  # y_l
    windows: Tensor | None = None  # (B, N) starts of the windows in seconds
    classes: Tensor | None = None  # (B, N) the class each window was chosen for; -1 where no class chose it


def max_mean(scores: Tensor) -> Tensor:
    """(max + mean) / 2 over dimension 1, which keeps a probability one (released code)."""
    return (scores.amax(1) + scores.mean(1)) / 2


class TwoStream(nn.Module):
    """The global stream scores the clip and says where to listen; the local stream scores the N windows it chose.

    Args:
        global_stream, local_stream: two backbones of the same structure with weights of their own (paper).
        n: windows a clip, N (paper: 5).
        tau: length of a window in seconds (paper: 3).
        selection: "attention" is the method; "random" and "uniform" are controls of the same cost (ours).
        suppress: after a window is taken, keep later ones away from it (released code; the paper has no such rule).
        frame_classifier: whose classifier scores the frames of the global M, "global" (paper) or "local" (released
            code).
        frame_time: "middle" (ours) or "start" (released code) of a frame is its time.
        training: "joint" trains both streams (paper); "frozen_global" keeps the global stream as it is, in
            evaluation mode, and trains the local one alone (released code).
        sharing: "none" (paper), "classifier" or "backbone": what the two streams have in common (ours).

    Raises:
        ValueError: a setting outside its range, named.
    """

    def __init__(
        self,
        global_stream: Backbone,
        local_stream: Backbone,
        frames_per_second: float,
        n: int = 5,
        tau: float = 3.0,
        selection: str = "attention",
        suppress: bool = False,
        frame_classifier: str = "global",
        frame_time: str = "middle",
        training: str = "joint",
        sharing: str = "none",
    ):
        super().__init__()
        if n < 1:
            raise ValueError(f"n is {n}: at least one window is needed")
        if tau * frames_per_second < global_stream.min_frames:
            least = global_stream.min_frames / frames_per_second
            raise ValueError(f"tau is {tau} s: {type(global_stream).__name__} needs windows of at least {least:.2f} s")
        for name, value, allowed in (
            ("selection", selection, SELECTIONS),
            ("frame_classifier", frame_classifier, ("global", "local")),
            ("frame_time", frame_time, ("middle", "start")),
            ("training", training, ("joint", "frozen_global")),
            ("sharing", sharing, ("none", "classifier", "backbone")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}: allowed are {', '.join(allowed)}")
        if training == "frozen_global" and sharing != "none":
            raise ValueError(
                f"sharing is {sharing!r}: with training 'frozen_global' only 'none' leaves weights to train"
            )
        self.global_stream, self.local_stream = global_stream, local_stream
        if sharing == "backbone":
            self.local_stream = global_stream
        elif sharing == "classifier":
            for name in global_stream.classifier:
                setattr(local_stream, name, getattr(global_stream, name))
        self.frames_per_second, self.n, self.tau = frames_per_second, n, tau
        self.selection, self.suppress = selection, suppress
        self.frame_classifier, self.frame_time = frame_classifier, frame_time
        self.frozen_global = training == "frozen_global"
        if self.frozen_global:
            self.global_stream.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> TwoStream:
        super().train(mode)
        if self.frozen_global:
            self.global_stream.eval()  # its batch-norm statistics and dropout are frozen with it
        return self

    def forward(self, logmel: Tensor, seconds: float, generator: torch.Generator | None = None) -> Streams:
        """(B, 1, frames, mels) log-mel of clips of `seconds` -> `Streams`. `generator` draws random windows."""
        m = self.global_stream.features(logmel)  # (B, T, C)
        y_g = self.global_stream.clip_scores(m)  # (B, L)
        starts, classes = self.select(m, y_g, seconds, generator)  # (B, N)
        windows = cut_windows(logmel, starts, self.tau, self.frames_per_second)  # (B * N, 1, W, mels)
        y_n = self.local_stream(windows)  # (B * N, L)
        y_l = max_mean(y_n.unflatten(0, (-1, self.n)))  # (B, N, L) -> (B, L)
        y = max_mean(torch.stack((y_g, y_l), 1))  # (B, L)
        return Streams(y, y_g, y_l, starts, classes)

    @torch.no_grad()
    def select(
        self, m: Tensor, y_g: Tensor, seconds: float, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Frame features M (B, T, C) and clip scores (B, L) -> starts (B, N) in seconds and classes (B, N).

        The choice is a hard one, so no gradient goes through it (paper).
        """
        clips, frames, _ = m.shape
        if y_g.shape[1] < self.n:
            raise ValueError(f"n is {self.n}: there are only {y_g.shape[1]} classes to choose windows by")
        none = torch.full((clips, self.n), -1, device=m.device)
        if self.selection == "random":
            return random_starts(clips, self.n, self.tau, seconds, generator).to(m.device), none
        if self.selection == "uniform":
            return uniform_starts(clips, self.n, self.tau, seconds).to(m.device), none
        classes = top_classes(y_g, self.n)  # (B, N)
        stream = self.global_stream if self.frame_classifier == "global" else self.local_stream
        s_g = stream.frame_scores(m)  # (B, T, L)
        chosen = s_g.gather(2, classes[:, None].expand(-1, frames, -1)).transpose(1, 2)  # (B, N, T)
        width = int(self.tau / seconds * frames) if self.suppress else 0
        peaks = peak_frames(chosen, width)  # (B, N)
        return window_starts(peaks, frames, self.tau, seconds, self.frame_time), classes

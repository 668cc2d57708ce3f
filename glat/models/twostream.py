"""GL-AT: a global and a local stream around any backbone (paper, section 2.1 and Fig. 1)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, Masked
from .selection import (
    SELECTIONS,
    Draws,
    cut_windows,
    peak_frames,
    random_starts,
    suppressed_peaks,
    top_classes,
    uniform_starts,
    window_frames,
    window_starts,
)

RATE = 32000  # Hz; the released code's suppression works in samples at this rate


class Streams(NamedTuple):
    """Scores of one batch; all are probabilities (B, L). Without GL-AT there is only the global stream."""

    fused: Tensor  # y: the prediction
    global_: Tensor  # y_g
    local: Tensor | None = None  # y_l
    windows: Tensor | None = None  # (B, N) starts of the windows in seconds
    classes: Tensor | None = None  # (B, N) class that each window was chosen for; -1 for random and uniform windows


def max_mean(scores: Tensor) -> Tensor:
    """(max + mean) / 2 over dimension 1, so that the result is a probability (released code).

    >>> max_mean(torch.tensor([[[0.25], [0.75]]]))
    tensor([[0.6250]])
    """
    return (scores.amax(1) + scores.mean(1)) / 2


@contextmanager
def dropout_before(layers: list[nn.Module], rate: float) -> Iterator[None]:
    """Within this context, dropout is applied to the input of each of the layers."""
    hooks = [layer.register_forward_pre_hook(lambda _, inputs: F.dropout(inputs[0], rate)) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class TwoStream(nn.Module):
    """The global stream scores the clip and selects N windows of it; the local stream scores these windows.

    Args:
        global_stream: the backbone that hears the whole clip.
        local_stream: another of the same structure, with weights of its own (paper), that hears the windows.
        frames_per_second: of the log-mel that both get.
        n: windows a clip, N (paper: 5).
        tau: length of a window in seconds (paper: 3).
        selection: "attention" is the method; "random" and "uniform" are controls of the same cost (ours).
        suppress: later windows keep away from those chosen before (released code; the paper has no such rule).
        frame_classifier: whose classifier scores the frames of the global M, "global" (paper) or "local" (released
            code).
        frame_dropout: in training, the frame scores that select windows are computed with dropout of 0.5 before each
            layer of the classifier, like the clip scores (released code).
        frame_time: the time of a frame is its "middle" (ours) or its "start" (released code).
        training: "joint" trains both streams (paper); "frozen_global" keeps the global stream as it is, in
            evaluation mode, and trains the local one alone (released code).
        sharing: the weights that both streams share: "none" (paper), "classifier" or "backbone" (ours).

    Raises:
        ValueError: a setting outside its range.
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
        frame_dropout: bool = False,
        frame_time: str = "middle",
        training: str = "joint",
        sharing: str = "none",
    ):
        super().__init__()
        if n < 1:
            raise ValueError(f"n is {n}: GL-AT needs at least one window")
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
            only = "with training 'frozen_global' only 'none' leaves weights to train"
            raise ValueError(f"sharing is {sharing!r}: {only}")
        self.global_stream, self.local_stream = global_stream, local_stream
        if sharing == "backbone":
            self.local_stream = global_stream
        elif sharing == "classifier":
            for name in global_stream.classifier:
                setattr(local_stream, name, getattr(global_stream, name))
        self.frames_per_second, self.n, self.tau = frames_per_second, n, tau
        self.selection, self.suppress = selection, suppress
        self.frame_classifier, self.frame_dropout, self.frame_time = frame_classifier, frame_dropout, frame_time
        self.frozen_global = training == "frozen_global"
        if self.frozen_global:
            self.global_stream.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> TwoStream:
        super().train(mode)
        if self.frozen_global:
            self.global_stream.eval()  # freezes its batch-norm statistics and disables dropout
        return self

    def forward(
        self,
        logmel: Tensor,
        seconds: float,
        generator: Draws = None,
        masked: Masked | None = None,
        keep_windows: Tensor | None = None,
    ) -> Streams:
        """(B, 1, frames, mels) log-mel of clips of `seconds` -> `Streams`.

        generator: draws random windows, for the batch or one for each clip.
        masked: the clips under SpecAugment, which both streams get instead; a frozen global stream gets the unmasked
            clips (released code).
        keep_windows: SpecAugment of the windows after they are cut, (B * N, 1, W, mels), see `Backbone`: the local
            stream gets these, cut from the unmasked clips (released code).
        """
        plain = Masked(logmel, None)
        inputs = masked or plain
        m = self.global_stream.masked_features(*(plain if self.frozen_global else inputs))  # (B, T, C)
        y_g = self.global_stream.clip_scores(m)  # (B, L)
        starts, classes = self.select(m, y_g, seconds, generator)  # (B, N)
        if keep_windows is None:
            windows, keep_windows = (None if x is None else self.cut(x, starts) for x in inputs)  # (B * N, 1, W, mels)
        else:
            windows = self.cut(logmel, starts)
        y_n = self.local_stream(windows, keep_windows)  # (B * N, L)
        y_l = max_mean(y_n.unflatten(0, (-1, self.n)))  # (B, N, L) -> (B, L)
        y = max_mean(torch.stack((y_g, y_l), 1))  # (B, L)
        return Streams(y, y_g, y_l, starts, classes)

    def cut(self, clips: Tensor, starts: Tensor) -> Tensor:
        """(B, 1, frames, mels) and starts (B, N) -> the windows, (B * N, 1, W, mels)."""
        return cut_windows(clips, starts, self.tau, self.frames_per_second)

    def window_frames(self, frames: int) -> int:
        """W, the length of a window in frames, for clips of `frames` frames."""
        return window_frames(self.tau, self.frames_per_second, frames)

    @torch.no_grad()
    def select(self, m: Tensor, y_g: Tensor, seconds: float, generator: Draws = None) -> tuple[Tensor, Tensor]:
        """Frame features M (B, T, C) and clip scores (B, L) -> starts (B, N) in seconds and classes (B, N).

        The selection is not differentiable, so no gradient passes through it (paper).
        """
        clips, frames, _ = m.shape
        if y_g.shape[1] < self.n:
            raise ValueError(f"n is {self.n}: there are only {y_g.shape[1]} classes to choose windows by")
        none = torch.full((clips, self.n), -1, device=m.device)
        if self.selection == "random":
            return random_starts(clips, self.n, self.tau, seconds, generator).to(m.device, non_blocking=True), none
        if self.selection == "uniform":
            return uniform_starts(clips, self.n, self.tau, seconds).to(m.device, non_blocking=True), none
        classes = top_classes(y_g, self.n)  # (B, N)
        s_g = self.frame_scores(m)  # (B, T, L)
        chosen = s_g.gather(2, classes[:, None].expand(-1, frames, -1)).transpose(1, 2)  # (B, N, T)
        if self.suppress:
            peaks = suppressed_peaks(chosen, round(self.tau * RATE), round(seconds * RATE))  # (B, N)
        else:
            peaks = peak_frames(chosen)  # (B, N)
        return window_starts(peaks, frames, self.tau, seconds, self.frame_time), classes

    def frame_scores(self, m: Tensor) -> Tensor:
        """Frame features M (B, T, C) of the global stream -> S_g (B, T, L), by which windows are selected."""
        stream = self.global_stream if self.frame_classifier == "global" else self.local_stream
        rate = 0.5 * stream.dropout_scale if self.frame_dropout and self.training else 0.0
        with dropout_before([getattr(stream, name) for name in stream.classifier] if rate else [], rate):
            return stream.frame_scores(m)

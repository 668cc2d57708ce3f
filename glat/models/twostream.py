"""GL-AT: a global and a local stream around any backbone (paper, section 2.1 and Fig. 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, Masked
from .conflicts import conflicts
from .fusion import LearnedFusion, max_mean, own_scores
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
from .soft import interpolate_windows, soft_peaks
from .timeline import Timeline, Window, timeline

RATE = 32000  # Hz; the released code's suppression works in samples at this rate


class Streams(NamedTuple):
    """Scores of one batch; all are probabilities (B, L). Without GL-AT there is only the global stream.

    K is N, the number of windows, times the number of their lengths; those of `tau` come first.
    """

    fused: Tensor  # y: the prediction
    global_: Tensor  # y_g
    local: Tensor | None = None  # y_l
    windows: Tensor | None = None  # (B, K) starts of the windows in seconds
    classes: Tensor | None = None  # (B, K) class that each window was chosen for; -1 for random and uniform windows


@contextmanager
def dropout_before(layers: list[nn.Module], rate: float) -> Iterator[None]:
    """Within this context, dropout is applied to the input of each of the layers, of a module to that of its linear ones."""
    linear = [one for layer in layers for one in layer.modules() if one is layer or isinstance(one, nn.Linear)]
    leaves = [one for one in linear if not list(one.children())]
    hooks = [layer.register_forward_pre_hook(lambda _, inputs: F.dropout(inputs[0], rate)) for layer in leaves]
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
        selection: "attention" is the method; "random" and "uniform" are controls of the same cost, "soft" passes the
            local loss on to the selection (ours: `soft.py` says why).
        suppress: later windows keep away from those chosen before (released code; the paper has no such rule).
        frame_classifier: whose classifier scores the frames of the global M, "global" (paper) or "local" (released
            code).
        frame_dropout: in training, the frame scores that select windows are computed with dropout of 0.5 before each
            layer of the classifier, like the clip scores (released code).
        frame_time: the time of a frame is its "middle" (ours) or its "start" (released code).
        training: "joint" trains both streams (paper); "frozen_global" keeps the global stream as it is, in
            evaluation mode, and trains the local one alone (released code); "none" trains nothing: a trained backbone
            hears windows at inference too, which shows what they bring where they cost no training (ours).
        sharing: the weights that both streams share: "none" (paper), "classifier" or "backbone" (ours). Why: one backbone
            has half the weights, and learns from clips and windows alike.
        scoring: "all" windows score each class (paper), or its "own" alone (ours: `fusion.own_scores` says why).
        fusion: of the two streams, "mean_max" (released code) or "learned" (ours: `fusion.LearnedFusion` says why).
        extra_taus: further lengths in seconds, of each of which there are N windows too, around the same peaks and in
            a batch of their own (ours). Why: an event of half a second fills a sixth of a window of 3 s, one of 8 s is
            cut by it, and which of them a class is, no single length can know.
        classes: L, for the learned fusion.

    Raises:
        ValueError: a setting outside its range, or settings that don't fit together.
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
        scoring: str = "all",
        fusion: str = "mean_max",
        extra_taus: Sequence[float] = (),
        classes: int | None = None,
    ):
        super().__init__()
        if n < 1:
            raise ValueError(f"n is {n}: GL-AT needs at least one window")
        for name, length in (("tau", tau), *(("extra_taus", length) for length in extra_taus)):
            if length * frames_per_second < global_stream.min_frames:
                least = global_stream.min_frames / frames_per_second
                needed = f"{type(global_stream).__name__} needs windows of at least {least:.2f} s"
                raise ValueError(f"{name} is {length} s: {needed}")
        for name, value, allowed in (
            ("selection", selection, SELECTIONS),
            ("frame_classifier", frame_classifier, ("global", "local")),
            ("frame_time", frame_time, ("middle", "start")),
            ("training", training, ("joint", "frozen_global", "none")),
            ("sharing", sharing, ("none", "classifier", "backbone")),
            ("scoring", scoring, ("all", "own")),
            ("fusion", fusion, ("mean_max", "learned")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}: allowed are {', '.join(allowed)}")
        own = {"selection": selection, "training": training, "sharing": sharing, "scoring": scoring, "fusion": fusion}
        for name, why in conflicts(own):
            raise ValueError(f"{name} is {own[name]!r}: {why}")
        self.global_stream, self.local_stream = global_stream, local_stream
        if sharing == "backbone":
            self.local_stream = global_stream
        elif sharing == "classifier":
            for name in global_stream.classifier:
                setattr(local_stream, name, getattr(global_stream, name))
        self.frames_per_second, self.n, self.tau = frames_per_second, n, tau
        self.selection, self.suppress = selection, suppress
        self.frame_classifier, self.frame_dropout, self.frame_time = frame_classifier, frame_dropout, frame_time
        self.scoring, self.extra_taus = scoring, tuple(extra_taus)
        self.fusion: nn.Module | None = None
        if fusion == "learned":
            if classes is None:
                raise ValueError("fusion is 'learned': it has a weight for each class; say how many classes there are")
            self.fusion = LearnedFusion(classes)
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
            stream gets these, cut from the unmasked clips (released code). All windows are then of one length.
        """
        return self._features_and_streams(logmel, seconds, generator, masked, keep_windows)[0]

    def timeline(self, logmel: Tensor, seconds: float, generator: Draws = None) -> tuple[Streams, Timeline]:
        """As `forward`, and the scores over time of both streams, (B, T, L): see `Timeline`."""
        streams, m, of_windows = self._features_and_streams(logmel, seconds, generator)
        assert streams.windows is not None
        s_g = self.global_stream.frame_scores(m)  # (B, T, L)
        windows = []
        for features, at, tau in zip(of_windows, streams.windows.chunk(len(self.taus), 1), self.taus, strict=True):
            scores = self.local_stream.frame_scores(features).view(*at.shape, -1, s_g.shape[2])  # (B, N, W, L)
            frame = self.local_stream.frame_seconds(min(tau, seconds), scores.shape[2], self.frames_per_second)
            windows.append(Window(scores, at, tau, frame))
        frame = self.global_stream.frame_seconds(seconds, m.shape[1], self.frames_per_second)
        return streams, timeline(s_g, frame, seconds, windows)

    def _features_and_streams(
        self,
        logmel: Tensor,
        seconds: float,
        generator: Draws = None,
        masked: Masked | None = None,
        keep_windows: Tensor | None = None,
    ) -> tuple[Streams, Tensor, list[Tensor]]:
        """What `forward` says; M of the clip (B, T, C), and of the windows, (B * N, W, C) for each length."""
        plain = Masked(logmel, None)
        inputs = masked or plain
        m = self.global_stream.masked_features(*(plain if self.frozen_global else inputs))  # (B, T, C)
        y_g = self.global_stream.clip_scores(m)  # (B, L)
        starts, classes = self.select(m, y_g, seconds, generator)  # (B, K)
        features, of_windows = list[Tensor](), list[Tensor]()
        for tau, at in zip(self.taus, starts.chunk(len(self.taus), 1), strict=True):  # (B, N) each
            if keep_windows is None:
                windows = self.cut(inputs.logmel, at, tau)  # (B * N, 1, W, mels)
                keep = None if inputs.keep is None else self.cut(inputs.keep, at, tau)
            else:
                windows, keep = self.cut(logmel, at, tau), keep_windows
            features.append(self.local_stream.masked_features(windows, keep))  # (B * N, W, C)
            of_windows.append(self.local_stream.clip_scores(features[-1]).view(*at.shape, -1))  # (B, N, L)
        y_n = torch.cat(of_windows, 1)  # (B, K, L)
        y_l = own_scores(y_n, classes) if self.scoring == "own" else max_mean(y_n)  # (B, L)
        y = self.fusion(y_g, y_l) if self.fusion else max_mean(torch.stack((y_g, y_l), 1))  # (B, L)
        return Streams(y, y_g, y_l, starts, classes), m, features

    @property
    def taus(self) -> tuple[float, ...]:
        """The lengths of windows in seconds."""
        return (self.tau, *self.extra_taus)

    def cut(self, clips: Tensor, starts: Tensor, tau: float | None = None) -> Tensor:
        """(B, 1, frames, mels) and starts (B, N) -> the windows of one length, (B * N, 1, W, mels)."""
        how = interpolate_windows if self.selection == "soft" else cut_windows
        return how(clips, starts, self.tau if tau is None else tau, self.frames_per_second)

    def window_frames(self, frames: int) -> int:
        """W, the length of a window of `tau` in frames, for clips of `frames` frames."""
        return window_frames(self.tau, self.frames_per_second, frames)

    def select(self, m: Tensor, y_g: Tensor, seconds: float, generator: Draws = None) -> tuple[Tensor, Tensor]:
        """Frame features M (B, T, C) and clip scores (B, L) -> starts (B, K) in seconds and classes (B, K).

        No gradient passes through it (paper), but for that of soft windows' starts.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.selection == "soft"):
            clips, frames, _ = m.shape
            if y_g.shape[1] < self.n:
                raise ValueError(f"n is {self.n}: there are only {y_g.shape[1]} classes to choose windows by")
            if self.selection in ("random", "uniform"):
                starts = [self.starts_anywhere(clips, tau, seconds, generator) for tau in self.taus]
                none = torch.full((clips, self.n * len(self.taus)), -1, device=m.device)
                return torch.cat(starts, 1).to(m.device, non_blocking=True), none
            classes = top_classes(y_g, self.n)  # (B, N)
            s_g = self.frame_scores(m)  # (B, T, L)
            chosen = s_g.gather(2, classes[:, None].expand(-1, frames, -1)).transpose(1, 2)  # (B, N, T)
            if self.suppress:
                peaks = suppressed_peaks(chosen.detach(), round(self.tau * RATE), round(seconds * RATE))  # (B, N)
            else:
                peaks = peak_frames(chosen)  # (B, N)
            starts = []
            for tau in self.taus:
                reach = tau / 2 * frames / seconds
                centres = soft_peaks(chosen, peaks, reach) if self.selection == "soft" else peaks  # (B, N)
                starts.append(window_starts(centres, frames, tau, seconds, self.frame_time))
            return torch.cat(starts, 1), classes.repeat(1, len(self.taus))

    def starts_anywhere(self, clips: int, tau: float, seconds: float, generator: Draws) -> Tensor:
        """(B, N) starts of the controls that need no scores."""
        if self.selection == "random":
            return random_starts(clips, self.n, tau, seconds, generator)
        return uniform_starts(clips, self.n, tau, seconds)

    def frame_scores(self, m: Tensor) -> Tensor:
        """Frame features M (B, T, C) of the global stream -> S_g (B, T, L), by which windows are selected."""
        stream = self.global_stream if self.frame_classifier == "global" else self.local_stream
        rate = 0.5 * stream.dropout_scale if self.frame_dropout and self.training else 0.0
        with dropout_before([getattr(stream, name) for name in stream.classifier] if rate else [], rate):
            return stream.frame_scores(m)

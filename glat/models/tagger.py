"""Front end and network as one module: waveform in, class probabilities out."""

from __future__ import annotations

from torch import Tensor, nn

from .backbone import Backbone, Masked
from .frontend import FrontEnd
from .selection import Draws
from .timeline import Timeline, timeline
from .twostream import Streams, TwoStream


class Tagger(nn.Module):
    """A front end, a log-mel as a rule, followed by a backbone or by GL-AT around one."""

    def __init__(self, front_end: FrontEnd, network: Backbone | TwoStream):
        super().__init__()
        self.front_end, self.network = front_end, network

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, samples) in [-1, 1], or int16, at `front_end.sample_rate` -> probabilities (B, L)."""
        return self.streams(waveform).fused

    def streams(self, waveform: Tensor, generator: Draws = None) -> Streams:
        """(B, samples) -> scores of each stream and the windows; `generator` draws random windows."""
        return self.from_logmel(self.front_end(waveform), self.seconds(waveform), generator)

    def timeline(self, waveform: Tensor, generator: Draws = None) -> tuple[Streams, Timeline]:
        """(B, samples) -> what `streams` gives, and the scores over time (B, T, L): see `Timeline`."""
        logmel, seconds = self.front_end(waveform), self.seconds(waveform)
        if isinstance(self.network, TwoStream):
            return self.network.timeline(logmel, seconds, generator)
        m = self.network.features(logmel)  # (B, T, C)
        scores = self.network.clip_scores(m)
        frame = self.network.frame_seconds(seconds, m.shape[1], self.front_end.frames_per_second)
        return Streams(scores, scores), timeline(self.network.frame_scores(m), frame, seconds)

    def from_logmel(
        self,
        logmel: Tensor,
        seconds: float,
        generator: Draws = None,
        masked: Masked | None = None,
        keep_windows: Tensor | None = None,
    ) -> Streams:
        """As `streams`, from a log-mel (B, 1, frames, mels) of clips of `seconds`, under SpecAugment: see
        `TwoStream`."""
        if isinstance(self.network, TwoStream):
            return self.network(logmel, seconds, generator, masked, keep_windows)
        scores = self.network(*(masked or Masked(logmel, None)))
        return Streams(scores, scores)

    def windows(self, frames: int) -> tuple[int, int] | None:
        """(N, W): the number of windows of a clip of `frames` frames, and their length in frames; None without
        GL-AT."""
        return (self.network.n, self.network.window_frames(frames)) if isinstance(self.network, TwoStream) else None

    def seconds(self, waveform: Tensor) -> float:
        return waveform.shape[-1] / self.front_end.sample_rate

    def backbones(self) -> dict[str, Backbone]:
        """The backbones by stream: {"global": ...} or {"global": ..., "local": ...}."""
        if isinstance(self.network, TwoStream):
            return {"global": self.network.global_stream, "local": self.network.local_stream}
        return {"global": self.network}

    def parameter_count(self) -> int:
        """The number of weights, frozen ones included; weights that both streams share count once."""
        return sum(p.numel() for p in self.parameters())

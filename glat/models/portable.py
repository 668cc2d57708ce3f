"""A network as other runtimes take it: a tuple of named outputs, and no draw."""

from __future__ import annotations

from torch import Tensor, nn

from .backbone import Backbone
from .frontend import FrontEnd
from .tagger import Tagger
from .twostream import TwoStream

OUTPUTS = ("scores", "frame_scores", "windows", "window_classes")


class Portable(nn.Module):
    """(B, samples) float32 in [-1, 1] -> the first two of `OUTPUTS`, (B, L) and (B, T, L), and with GL-AT the others: where
    the windows start, (B, K) in seconds, float32, and the class that each was chosen for, (B, K), -1 where none. Frames' times:
    see `Timeline`.

    Raises:
        ValueError: random windows, which another runtime would draw otherwise.
    """

    def __init__(self, tagger: Tagger):
        super().__init__()
        if isinstance(tagger.network, TwoStream) and tagger.network.selection == "random":
            raise ValueError("its windows are random: no other runtime would draw the same; choose another selection")
        self.front_end: FrontEnd = tagger.front_end
        self.network: Backbone | TwoStream = tagger.network

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what `forward` gives."""
        return OUTPUTS if isinstance(self.network, TwoStream) else OUTPUTS[:2]

    def forward(self, waveform: Tensor) -> tuple[Tensor, ...]:
        logmel = self.front_end(waveform)  # (B, 1, frames, mels)
        if isinstance(self.network, TwoStream):
            streams, over_time = self.network.timeline(logmel, waveform.shape[-1] / self.front_end.sample_rate)
            assert streams.windows is not None
            assert streams.classes is not None
            return streams.fused, over_time.fused, streams.windows.float(), streams.classes
        m = self.network.features(logmel)  # (B, T, C)
        return self.network.clip_scores(m), self.network.frame_scores(m)

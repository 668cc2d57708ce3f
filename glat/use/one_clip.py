"""One clip through one network: what it scores, where it listens, and the log-mel that it is pictured with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from librosa import mel_frequencies

from ..models.frontend import LogMel
from ..models.tagger import Tagger
from ..models.twostream import TwoStream


class Heard(NamedTuple):
    """One clip through one network: arrays on the CPU, times in seconds."""

    logmel: np.ndarray  # (frames, mels) in dB
    hertz: np.ndarray  # (mels,) centres of the bands
    activations: np.ndarray  # (T, L): S_g of the paper
    frame: float  # seconds of a frame of them
    streams: dict[str, np.ndarray]  # (L,) by stream: global, local, fused
    windows: np.ndarray  # (K,) starts; empty without GL-AT
    classes: np.ndarray  # (K,) the class each window was chosen for, -1 where none
    lengths: np.ndarray  # (K,) of the windows
    seconds: float


def hear(
    tagger: Tagger, waveform: np.ndarray, precision: str = "float32", draw: Sequence[torch.Generator] | None = None
) -> Heard:
    """(samples,) float32 in [-1, 1] at the network's rate -> `Heard`. As evaluated: `precision` "float32" or "bf16", and
    `draw`, the clip's one generator of `randomness.clip_generators`, which random windows come from."""
    seconds = len(waveform) / tagger.front_end.sample_rate
    device = next(tagger.parameters()).device
    sound = torch.from_numpy(waveform)[None].to(device)  # (1, samples)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        logmel = tagger.front_end(sound)  # (1, 1, frames, mels)
        streams = tagger.from_logmel(logmel, seconds, draw)
        network, backbone = tagger.network, tagger.backbones()["global"]
        scorer = network if isinstance(network, TwoStream) else backbone
        activations = scorer.frame_scores(backbone.features(logmel))[0]  # (T, L)
        frame = backbone.frame_seconds(seconds, len(activations), tagger.front_end.frames_per_second)
        pictured = tagger.front_end
        if not isinstance(pictured, LogMel):  # a library's network hears something else: the common log-mel is drawn
            pictured = LogMel(pictured.sample_rate).to(device)
            logmel = pictured(sound)
    glat, scale = streams.local is not None, pictured.mel_scale
    scores = ({"global": streams.global_, "local": streams.local} if glat else {}) | {"fused": streams.fused}
    return Heard(
        logmel=logmel[0, 0].cpu().numpy(),
        hertz=mel_frequencies(scale.n_mels + 2, fmin=scale.f_min, fmax=scale.f_max)[1:-1],
        activations=activations.cpu().numpy(),
        frame=frame,
        streams={name: value[0].cpu().numpy() for name, value in scores.items()},
        windows=streams.windows[0].cpu().numpy() if glat else np.empty(0),
        classes=streams.classes[0].cpu().numpy() if glat else np.empty(0, int),
        lengths=np.repeat(network.taus, network.n) if isinstance(network, TwoStream) else np.empty(0),
        seconds=seconds,
    )

"""Loads PANNs' published checkpoints into our backbones, strictly."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .backbone import Backbone
from .frontend import LogMel

# The checkpoints contain their front end as constant tensors: the STFT as two convolutions, and the mel filter bank.
FRONT_END = {
    "spectrogram_extractor.stft.conv_real.weight": (513, 1, 1024),
    "spectrogram_extractor.stft.conv_imag.weight": (513, 1, 1024),
    "logmel_extractor.melW": (513, 64),
}


def load_panns(backbone: Backbone, state: Mapping[str, Tensor], front_end: LogMel | None = None) -> None:
    """Load a PANNs state dict (the checkpoint's "model") into a CNN10 or ResNet38 at width 1.

    The keys and shapes must be exactly those of the backbone. If our `front_end` is given, the checkpoint's mel filter
    bank must equal its own, so that the network gets the log-mels that it was trained on.

    Raises:
        ValueError: a tensor that is missing, unexpected or of another shape, or another front end.
    """
    state = dict(state.get("model", state))
    for key, shape in FRONT_END.items():
        found = state.pop(key, None)
        if found is None or tuple(found.shape) != shape:
            what = "missing" if found is None else f"of shape {tuple(found.shape)}"
            raise ValueError(f"{key} is {what}, expected {shape}: not a PANNs checkpoint of {type(backbone).__name__}")
        if key.endswith("melW") and front_end is not None:
            if (hop := front_end.hop) != 320:
                raise ValueError(f"trained on log-mels of hop 320, but this network's front end has hop {hop}")
            ours = front_end.mel_scale.get_buffer("fb")
            if ours.shape != found.shape or (ours - found.to(ours)).abs().max() > 1e-4 * ours.max():
                raise ValueError(
                    f"{key} differs from our mel filter bank: the checkpoint was trained on other log-mels"
                )
    own = backbone.state_dict()
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    other = [k for k in own.keys() & state.keys() if own[k].shape != state[k].shape]
    if missing or extra or other:
        counts = f"{len(missing)} keys missing, {len(extra)} unexpected, {len(other)} of another shape"
        first = (missing + extra + sorted(other))[0]
        raise ValueError(f"not a checkpoint of {type(backbone).__name__}: {counts}, first {first}")
    backbone.load_state_dict(state, strict=True)

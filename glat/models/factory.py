"""Builds networks: a registered backbone or your own class, with its front end, with or without GL-AT."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

from torch import nn

from .backbone import Backbone
from .frontend import LogMel, window_length
from .registry import BACKBONES
from .tagger import Tagger
from .twostream import TwoStream


def backbone_class(name: str) -> type[Backbone]:
    """The class of a registered backbone. Raises ValueError, with the known names, for any other name."""
    if name not in BACKBONES:
        raise ValueError(f"backbone {name!r} is not known: allowed are {', '.join(BACKBONES)}")
    return resolve_name(BACKBONES[name].location)


def build(
    backbone: str | type[Backbone],
    classes: int,
    width: float = 1.0,
    sample_rate: int = 32000,
    glat: dict[str, Any] | None = None,
    dropout: float = 1.0,
    front_end: dict[str, Any] | None = None,
) -> Tagger:
    """A network from waveform to class probabilities.

    Args:
        backbone: a name of `glat.models.registry.BACKBONES` or a subclass of `Backbone`.
        classes: number of classes L.
        width: channels relative to the published network.
        sample_rate: of the waveforms, in Hz; STFT window and hop scale with it, so that frames keep their duration.
        glat: None for the backbone alone; a dict of `TwoStream` settings (empty for the paper's) for GL-AT.
        dropout: a factor on the published dropout rates.
        front_end: settings of `LogMel`, for a 32 kHz waveform; the backbone's own settings take precedence.

    Raises:
        ValueError: an unknown backbone or a setting outside its range.

    >>> build("cnn10", classes=16).parameter_count(), build("cnn10", classes=16, glat={}).parameter_count()
    (4957136, 9914272)
    >>> build("cnn12", classes=16)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: backbone 'cnn12' is not known: allowed are ...
    """
    cls = backbone_class(backbone) if isinstance(backbone, str) else backbone
    scale = sample_rate / 32000
    settings = {"hop": 320} | (front_end or {}) | cls.front_end
    settings.setdefault("window", window_length(settings["hop"]))
    settings["window"], settings["hop"] = round(settings["window"] * scale), round(settings["hop"] * scale)
    logmel = LogMel(sample_rate, **settings)

    def stream() -> Backbone:
        network = cls(classes, width=width, mels=logmel.mels)
        for module in network.modules():
            if isinstance(module, Backbone):
                module.dropout_scale = dropout
            elif isinstance(module, nn.Dropout):
                module.p *= dropout
        return network

    global_stream = stream()
    if glat is None:
        return Tagger(logmel, global_stream)
    local_stream = stream()
    if glat.get("training") == "frozen_global":
        local_stream.load_state_dict(global_stream.state_dict())  # both start from the same weights (released code)
    return Tagger(logmel, TwoStream(global_stream, local_stream, logmel.frames_per_second, classes=classes, **glat))

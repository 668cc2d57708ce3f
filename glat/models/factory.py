"""Builds networks: a registered backbone or your own class, with its front end, with or without GL-AT."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .architecture import complete
from .backbone import Backbone
from .frontend import FrontEnd, LogMel, window_length
from .library import LibraryBackbone
from .registry import BACKBONES, LIBRARIES, is_class
from .selection import window_frames
from .tagger import Tagger
from .twostream import TwoStream

if TYPE_CHECKING:
    from ..config.network import Network

MOST_WEIGHTS = 10**10  # of a library's network; a configuration from elsewhere may claim any size
RATES = {"dropout", "attention_dropout", "activation_dropout"}  # attributes of a library's layers that are a rate


def backbone_class(name: str) -> type[Backbone]:
    """The class of a registered backbone. Raises ValueError, with the known names, for any other name."""
    if name not in BACKBONES:
        raise ValueError(f"backbone {name!r} is not known: allowed are {', '.join(BACKBONES)}")
    return resolve_name(BACKBONES[name].location)


def own_class(location: str) -> type[Backbone]:
    """A class of one's own, MODULE:CLASS. Raises ValueError where there is none, or where it is no `Backbone`."""
    if not is_class(location):
        meant = [f"{name}:" for name in get_close_matches(location.partition(":")[0], LIBRARIES, 1)]
        near = f" (or is {meant[0]} meant?)" if meant else ""
        raise ValueError(
            f"{location}: no such class in a file that Python finds; is it beside params.yaml or on PYTHONPATH?{near}"
        )
    try:
        found = resolve_name(location)
    except (AttributeError, ImportError) as error:
        raise ValueError(
            f"{location} can't be imported ({error}); is it beside params.yaml or on PYTHONPATH?"
        ) from None
    if not (isinstance(found, type) and issubclass(found, Backbone)):
        raise ValueError(f"{location} is no subclass of glat.models.Backbone")
    return found


def class_of(backbone: str | type[Backbone], network: Network | None = None) -> type[Backbone]:
    """The class of a backbone of ours, of a library's, or of one's own. Raises ValueError for any other."""
    if not isinstance(backbone, str):
        return backbone
    if network is None:
        return backbone_class(backbone)
    return resolve_name(LIBRARIES[network.library]) if network.library else own_class(network.model)


def make_backbone(
    backbone: str | type[Backbone], classes: int, width: float, mels: int, network: Network | None = None
) -> Backbone:
    """A backbone with random weights. Raises ValueError for an unknown one, and for settings that it does not take."""
    cls = class_of(backbone, network)
    if issubclass(cls, LibraryBackbone) and network:
        return cls(classes, width, mels, network)
    settings = network.settings if network else {}
    try:
        return cls(classes, width=width, mels=mels, **settings)
    except TypeError as error:
        if network is None:
            raise
        given = ", ".join(["width", "mels", *settings])
        raise ValueError(f"{cls.__name__} can't be made with the number of classes, {given} ({error})") from error


def _tried(logmel: FrontEnd, make: Callable[[], Backbone], seconds: float, taus: list[float]) -> LibraryBackbone | None:
    """A network that `make` makes, of which nothing is allocated, with the shortest input that it takes; None of other
    backbones than a library's."""
    with torch.device("meta"):
        network = make().eval()
    if not isinstance(network, LibraryBackbone):
        return None
    if (number := sum(weight.numel() for weight in network.state_dict().values())) > MOST_WEIGHTS:
        raise ValueError(
            f"{network.network.model} would have {number:,} weights, more than the {MOST_WEIGHTS:,} allowed"
        )
    with torch.no_grad():
        clip = logmel(torch.zeros(1, round(seconds * logmel.sample_rate))).shape[2]
    windows = [window_frames(tau, logmel.frames_per_second, clip) for tau in taus]
    network.min_frames = network.least_frames(clip, windows, logmel.mels)
    return network


def build(
    backbone: str | type[Backbone],
    classes: int,
    width: float = 1.0,
    sample_rate: int = 32000,
    glat: dict[str, Any] | None = None,
    dropout: float = 1.0,
    front_end: dict[str, Any] | None = None,
    network: Network | None = None,
    clip_seconds: float = 10.0,
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
        network: of a library's backbone or of one's own by name, what it is (`glat.config.network`).
        clip_seconds: of the clips that it hears, for which a library's network is tried before it is made.

    Raises:
        ValueError: an unknown backbone or a setting outside its range.

    >>> build("cnn10", classes=16).parameter_count(), build("cnn10", classes=16, glat={}).parameter_count()
    (4957136, 9914272)
    >>> build("cnn12", classes=16)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: backbone 'cnn12' is not known: allowed are ...
    """
    network = complete(network)
    logmel, make, tried = _plan(backbone, classes, width, sample_rate, glat, front_end, network, clip_seconds)

    def stream() -> Backbone:
        made = make()
        if tried and isinstance(made, LibraryBackbone):
            made.min_frames, made.multiple, made.stride = tried.min_frames, tried.multiple, tried.stride
        for module in made.modules():
            if isinstance(module, Backbone):
                module.dropout_scale = dropout
            elif isinstance(module, nn.Dropout):
                module.p *= dropout
            for rate in RATES & vars(module).keys():
                if isinstance(value := getattr(module, rate), float):
                    setattr(module, rate, value * dropout)
        return made

    global_stream = stream()
    if glat is None:
        return Tagger(logmel, global_stream)
    local_stream = stream()
    if glat.get("training") == "frozen_global":
        local_stream.load_state_dict(global_stream.state_dict())  # both start from the same weights (released code)
    return Tagger(logmel, TwoStream(global_stream, local_stream, logmel.frames_per_second, classes=classes, **glat))


def _plan(
    backbone: str | type[Backbone],
    classes: int,
    width: float,
    sample_rate: int,
    glat: dict[str, Any] | None,
    front_end: dict[str, Any] | None,
    network: Network | None,
    clip_seconds: float,
) -> tuple[FrontEnd, Callable[[], Backbone], LibraryBackbone | None]:
    """The front end that `build` makes of its arguments, what makes a backbone, and what `_tried` made."""
    cls = class_of(backbone, network)
    logmel = cls.own_front_end(sample_rate, network) or _logmel(
        sample_rate, (front_end or {}) | _settings(cls, network)
    )
    make = partial(make_backbone, backbone, classes, width, logmel.mels, network)
    lengths = [glat.get("tau", 3.0), *glat.get("extra_taus", ())] if glat is not None else []
    return logmel, make, _tried(logmel, make, clip_seconds, lengths) if network else None


def check(
    network: Network, classes: int, width: float, glat: dict[str, Any] | None, rate: int, seconds: float, hop: int
) -> None:
    """Raise ValueError where `build` would for a network of a library or of one's own: it is made on the device "meta", where
    nothing is allocated."""
    _plan(network.model, classes, width, rate, glat, {"hop": hop}, complete(network), seconds)


def mels_of(backbone: str | type[Backbone], sample_rate: int, network: Network | None = None) -> int:
    """The number of mel bands that a backbone hears."""
    cls = class_of(backbone, network)
    own = cls.own_front_end(sample_rate, network)
    return own.mels if own else _settings(cls, network).get("mels", 64)


def _settings(cls: type[Backbone], network: Network | None) -> dict[str, Any]:
    """What a backbone's log-mel differs in: by its class, and by its entry in params.yaml, which goes before that."""
    return cls.front_end | (network.front_end.model_dump(exclude_none=True) if network else {})


def _logmel(sample_rate: int, given: dict[str, Any]) -> LogMel:
    """The common log-mel with settings of a 32 kHz waveform, whose window and hop keep their duration at other rates."""
    scale, settings = sample_rate / 32000, {"hop": 320} | given
    settings.setdefault("window", window_length(settings["hop"]))
    settings["window"], settings["hop"] = round(settings["window"] * scale), round(settings["hop"] * scale)
    return LogMel(sample_rate, **settings)

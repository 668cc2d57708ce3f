"""Networks for audio tagging: backbones, and GL-AT around any of them.

>>> import glat.models, torch
>>> model = glat.models.build("cnn10", classes=527, width=0.125, glat={"n": 5, "tau": 3.0}).eval()
>>> waveform = torch.zeros(2, 320000)  # (B, samples) at 32 kHz in [-1, 1]
>>> model(waveform).shape  # probabilities of the classes
torch.Size([2, 527])
>>> streams = model.streams(waveform)  # both streams' scores and the chosen windows
>>> streams.local.shape, streams.windows.shape
(torch.Size([2, 527]), torch.Size([2, 5]))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backbone import Backbone
    from .checkpoints import load_panns
    from .factory import backbone_class, build
    from .frontend import LogMel
    from .registry import BACKBONES
    from .tagger import Tagger
    from .twostream import Streams, TwoStream

__all__ = ["BACKBONES", "Backbone", "LogMel", "Streams", "Tagger", "TwoStream", "backbone_class", "build", "load_panns"]

# Imported on first use: reading settings needs only the registry, and torch takes seconds to import.
_MODULES = {
    "BACKBONES": "registry", "Backbone": "backbone", "LogMel": "frontend", "Streams": "twostream", "Tagger": "tagger",
    "TwoStream": "twostream", "backbone_class": "factory", "build": "factory", "load_panns": "checkpoints",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)

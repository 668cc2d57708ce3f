"""Networks for audio tagging: four backbones, and GL-AT around any of them.

model = glat.models.build("cnn10", classes=527, glat={"n": 5, "tau": 3.0})
scores = model(waveform)            # (B, samples) at 32 kHz in [-1, 1] -> (B, 527) probabilities
streams = model.streams(waveform)   # both streams' scores and the windows
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
    "BACKBONES": "registry",
    "Backbone": "backbone",
    "LogMel": "frontend",
    "Streams": "twostream",
    "Tagger": "tagger",
    "TwoStream": "twostream",
    "backbone_class": "factory",
    "build": "factory",
    "load_panns": "checkpoints",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)

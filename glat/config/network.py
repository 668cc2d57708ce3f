"""Backbones of libraries and of one's own: the section `networks` of params.yaml."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ..models.registry import LIBRARIES
from .types import Hop, Model, Positive, Settings


class FrontEnd(Settings):
    """What differs from the common log-mel (`glat.models.LogMel`), as of a waveform at 32 kHz."""

    mels: Annotated[int, Field(ge=1, le=1024)] | None = None
    hop: Hop | None = None
    window: Annotated[int, Field(ge=16, le=65536)] | None = None
    fmin: Positive | None = None
    fmax: Positive | None = None


class Network(Settings):
    """One network; docs/backbones.md says what each setting means to which library.

    architecture: what a transformers network is built by, as its folder or the hub says: filled in when a run is
    configured, so that its checkpoint is whole without them.
    """

    model: Model
    pretrained: bool = False
    head: Literal["pooled", "mean", "attention"] | None = None
    channels: Literal["sum", "mean"] = "sum"
    positions: Literal["crop", "interpolate"] = "crop"
    front_end: FrontEnd = FrontEnd()
    settings: dict[str, Any] = Field(default={})
    architecture: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _of_its_kind(self) -> Network:
        """Refuse what would change nothing."""
        of = {
            "head": (self.head is not None, ("timm", "transformers")),
            "channels": (self.channels != "sum", ("timm",)),
            "positions": (self.positions != "crop", ("transformers",)),
            "front_end": (self.front_end != FrontEnd(), ("timm", None)),
        }
        for key, (given, libraries) in of.items():
            if given and self.library not in libraries:
                whose = " and ".join(name or "a class of one's own" for name in libraries)
                raise ValueError(f"{key} is a setting of {whose}, and does nothing for {self.model}")
        return self

    @property
    def library(self) -> str | None:
        """The library that it is of: "timm" or "transformers"; None for a class of one's own."""
        library = self.model.partition(":")[0]
        return library if library in LIBRARIES else None

    @property
    def source(self) -> str:
        """The library's name of it, or a folder, or the hub's name; of one's own class MODULE:CLASS."""
        return self.model.partition(":")[2] if self.library else self.model


def short(backbone: str) -> str:
    """A backbone's name in the names of its runs: `timm-resnet18` of `timm:resnet18`, and of a folder its last part."""
    library, colon, source = backbone.partition(":")
    return re.sub(r"[^\w.-]", "_", f"{library}-{source.rstrip('/').rpartition('/')[2]}") if colon else backbone

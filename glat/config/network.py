"""Backbones of libraries and of one's own: the section `networks` of params.yaml."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from .types import Hop, Positive, Settings, check_name

# timm:NAME, transformers:FOLDER or transformers:OWNER/NAME[@REVISION] of the hub, or MODULE:CLASS
_MODEL = re.compile(r"timm:[\w.-]+|transformers:[\w./~@ -]+|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def _check_model(model: str) -> str:
    if not _MODEL.fullmatch(model):
        raise ValueError(
            f"{model!r} names no network: write timm:NAME, transformers:FOLDER or transformers:OWNER/NAME, or MODULE:CLASS"
        )
    return model


Model = Annotated[str, AfterValidator(_check_model)]


def _check_either(name: str) -> str:
    return _check_model(name) if ":" in name else check_name(name)


NetworkName = Annotated[str, AfterValidator(_check_either)]  # a backbone's: of the project, of `networks`, or a model


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

    @property
    def library(self) -> str | None:
        """The library that it is of: "timm" or "transformers"; None for a class of one's own."""
        library = self.model.partition(":")[0]
        return library if library in ("timm", "transformers") else None

    @property
    def source(self) -> str:
        """The library's name of it, or a folder, or the hub's name; of one's own class MODULE:CLASS."""
        return self.model.partition(":")[2] if self.library else self.model


def short(backbone: str) -> str:
    """A backbone's name in the names of its runs: `timm-resnet18` of `timm:resnet18`, and of a folder its last part."""
    library, colon, source = backbone.partition(":")
    return re.sub(r"[^\w.-]", "_", f"{library}-{source.rstrip('/').rpartition('/')[2]}") if colon else backbone

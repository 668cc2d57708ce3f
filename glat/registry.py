"""The backbones by name. A new one is one file under `glat/models/` and one line here."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    title: str  # as tables and figures print it
    location: str  # module:class, imported only when a model is built, so that reading settings stays quick


BACKBONES = {
    "talnet": Entry("TALNet", "glat.models.talnet:TALNet"),
    "cnn10": Entry("CNN10", "glat.models.cnn10:Cnn10"),
    "resnet38": Entry("ResNet38", "glat.models.resnet38:ResNet38"),
    "atsca": Entry("AT-SCA", "glat.models.atsca:Atsca"),
}

"""The backbones by name. A new backbone is one file in `glat/models/` and one line here."""

from __future__ import annotations

import ast
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ..lib.sources import source_file

if TYPE_CHECKING:
    from ..config.network import Network


class Entry(NamedTuple):
    """What is known of a backbone before it is imported."""

    title: str  # as tables and figures print it
    location: str  # module:class, imported only when a model is built, so that reading settings stays quick

    @property
    def module(self) -> str:
        """As "glat.models.cnn10"."""
        return self.location.partition(":")[0]

    @property
    def min_frames(self) -> int:
        """The shortest window that the network can take, in frames of its log-mel."""
        return _attributes(self.location).get("min_frames", 1)

    @property
    def hop(self) -> int | None:
        """Of its own front end, in samples at 32 kHz; None: that of the dataset."""
        return _attributes(self.location).get("front_end", {}).get("hop")


def _tree(module: str) -> ast.Module:
    """The source of a module; nothing where Python finds none."""
    path = source_file(module)
    return ast.parse(path.read_bytes() if path else b"")


def is_class(location: str) -> bool:
    """Whether MODULE:CLASS is a class, or a name that is imported there, as the source says, which is not run. A checkpoint may
    name any module: one that has no such class is not imported."""
    module, _, name = location.partition(":")
    nodes = _tree(module).body
    imported = [
        alias.asname or alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    return name in imported or any(isinstance(node, ast.ClassDef) and node.name == name for node in nodes)


@cache
def _attributes(location: str) -> dict[str, Any]:
    """The attributes of a class that are plain values, as its source says, and those of the classes of its module or
    package that it is derived from: without importing it, which takes torch and seconds."""
    module, _, name = location.partition(":")
    tree = _tree(module)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if name not in classes and not module.startswith("glat."):
        return {}  # it may be imported there, or missing, which is told when it is made
    if name not in classes:
        raise ValueError(f"{location}: no such class; correct its line in glat/models/registry.py")
    places = {name: f"{module}:{name}" for name in classes}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.level == 1 or (node.module or "").startswith("glat.models.")):
            above = f"{module.rpartition('.')[0]}." if node.level else ""
            places |= {alias.asname or alias.name: f"{above}{node.module}:{alias.name}" for alias in node.names}
    found: dict[str, Any] = {}
    for base in classes[name].bases:
        found |= _attributes(places[base.id]) if isinstance(base, ast.Name) and base.id in places else {}
    for node in classes[name].body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                with suppress(ValueError):  # no plain value
                    found |= {target.id: ast.literal_eval(node.value)} if isinstance(target, ast.Name) else {}
    return found


# Added to the title of a network that is built from an abstract, and the note on what it means.
OUR_READING = "our reading"
READING = (
    f"AT-SCA ({OUR_READING}): its code is not public, and the network here is built from its abstract "
    "(glat/models/atsca.py); the paper's numbers are those of its authors' network."
)
PANNS = ("cnn10", "resnet38")  # those for which PANNs published weights

BACKBONES = {
    "talnet": Entry("TALNet", "glat.models.talnet:TALNet"),
    "cnn10": Entry("CNN10", "glat.models.cnn10:Cnn10"),
    "resnet38": Entry("ResNet38", "glat.models.resnet38:ResNet38"),
    "atsca": Entry(f"AT-SCA ({OUR_READING})", "glat.models.atsca:Atsca"),
}

LIBRARIES = {
    "timm": "glat.models.timm_network:TimmNetwork",
    "transformers": "glat.models.transformers_network:TransformersNetwork",
}


def entry(backbone: str, network: Network | None = None) -> Entry:
    """What is known of a backbone of ours, or of one that `network` describes.

    >>> entry("cnn10").title
    'CNN10'
    """
    if network is None:
        return BACKBONES[backbone]
    own = f"{network.source.rpartition('/')[2]} ({network.library})" if network.library else network.source
    return Entry(own if ":" in backbone else backbone, LIBRARIES.get(network.library or "", network.model))

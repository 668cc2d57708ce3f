"""The backbones by name. A new one is one file under `glat/models/` and one line here."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """What is known of a backbone before it is imported."""

    title: str  # as tables and figures print it
    location: str  # module:class, imported only when a model is built, so that reading settings stays quick
    min_frames: int  # of the log-mel: the shortest window that the network can take; the class says the same
    hop: int | None = None  # of its own front end, in samples at 32 kHz; None: that of the dataset


# What stands beside the name of a network that is rebuilt from an abstract, wherever it is named, and what it means.
OUR_READING = "our reading"
READING = (
    f"AT-SCA ({OUR_READING}): its code is not public, and the network here is built from what its abstract says "
    "(glat/models/atsca.py); what the paper prints is of its authors' own."
)
PANNS = ("cnn10", "resnet38")  # those that PANNs published weights of

BACKBONES = {
    "talnet": Entry("TALNet", "glat.models.talnet:TALNet", 4, hop=800),
    "cnn10": Entry("CNN10", "glat.models.cnn10:Cnn10", 16),
    "resnet38": Entry("ResNet38", "glat.models.resnet38:ResNet38", 32),
    "atsca": Entry(f"AT-SCA ({OUR_READING})", "glat.models.atsca:Atsca", 16),
}


def of_run(name: str) -> str:
    """The backbone of a run, which its name begins with: `cnn10` of `cnn10-glat-n3-s0`."""
    return max((backbone for backbone in BACKBONES if name.startswith(f"{backbone}-")), key=len)


def module(backbone: str) -> str:
    """The module of a backbone, as "glat.models.cnn10"."""
    return BACKBONES[backbone].location.partition(":")[0]

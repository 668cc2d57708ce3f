"""The backbones by name. A new backbone is one file in `glat/models/` and one line here."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    title: str  # in tables and figures
    location: str  # module:class, imported only when a model is built, so that reading settings stays fast
    min_frames: int  # shortest window of log-mel frames that the network accepts; the class has the same
    hop: int | None = None  # of the network's own front end, in samples at 32 kHz; None: that of the dataset


# Added to the title of a network that is built from an abstract, and the note on what it means.
OUR_READING = "our reading"
READING = (
    f"AT-SCA ({OUR_READING}): its code is not public, and the network here is built from its abstract "
    "(glat/models/atsca.py); the paper's numbers are those of its authors' network."
)
PANNS = ("cnn10", "resnet38")  # those for which PANNs published weights

BACKBONES = {
    "talnet": Entry("TALNet", "glat.models.talnet:TALNet", 4, hop=800),
    "cnn10": Entry("CNN10", "glat.models.cnn10:Cnn10", 16),
    "resnet38": Entry("ResNet38", "glat.models.resnet38:ResNet38", 32),
    "atsca": Entry(f"AT-SCA ({OUR_READING})", "glat.models.atsca:Atsca", 16),
}


def backbone_of(run: str) -> str:
    """The backbone of a run, from the beginning of the run's name: `cnn10` for `cnn10-glat-n3-s0`."""
    return max((backbone for backbone in BACKBONES if run.startswith(f"{backbone}-")), key=len)


def module(backbone: str) -> str:
    """The module of a backbone, as "glat.models.cnn10"."""
    return BACKBONES[backbone].location.partition(":")[0]

"""Global-local attention (GL-AT) audio tagging.

>>> import glat
>>> tagger = glat.load("runs/mini/cnn10-glat-s0")   # doctest: +SKIP
>>> tagger.tag("street.mp3", top=3)                 # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .use.tagging import RunTagger


def load(run: str | Path, device: str | None = None) -> RunTagger:
    """The trained network of a run: its folder, or its checkpoint.pt, or what `glat export --hub` made of it: that folder, or
    its name on the Hugging Face Hub, OWNER/NAME[@REVISION] -> `glat.use.tagging.RunTagger`.

    device: "cpu" or one of torch's; None: a GPU if there is one.

    >>> import glat
    >>> tagger = glat.load("runs/mini/cnn10-glat-s0")   # doctest: +SKIP
    >>> [(tag.label, tag.score) for tag in tagger.tag("street.mp3", top=2)]   # doctest: +SKIP
    [('Siren', 0.91), ('Engine', 0.13)]

    Raises:
        GlatError: there is no such checkpoint, or it can't be read.
    """
    from .use.tagging import load as load_tagger  # imports torch, which takes seconds

    return load_tagger(run, device)

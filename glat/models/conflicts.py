"""Settings of GL-AT that are right in themselves and don't fit together. Nothing here needs torch: settings are checked by it
as they are read, and `TwoStream` checks its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def conflicts(glat: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The settings at fault among those of `TwoStream`, each with what is wrong and what to do.

    >>> list(conflicts({"selection": "random", "training": "joint", "sharing": "none", "scoring": "own",
    ...     "fusion": "mean_max"}))
    [('scoring', "windows of selection 'random' are of no class; set selection: attention or soft")]
    """
    selection, training, sharing = glat["selection"], glat["training"], glat["sharing"]
    if training == "frozen_global" and sharing != "none":
        yield "sharing", "with training 'frozen_global' only 'none' leaves weights to train"
    if training == "none" and sharing != "backbone":
        yield "training", "then the backbone that hears the clip hears the windows too; set sharing: backbone"
    if training == "none" and glat["fusion"] == "learned":
        yield "fusion", "with training 'none' nothing learns its weights; set fusion: mean_max"
    if selection in ("random", "uniform") and glat["scoring"] == "own":
        yield "scoring", f"windows of selection {selection!r} are of no class; set selection: attention or soft"

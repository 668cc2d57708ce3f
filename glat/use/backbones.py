"""The backbones that there are, with what each costs."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..config.params import Params
from ..models.factory import build
from ..models.registry import BACKBONES, PANNS
from ..scoring.cost import multiply_adds


def listing(params: Params, names: list[str]) -> pd.DataFrame:
    """A row for each of the project's backbones, of those under `networks`, and of `names`: `backbone`, `title`, `weights`
    (whose can be loaded), `parameters` at the published width for the dataset's classes, and the multiply-adds of a clip,
    in 10^9: `alone`, and with `GL-AT` of params.yaml around it.

    Raises:
        ValueError: a name of no network, or a network that can't be made.
    """
    rows = []
    for name in dict.fromkeys([*BACKBONES, *params.networks, *names]):
        network = params.network(name)
        if network is None and name not in BACKBONES:
            raise ValueError(f"{name!r} is not a backbone; write timm:NAME, transformers:FOLDER or MODULE:CLASS")
        rate, seconds = params.audio.sample_rate, params.audio.clip_seconds
        row: dict[str, Any] = {"backbone": name, "title": params.entry(name).title}
        row["weights"] = "PANNs" if name in PANNS else f"of {network.library}" if network and network.library else "-"
        for column, glat in (("alone", None), ("GL-AT", params.glat.model_dump())):
            how: dict[str, Any] = {"front_end": {"hop": params.corpus.hop}, "network": network, "clip_seconds": seconds}
            tagger = build(name, params.corpus.classes, 1.0, rate, glat, **how)
            row.setdefault("parameters", tagger.parameter_count())
            row[column] = multiply_adds(tagger, seconds) / 1e9
        rows.append(row)
    return pd.DataFrame(rows)

"""The backbones that there are, with what each costs."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..config.network import Network
from ..config.params import Params
from ..models.factory import build
from ..models.library import library, nearest
from ..models.registry import BACKBONES, PANNS
from ..scoring.cost import multiply_adds


def listing(params: Params, names: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """A row for each of the project's backbones, of those under `networks`, and of `names`: `backbone`, `title`, `weights`
    (whose can be loaded), `parameters` at the published width for the dataset's classes, and the multiply-adds of a clip,
    in 10^9: `alone`, and with `GL-AT` of params.yaml around it. And a sentence for each network that cannot be made.

    Raises:
        ValueError: one of `names` is no network, or none that can be made.
    """
    rows, faults = [], []
    for name in dict.fromkeys([*BACKBONES, *params.networks, *names]):
        network = params.network(name)
        if network is None and name not in BACKBONES:
            near = nearest(name, [*BACKBONES, *params.networks])
            raise ValueError(f"{name!r} is not a backbone{near}; write timm:NAME, transformers:FOLDER or MODULE:CLASS")
        try:
            rows.append(_row(params, name, network))
        except ValueError as error:
            if name in names:
                raise
            faults.append(f"networks.{name}: {error}")
    return pd.DataFrame(rows), faults


def _row(params: Params, name: str, network: Network | None) -> dict[str, Any]:
    rate, seconds = params.audio.sample_rate, params.audio.clip_seconds
    row: dict[str, Any] = {"backbone": name, "title": params.entry(name).title, "weights": _weights(name, network)}
    for column, glat in (("alone", None), ("GL-AT", params.glat.model_dump())):
        how: dict[str, Any] = {"front_end": {"hop": params.corpus.hop}, "network": network, "clip_seconds": seconds}
        tagger = build(name, params.corpus.classes, 1.0, rate, glat, **how)
        row.setdefault("parameters", tagger.parameter_count())
        row[column] = multiply_adds(tagger, seconds) / 1e9
    return row


def _weights(name: str, network: Network | None) -> str:
    """Whose weights it can start from."""
    if network is None or network.library is None:
        return "PANNs" if name in PANNS else "-"
    if network.library == "timm" and not library("timm").is_model_pretrained(network.source):
        return "-"
    return f"of {network.library}" + ("" if network.pretrained else " (pretrained: true)")

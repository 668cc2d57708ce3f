"""A clip as a person looks at it and listens to it (`glat.results.clip`)."""

from __future__ import annotations

import base64

import numpy as np
import pandas as pd

from ..data.audio.encoding import opus_url
from ..results.clip import Clip, Row, Span
from ..training import convergence
from .drawing import GREY, colours, draw_strip, shown_classes
from .hearing import SILENT, is_silent
from .one_clip import Heard

NOT_CONVERGED = f"{convergence.MARK} The training had not converged at its end, or its curve can't tell."
NO_CLASS = "no class"  # what random and uniform windows were chosen for


def picture_url(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def clip(
    heard: Heard,
    waveform: np.ndarray,
    rate: int,
    names: list[str],
    *,
    title: str,
    truth: pd.DataFrame | None = None,
    weak: list[int] | None = None,
    known: dict[str, str] | None = None,
) -> Clip:
    """What `hear` heard in a waveform, (samples,) float32 at `rate`, to be shown; known: as in
    `drawing.colours`; the rest as in `drawing.draw`."""
    top = shown_classes(heard, weak)
    colour = colours(top, names, known or {})
    strip = draw_strip(heard, names, colour, truth)
    found = zip(heard.windows.tolist(), heard.lengths.tolist(), heard.classes.tolist(), strict=True)
    events = [] if truth is None else truth.itertuples(index=False)
    rows = [
        Row(names[c], c in (weak or []), colour[c], {s: float(v[c]) for s, v in heard.streams.items()}) for c in top
    ]
    notes = [NOT_CONVERGED] if convergence.MARK in title.partition(": ")[0] else []
    notes += [f"The clip is {SILENT}."] if is_silent(waveform) else []
    return Clip(
        title=title,
        seconds=heard.seconds,
        picture=picture_url(strip.svg),
        sound=opus_url(waveform, rate),
        time=strip.time,
        lanes=strip.windows,
        windows=[
            Span(start, min(start + length, heard.seconds), names[c] if c >= 0 else NO_CLASS, colour.get(c, GREY))
            for start, length, c in found
        ],
        spans={
            "True events": [
                Span(float(e.start), float(e.end), names[e.label], colour.get(e.label, GREY)) for e in events
            ]
        },
        rows=sorted(rows, key=lambda row: -row.scores["fused"]),
        notes=[*notes, *(["* the clip's weak label"] if weak else [])],
    )

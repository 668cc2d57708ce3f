"""A clip to look at and to listen to, as a part of a page: a picture with a playhead, windows to play, scores and the sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from ..lib.files import whole
from .page import part, render

SCRIPT = "results/clip.js.j2"


class Span(NamedTuple):
    """A part of a clip that can be played: from `start` to `end` in seconds; `label` is a class's name."""

    start: float
    end: float
    label: str
    colour: str


class Row(NamedTuple):
    """A class's scores by stream; weak: whether it is a label of the clip."""

    label: str
    weak: bool
    colour: str
    scores: dict[str, float]


class Clip(NamedTuple):
    """All that a page shows of a clip, as JSON can hold it. Boxes are left, top, width and height, as shares of the picture."""

    title: str
    seconds: float
    picture: str  # address of an SVG, a data URL
    sound: str  # address of a WebM file, as a rule a data URL
    time: tuple[float, float, float, float]  # the box of what has an axis of time
    lanes: tuple[float, float, float, float] | None  # the box of the windows' rows, one below the other
    windows: list[Span]
    spans: dict[str, list[Span]]  # others, by the heading under which they are listed
    rows: list[Row]
    notes: list[str]


def show(clip: Clip) -> Markup:
    """The part of a page, which has the style of `clip.css.j2` and runs `SCRIPT`."""
    return part("results/clip.html.j2", clip=clip)


def write_page(clip: Clip, path: Path) -> None:
    """A page of one clip that needs no network."""
    page = render("results/clip.page.html.j2", scripts=[SCRIPT], title=clip.title, clip=show(clip))
    with whole(path) as temporary:
        temporary.write_text(page)


def write(clip: Clip, path: Path) -> None:
    """The clip as JSON, for `read`."""
    with whole(path) as temporary:
        temporary.write_text(json.dumps(clip._asdict()))


def read(path: Path) -> Clip:
    found: dict[str, Any] = json.loads(path.read_text())
    found |= {name: found[name] and tuple(found[name]) for name in ("time", "lanes")}
    found["windows"] = [Span(*one) for one in found["windows"]]
    found["spans"] = {heading: [Span(*one) for one in spans] for heading, spans in found["spans"].items()}
    return Clip(**found | {"rows": [Row(*row) for row in found["rows"]]})

"""Drawings of a clip: one for paper, with its scores, and one whose parts a page lays its playhead and windows over."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from librosa.display import specshow
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from ..results import text
from ..results.plots import COLOURS, STYLE, figure, foot
from ..training import convergence
from .one_clip import Heard

WIDTH, LANE = 5.0, 0.22  # inches of the drawing for a page, whose text can be read on a phone, and of one window in it
DOTS = 110  # an inch, of the log-mel in it
LONGEST = 20  # characters of a class's name beside the axis of time
GREY = "#888888"  # of what belongs to no class that is shown


def draw(
    heard: Heard,
    names: list[str],
    path: Path,
    *,
    title: str,
    truth: pd.DataFrame | None = None,
    weak: list[int] | None = None,
) -> None:
    """Draw a clip as `<path>.svg` and `<path>.png`.

    Above, the log-mel with the windows as brackets in the colour of the class that each was chosen for; then the
    activations of these classes, the clip's labels and the top ones over time; then, where known, the true events; to the
    right, the streams' scores.
    title: the network's name, with the mark of a half-trained one, and the clip's.
    truth: label (class index), start, end; weak: indices of the clip's labels; None where not known.
    """
    top = shown_classes(heard, weak)
    colour = {c: COLOURS[i] for i, c in enumerate(top)}
    rows = [3, 2] + ([1] if truth is not None else [])
    with figure(path, len(rows), 2, (10, 5.8), height_ratios=rows, width_ratios=[3, 1], squeeze=False) as (fig, axes):
        fig.suptitle(title, fontsize=10)
        mel, time = axes[0, 0], list(axes[:, 0])
        _logmel(mel, heard)
        for n, (start, length, c) in enumerate(zip(heard.windows, heard.lengths, heard.classes, strict=True)):
            y = 1 - 0.06 * (n + 0.7)  # of the axis's height
            line = {"color": colour.get(int(c), "white"), "lw": 2.5, "ms": 9}
            mel.plot([start, start + length], [y, y], "|-", transform=mel.get_xaxis_transform(), **line)
        _activations(time[1], heard, colour)
        if truth is not None:
            _events(time[2], truth, names, colour)
            time[2].set_title("true events", loc="left", fontsize=9)
        for ax in time:
            ax.set_xlim(0, heard.seconds)
        time[-1].set_xlabel("seconds")
        _scores(axes[0, 1], heard, names, top, colour, weak)
        for ax in axes[1:, 1]:
            ax.set_axis_off()
        foot(fig, [text.OPEN_MARKS] if convergence.MARK in title.partition(": ")[0] else [])
        legend = "Brackets: the windows of the local stream." if len(heard.windows) else ""
        legend += "\n* the clip's weak label" if weak is not None else ""
        axes[1, 1].text(0, 0.1, legend, va="bottom", fontsize=8)


class Box(NamedTuple):
    """Where something is in a drawing: shares of its width and height, from its upper left corner."""

    left: float
    top: float
    width: float
    height: float


class Strip(NamedTuple):
    """A drawing for a page. time: of all that has the axis of time; windows: of the rows of windows, one below the other;
    None where there are no windows."""

    svg: str
    time: Box
    windows: Box | None


def draw_strip(heard: Heard, names: list[str], colour: dict[int, str], truth: pd.DataFrame | None = None) -> Strip:
    """Draw a clip for a page: log-mel, windows, activations of the classes in `colour`, true events where there are any."""
    count, events = len(heard.windows), 0 if truth is None else len(truth)
    with mpl.rc_context(STYLE):
        fig, axes = _panels({"mel": 1.9, "windows": LANE * count, "activations": 1.1, "events": LANE * events})
        _logmel(axes["mel"], heard)
        if count:
            shades = [colour.get(int(c), GREY) for c in heard.classes]
            axes["windows"].barh(range(count), heard.lengths, left=heard.windows, color=shades, height=0.8)
        _activations(axes["activations"], heard, colour)
        if truth is not None and events:
            short = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in names]
            _events(axes["events"], truth, short, colour)
            axes["events"].set_title("true events", loc="left", fontsize=9)
        return _strip(fig, axes, heard.seconds, count)


def draw_course(
    scores: np.ndarray,
    step: float,
    seconds: float,
    colour: dict[int, str],
    windows: np.ndarray,
    lengths: np.ndarray,
    classes: np.ndarray,
) -> Strip:
    """Draw a recording of `seconds` for a page: scores (bins, classes) every `step` seconds, of the classes in `colour` in this
    order; windows: (C, K) starts, (K,) lengths, and (C, K) the class that each was chosen for."""
    with mpl.rc_context(STYLE):
        fig, axes = _panels({"scores": 1.6, "windows": LANE / 2 * len(lengths)})
        t = (np.arange(len(scores)) + 0.5) * step
        for values, shade in zip(scores.T, colour.values(), strict=True):
            axes["scores"].plot(t, values, color=shade, lw=1)
        axes["scores"].set(ylim=(0, 1.02), ylabel="score")
        for k, length in enumerate(lengths):
            shades = [colour.get(int(c), GREY) for c in classes[:, k]]
            spans = [(start, length) for start in windows[:, k]]
            axes["windows"].broken_barh(spans, (k - 0.4, 0.8), color=shades, rasterized=True)
        return _strip(fig, axes, seconds, len(lengths))


def _panels(heights: dict[str, float]) -> tuple[Figure, dict[str, Any]]:
    """A figure of panels one below the other, which have these heights in inches; what has none is left out."""
    heights = {name: height for name, height in heights.items() if height}
    size = (WIDTH, sum(heights.values()) + 0.2 * len(heights) + 0.3)
    fig = Figure(figsize=size, layout="constrained", dpi=DOTS)
    axes = fig.subplots(len(heights), 1, height_ratios=list(heights.values()), squeeze=False)[:, 0]
    return fig, dict(zip(heights, axes, strict=True))


def _strip(fig: Figure, axes: dict[str, Any], seconds: float, lanes: int) -> Strip:
    """Panels with their axes of time; lanes: how many rows of windows there are."""
    for ax in axes.values():
        ax.set_xlim(0, seconds)
        ax.tick_params(labelbottom=ax is fig.axes[-1])
    fig.axes[-1].set_xlabel("seconds")
    if lanes:
        axes["windows"].set(ylim=(lanes - 0.5, -0.5), yticks=[], ylabel="windows")
        axes["windows"].grid(False)
    file = io.StringIO()
    fig.savefig(file, format="svg", metadata={"Date": None}, dpi=DOTS)
    first, last = (fig.axes[i].get_position() for i in (0, -1))  # as the layout has just put them
    place = axes["windows"].get_position() if lanes else None
    return Strip(file.getvalue(), _box(first, last), _box(place, place) if place else None)


def _box(upper: Bbox, lower: Bbox) -> Box:
    return Box(*map(float, (upper.x0, 1 - upper.y1, upper.width, upper.y1 - lower.y0)))


def shown_classes(heard: Heard, weak: list[int] | None = None) -> list[int]:
    """The classes that a clip is shown with, one for each colour: windows', the clip's labels, the highest."""
    chosen, best = heard.classes[heard.classes >= 0].tolist(), (-heard.streams["fused"]).argsort()[:5].tolist()
    return list(dict.fromkeys([*chosen, *(weak or []), *best]))[: len(COLOURS)]


def colours(top: list[int], names: list[str], known: dict[str, str]) -> dict[int, str]:
    """A colour for each of up to eight classes: where its name is `known` from a drawing beside this one, that one, unless a
    class before it has it."""
    kept = dict[int, str]()
    for c in top:
        if known.get(names[c]) not in (None, *kept.values()):
            kept[c] = known[names[c]]
    free = iter(sorted((one for one in COLOURS if one not in kept.values()), key=lambda one: one in known.values()))
    return {c: kept.get(c) or next(free) for c in top}


def _logmel(ax: Any, heard: Heard) -> None:
    times = np.linspace(0, heard.seconds, len(heard.logmel))
    places = {"x_coords": times, "y_coords": heard.hertz, "y_axis": "mel", "ax": ax}
    specshow(heard.logmel.T, cmap="magma", rasterized=True, **places)
    ax.set_ylabel("Hz")
    ax.grid(False)


def _activations(ax: Any, heard: Heard, colour: dict[int, str]) -> None:
    t = (np.arange(len(heard.activations)) + 0.5) * heard.frame
    for c, shade in colour.items():
        ax.plot(t, heard.activations[:, c], color=shade, lw=1.3)
    ax.set_ylabel("activation")
    ax.set_ylim(0, 1.02)


def _events(ax: Any, truth: pd.DataFrame, names: list[str], colour: dict[int, str]) -> None:
    events = list(truth.itertuples(index=False))
    for y, event in enumerate(events):
        ax.barh(y, event.end - event.start, left=event.start, color=colour.get(event.label, "lightgrey"), height=0.8)
    ax.set_yticks(range(len(events)), [names[event.label] for event in events], fontsize=7)
    ax.invert_yaxis()


def _scores(
    ax: Any, heard: Heard, names: list[str], top: list[int], colour: dict[int, str], weak: list[int] | None
) -> None:
    marks = {"global": "o", "local": "s", "fused": "|"}
    for y, c in enumerate(top):
        for stream, values in heard.streams.items():
            size, label = 11 if stream == "fused" else 5, stream if y == 0 else None
            ax.plot(values[c], y, marks[stream], color=colour[c], ms=size, label=label)
    ax.set_yticks(range(len(top)), [names[c] + (" *" if weak and c in weak else "") for c in top], fontsize=7)
    ax.invert_yaxis()
    ax.set_xlim(-0.02, 1.02)
    ax.set_xlabel("score")
    ax.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)

"""The style of all figures. Each is saved as SVG and PNG, with the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.ticker import LogFormatter

from ..lib.files import whole

# Okabe and Ito's colours, which people with colour blindness can tell apart.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#999999"]
OPEN = "not-converged"  # id of the open marks in a figure's SVG
METHOD, ALONE, CHANCE = COLOURS[0], COLOURS[1], COLOURS[7]  # GL-AT, the backbone alone, chance

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.hashsalt": "glat",
    "text.parse_math": False,  # a class may be called $x$
    "savefig.dpi": 150,
}


def open_marks(ax, x, y, colour: str) -> None:
    """Draw open marks, for trainings that had not converged (`glat.training.convergence`), over the points at x, y."""
    ax.plot(x, y, "o", color=colour, mfc="white", zorder=3, gid=OPEN)


def foot(fig, lines: list[str]) -> None:
    """Write lines below a figure, if there are any: what is missing, what its marks mean."""
    if lines:
        fig.supxlabel("\n".join(lines), fontsize=7, color="#a00000", wrap=True)


class _Powers(LogFormatter):
    """Ticks of a logarithmic axis as plain numbers instead of powers of ten."""

    def _num_to_string(self, x: float, vmin: float, vmax: float) -> str:
        return f"{x:g}"


@contextmanager
def figure(path: Path, rows: int = 1, columns: int = 1, size: tuple[float, float] = (6.4, 4.2), **settings) -> Iterator:
    """Yield (figure, axes) of `Figure.subplots(rows, columns, **settings)`; save as `<path>.svg` and `<path>.png`.

    Drawn without pyplot and without a display. `size` is in inches.
    """
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        fig = Figure(figsize=size, layout="constrained")
        yield fig, fig.subplots(rows, columns, **settings)
        for axis in (axis for ax in fig.axes for axis in (ax.xaxis, ax.yaxis)):
            if isinstance(axis.get_major_formatter(), LogFormatter):
                axis.set_major_formatter(_Powers())
            if isinstance(axis.get_minor_formatter(), LogFormatter):
                axis.set_minor_formatter(_Powers(labelOnlyBase=False, minor_thresholds=(1, 0.4)))
        for suffix, metadata in ((".svg", {"Date": None}), (".png", {"Software": None})):
            with whole(path.parent / f"{path.name}{suffix}") as part:
                fig.savefig(part, metadata=metadata)

"""audit.csv, one line a measure, to compare with another day's; and audit.html, one page to look at."""

from __future__ import annotations

import re
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from ..config.params import Params
from ..lib.files import whole
from ..lib.provenance import commit
from ..results.page import image, render
from ..results.plots import COLOURS, figure
from . import Audit, audit
from .rows import NOT_FIT, WARNING, Row, percent
from .signs import SIGNS


def write(params: Params, folder: Path) -> Audit:
    """Audit the chosen dataset; write audit.csv and audit.html into `folder`. Raises what `audit` raises."""
    found = audit(params)
    lines = [row._asdict() | {"value": _plain(row.value), "verdict": str(row.verdict)} for row in found.rows]
    with whole(folder / "audit.csv") as part:
        pd.DataFrame(lines).to_csv(part, index=False)
    with TemporaryDirectory() as drawn:
        page = render("audit/report.html.j2", **_page(params, found, Path(drawn)))
    with whole(folder / "audit.html") as part:
        part.write_text(page)
    return found


def summary(found: Audit) -> str:
    """The verdict, each finding, and how much of each split is there, as a few lines of text."""
    lines = [found.verdict.grade]
    lines += [f"  {row.verdict.grade}, {row.split}: {row.verdict.why}" for row in _findings(found)]
    for name, split in found.splits.items():
        lost = ", ".join(f"{count} {kind}" for kind, count in split.kinds.most_common())
        lines.append(f"  {name}: {split.got} of {split.asked} clips{f'; lost: {lost}' if lost else ''}")
    return "\n".join(lines)


def _findings(found: Audit) -> list[Row]:
    """The rows that are not fine, the worst first."""
    return [row for grade in (NOT_FIT, WARNING) for row in found.rows if row.verdict.grade == grade]


def _page(params: Params, found: Audit, drawn: Path) -> dict:
    """What the template shows."""
    names = list(found.splits)
    select = {}
    for row in found.rows:
        select.setdefault(row.measure, []).append(row)
    pairs = [row for row in found.rows if row.measure in ("shared by video", "shared by audio")]
    return {
        "dataset": params.dataset,
        "verdict": found.verdict.grade,
        "fit": found.fit,
        "findings": [(row, _code(row.verdict.why)) for row in _findings(found)],
        "names": names,
        "tables": {
            "clips": _table(select["clips"], names, ("share lost", "share lost by PANNs")),
            "lost": _table(select.get("lost", []), names),
            "noted": _table(select.get("noted", []), names),
            "rates": _table(select["source rate (Hz)"], names),
            "lengths": _table(select["source length (s)"], names),
            "levels": _levels(select, names),
        },
        "signs": _table(select["sign"], names, everything_is_a_share=True),
        "meanings": {sign.name: sign for sign in SIGNS},
        "percent": percent,
        "reasons": {name: split.reasons.most_common(12) for name, split in found.splits.items() if split.reasons},
        "sounds": _sounds(found, drawn),
        "sampled": {name: len(sound.clip_means) for name, sound in found.sounds.items()},
        "seed": params.audit.seed,
        "classes": _classes(found),
        "duplicates": _table(select["duplicates"], names, everything_is_a_share=True),
        "same": select.get("same audio", []),
        "pairs": pairs,
        "commit": commit(),
    }


def _table(rows: list[Row], names: list[str], shares: tuple[str, ...] = (), everything_is_a_share: bool = False):
    """Rows of one measure as lines: key, what is expected, then (text, grade) for each split."""
    lines: dict[str, tuple[str, str, dict[str, tuple[str, str]]]] = {}
    for row in rows:
        share = everything_is_a_share or row.key in shares
        _, _, cells = lines.setdefault(row.key, (row.key, row.expected, {}))
        cells[row.split] = (percent(row.value) if share else _text(row.value), row.verdict.grade)
    return [(key, expected, [cells.get(name, ("", "")) for name in names]) for key, expected, cells in lines.values()]


def _levels(select: dict[str, list[Row]], names: list[str]) -> list:
    """The lines of the table of levels: one a measure and key."""
    lines = []
    for measure in (
        "rms (dB of full scale)", "peak (dB of full scale)", "mean", "clipped", "jumps", "log-mel",
        "source length to segment length", "clips that break off at one frequency",
    ):  # fmt: skip
        rows = [row for row in select[measure] if row.split in names and row.key != "clips sampled"]
        lines += [(f"{measure}, {key}", *rest) for key, *rest in _table(rows, names)]
    return lines


def _classes(found: Audit) -> list:
    """(name, [(got, asked) by split]), the class that lost the largest share first."""
    splits = list(found.splits.values())
    got, asked = (np.array([getattr(split, key) for split in splits]) for key in ("labels_got", "labels_asked"))
    kept = got.sum(axis=0) / np.maximum(asked.sum(axis=0), 1)
    order = np.argsort(kept, kind="stable")
    names = splits[0].classes["display_name"]
    return [(names[i], [(int(g), int(a)) for g, a in zip(got[:, i], asked[:, i], strict=True)]) for i in order]


def _sounds(found: Audit, drawn: Path) -> list[Markup]:
    """The log-mel statistics of each band, and the mean spectrum, a line a split."""
    with figure(drawn / "logmel", size=(4.6, 3.4)) as (_, ax):
        for (name, sound), colour in zip(found.sounds.items(), cycle(COLOURS), strict=False):
            ax.plot(sound.mels / 1000, sound.band_mean, color=colour, label=name)
            low, high = sound.band_mean - sound.band_std, sound.band_mean + sound.band_std
            ax.fill_between(sound.mels / 1000, low, high, color=colour, alpha=0.15, lw=0)
        ax.set_title("log-mel: mean and standard deviation of a band", loc="left")
        ax.set_xscale("log")
        ax.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
        ax.set_xlabel("kHz")
        ax.set_ylabel("dB")
        ax.legend()
    with figure(drawn / "spectrum", size=(4.6, 3.4)) as (_, ax):
        for sound, colour in zip(found.sounds.values(), cycle(COLOURS), strict=False):
            ax.plot((np.arange(len(sound.spectrum)) + 0.5) * sound.width / 1000, sound.spectrum, color=colour)
        ax.set_title("spectrum, mean over clips", loc="left")
        ax.set_xlabel("kHz")
        ax.set_ylabel("dB/Hz of full scale")
    named = {"logmel": "Log-mel statistics by band", "spectrum": "Spectrum up to half the sample rate"}
    return [image(drawn / f"{name}.svg", alt) for name, alt in named.items()]


def _code(sentence: str) -> Markup:
    """A sentence as HTML, what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(sentence))))


def _text(value) -> str:
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _plain(value):
    """A number as audit.csv has it: six digits are more than any measure has, and the same on every machine."""
    return f"{value:.6g}" if isinstance(value, float) else value

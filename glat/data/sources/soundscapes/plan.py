"""What each clip is made of: drawn when the lists are written, and kept beside the recordings for the making of the audio.

A plan has a line of JSON for each clip of a split, so anybody can see what is heard where, and from which recording.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import ValidationError

from ....config.types import Settings
from ....lib.errors import GlatError, refusal
from .. import mixer
from .hearing import Span
from .recordings import Pool, Recording

if TYPE_CHECKING:
    from . import Soundscapes


class Piece(Settings):
    """`seconds` of a recording, from `begin` on. fold: the split of the recordings that it is in; file, part: as its source
    lists them."""

    recording: str
    fold: str
    file: str
    part: str
    begin: float
    seconds: float


class Sound(Settings):
    """An event: start and end in seconds from the clip's start, the ids of its classes, and what is heard."""

    start: float
    end: float
    labels: list[str]
    piece: Piece


class Clip(Settings):
    """A clip: its name, its length, its weak labels, what lies under it (None: noise), and its events in order."""

    clip: str
    seconds: float
    labels: list[str]
    background: Piece | None
    events: list[Sound]


def clip_id(split: str, index: int) -> str:
    return f"{split}-{index:05d}"


def clip_name(split: str, index: int) -> str:
    """As the lists name it: each clip begins at 0 ms."""
    return f"{clip_id(split, index)}_0"


def draw(
    split: str, count: int, mids: Sequence[str], ranks: np.ndarray, pool: Pool, settings: Soundscapes
) -> Iterator[Clip]:
    """The clips of a split. mids, ranks: of the classes; pool: the recordings that serve the split."""
    repeatable = {mid for mid in mids if pool.usual_seconds(mid, settings.event_seconds) <= mixer.REPEATABLE_SECONDS}

    def choose(rng: np.random.Generator, mid: str) -> tuple[float, tuple[Recording, float]]:
        recording = pool.events[mid][rng.integers(len(pool.events[mid]))]
        spans = recording.spans
        begin, seconds = _crop(rng, spans[rng.choice(len(spans), p=[s.energy for s in spans])], settings.event_seconds)
        return seconds, (recording, begin)

    for index, labels in enumerate(mixer.draw_labels(split, count, mids, ranks, settings)):
        rng = mixer.generator(settings.seed, split, index, "segment")
        seconds = round(settings.draw_seconds(rng, settings.clip_seconds), 3)
        background = None
        if pool.backgrounds:
            under = pool.backgrounds[rng.integers(len(pool.backgrounds))]
            background = _piece(under, *_crop(rng, Span(under.spans[0].start, under.spans[-1].end, 1.0), seconds))
        events = mixer.draw_events(split, index, labels, seconds, choose, repeatable, settings)
        yield Clip(
            clip=clip_name(split, index),
            seconds=seconds,
            labels=sorted({mid for event in events for mid in event.sound[0].mids}),
            background=background,
            events=[
                Sound(
                    start=event.start,
                    end=event.end,
                    labels=list(event.sound[0].mids),
                    piece=_piece(event.sound[0], event.sound[1], round(event.end - event.start, 3)),
                )
                for event in mixer.heard(split, index, events, settings)
            ],
        )


def _crop(rng: np.random.Generator, span: Span, longest: float) -> tuple[float, float]:
    """Begin and length, to the millisecond, of a random piece of a span that is at most `longest`."""
    seconds = min(span.end - span.start, longest)
    begin = span.start + rng.random() * (span.end - span.start - seconds)
    return round(begin, 3), round(seconds, 3)


def _piece(recording: Recording, begin: float, seconds: float) -> Piece:
    name, fold, file, part = recording.name, recording.fold, recording.file, recording.part
    return Piece(recording=name, fold=fold, file=file, part=part, begin=begin, seconds=seconds)


def read(path: Path, split: str, first: int, segments: pd.DataFrame) -> list[Clip]:
    """The clips of a shard, whose first row has the number `first` in the split's list.

    Raises:
        GlatError: no plan, a damaged one, or one that another list goes with.
    """
    clips = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        for index, row in enumerate(segments.itertuples(index=False), start=first):
            clip = Clip.model_validate_json(lines[index])
            seconds = round(float(row.end) - float(row.start), 3)
            if (clip.clip, clip.seconds, set(clip.labels)) != (row.clip, seconds, set(row.labels)):
                raise GlatError(
                    f"{path}: line {index + 1} is not the list's clip {row.clip}; run `glat metadata` again"
                )
            if row.clip != clip_name(split, index):
                raise GlatError(f"{path}: line {index + 1}: {row.clip} is no soundscape; run `glat metadata` again")
            clips.append(clip)
    except FileNotFoundError:
        raise GlatError(f"{path}: no such file; run `glat metadata`, which draws the soundscapes") from None
    except (OSError, IndexError, ValueError, ValidationError) as error:
        raise GlatError(
            f"{path}: {refusal(error) or 'damaged, or of other lists; run `glat metadata` again'}"
        ) from None
    return clips

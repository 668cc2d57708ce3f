"""The audio of one soundscape, from its plan: recordings over a background, as a FLAC file.

FLAC, since a clip is heard once more by the packs alone: it is written ten times as fast as AAC and read faster, and leaves
levels and onsets as they were mixed. Mono, as networks hear it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from ....lib import dependencies
from ....lib.errors import GlatError
from ....lib.files import whole
from ...audio.pieces import AudioError
from ...kinds import Kind, Loss
from .. import Source, mixer
from ..synthetic.backgrounds import coloured_noise
from ..synthetic.waves import RATE, ramp
from .hearing import read_piece
from .plan import Clip, Piece

FADE = 0.01  # seconds, at both ends of an event
JOIN = 0.1  # seconds in which a background that is too short fades into itself


def render(
    clip: Clip, key: tuple[int, str, int], snr_db: tuple[float, float], recordings: Source, audio: Path
) -> np.ndarray:
    """(samples,) float32 at 44.1 kHz, its peak between -18 and -3 dB of full scale.

    key: seed, split and index of the clip. recordings: where they come from; audio: a folder for each of its splits, for
    the files that it made.

    Raises:
        AudioError: a recording that cannot be read, by its name.
    """
    rng, length = mixer.generator(*key, "mixture"), round(clip.seconds * RATE)
    if clip.background is None:
        background = coloured_noise(rng, length)[:1]
    else:
        background = loop(_read(clip.background, recordings, audio), length, rng)[None]

    def sounds() -> Iterator[tuple[int, np.ndarray]]:
        for event in clip.events:
            start = round(event.start * RATE)
            yield start, ramp(_read(event.piece, recordings, audio)[: length - start], FADE)

    return mixer.mix(rng, background, sounds(), snr_db)[0]


def _read(piece: Piece, recordings: Source, audio: Path) -> np.ndarray:
    row = pd.DataFrame([(piece.recording, piece.file, piece.part)], columns=["clip", "file", "part"])
    try:
        (source,) = recordings.read(row, audio / piece.fold)
        return read_piece(source, piece.begin, piece.seconds, RATE)
    except AudioError as error:
        advice = "; if it was moved, run `glat metadata` again" if error.kind == Kind.MISSING else ""
        raise AudioError(error.kind, f"recording {piece.recording} ({piece.fold}): {error.detail}{advice}") from None
    except GlatError as error:
        raise AudioError(Kind.UNREADABLE, f"recording {piece.recording} ({piece.fold}): {error}") from None


def loop(sound: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """(length,) of a sound: its beginning, or over and over, from a random place on, where it is shorter. Where its end
    meets its beginning, one fades into the other at equal power."""
    if len(sound) >= length:
        return sound[:length]
    join = min(round(JOIN * RATE), len(sound) // 2)
    period = sound[join:].copy()
    angle = np.linspace(0, np.pi / 2, join, dtype=np.float32)
    period[len(period) - join :] *= np.cos(angle)
    period[len(period) - join :] += np.sin(angle) * sound[:join]
    return np.resize(np.roll(period, int(rng.integers(len(period)))), length)


def make(
    path: Path, clip: Clip, key: tuple[int, str, int], snr_db: tuple[float, float], recordings: Source, audio: Path
) -> Loss | None:
    """Make one file, unless the same one is there: made by the same code from the same plan. Returns why there is none, if
    a recording is gone."""
    made_from = repr((_recipe(), key, snr_db, _content(clip)))
    comment = hashlib.blake2b(made_from.encode(), digest_size=16).hexdigest()
    if _comment(path) == comment:
        return None
    try:
        samples = render(clip, key, snr_db, recordings, audio)
    except AudioError as error:
        return Loss.of(error.kind, error.detail)
    with whole(path) as part, soundfile.SoundFile(part, "w", RATE, 1, "PCM_16", format="FLAC") as file:
        file.comment = comment
        file.write(samples)
    return None


def _content(clip: Clip) -> str:
    """A plan without the places of its files: where the recordings lie changes no clip."""
    pieces = {"piece": {"file"}}
    return clip.model_dump_json(exclude={"background": {"file"}, "events": {"__all__": pieces}})


@cache
def _recipe() -> str:
    """A hash of the code: files that other code made are made again."""
    return dependencies.digest(__name__)


def _comment(path: Path) -> str | None:
    try:
        with soundfile.SoundFile(path) as file:
            return file.comment
    except (soundfile.LibsndfileError, OSError):
        return None

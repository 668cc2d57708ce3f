"""How long a sound is, and at which rate, without resampling it: for an overview, not for a pack."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import av
import soundfile

from ..kinds import Kind
from .decoding import blocks, open_sound
from .formats import CONTAINERS
from .pieces import UNLIMITED, AudioError, Limits


class Length(NamedTuple):
    """rate: Hz; seconds."""

    rate: int
    seconds: float


def measure(path: Path, limits: Limits = UNLIMITED) -> Length | AudioError:
    """The length of a file, or why there is none: from its header where libsndfile trusts it, else by decoding."""
    try:
        with open_sound(path, limits) as file:
            try:
                with soundfile.SoundFile(file) as sound:
                    if sound.format != "MPEG" and 0 < sound.frames < 2**48:
                        return Length(sound.samplerate, sound.frames / sound.samplerate)
            except soundfile.LibsndfileError:
                pass
        samples, rate = 0, 0
        for block in blocks(path, limits=limits):
            samples, rate = samples + block.samples.shape[1], block.rate
        return Length(rate, samples / rate)
    except AudioError as error:
        return error
    except Exception as error:
        return AudioError(Kind.UNDECODABLE, f"{type(error).__name__}: {error}")


def estimate(path: Path) -> float | None:
    """About how many seconds a file lasts, by its header or its size; None where neither tells. For a bar of progress alone."""
    try:
        with open_sound(path) as file, av.open(file, "r", options={"format_whitelist": CONTAINERS}) as container:
            return container.duration / av.time_base if container.duration else None
    except (AudioError, av.error.FFmpegError):
        return None

"""The disk that recordings of any length take, told before they are decoded: by the lengths that their headers declare.

A length that only decoding tells counts as one clip, so what is told is then a lower bound, and says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pandas as pd
import soundfile

from ..lib.errors import GlatError, tell
from .audio.decoding import open_sound
from .audio.formats import CONTAINERS
from .audio.guard import Watched
from .audio.headers import promised_seconds, read_head
from .audio.pieces import AudioError, Limits, Meter
from .resample import BYTES


class Room(NamedTuple):
    """bytes of the waveforms of `clips` clips; unknown: how many of these tell no length; longest: seconds and name."""

    bytes: int
    clips: int
    unknown: int
    longest: tuple[float, str]

    def __str__(self) -> str:
        least = f" at least, as {self.unknown} of {self.clips} do not tell their length" if self.unknown else ""
        return f"{gigabytes(self.bytes)}{least}"


def of_lengths(lengths: Iterable[float | None], names: Sequence[str], rate: int, seconds: float, codec: str) -> Room:
    """The room that waveforms of `lengths` in seconds (None: unknown) take in packs of clips of `seconds` at `rate` Hz.

    >>> of_lengths([2.0, 3600.0, None], ["a.wav", "b.wav", "c.mp3"], 32000, 10.0, "pcm16")
    Room(bytes=231680000, clips=3, unknown=1, longest=(3600.0, 'b.wav'))
    """
    found = list(lengths)
    known = np.array([0.0 if one is None else one for one in found])
    longest = int(known.argmax()) if len(known) else -1
    size = rate * BYTES[codec] * float(np.maximum(known, seconds).sum())
    return Room(
        round(size), len(found), found.count(None), (float(known[longest]), names[longest]) if len(known) else (0.0, "")
    )


def of_listing(
    listing: pd.DataFrame, segments: pd.DataFrame, folder: Path, rate: int, seconds: float, codec: str, limits: Limits
) -> Room:
    """The room of a shard's waveforms (`glat.data.resample`, where a file without a part is kept whole): of a part by its
    segment, of a whole file by its header. What is longer than `limits` let it be is going to be lost."""
    there = listing[(listing["kind"] == "") & (listing["file"] != "")]
    of_segment = dict(zip(segments["clip"], segments["end"] - segments["start"], strict=True))

    def whole(file: str) -> float | None:
        length = declared_seconds(folder / file, limits)
        return 0.0 if length and length > limits.seconds else length

    lengths = (of_segment[row.clip] if row.part else whole(row.file) for row in there.itertuples())
    return of_lengths(lengths, there["file"].tolist(), rate, seconds, codec)


def declared_seconds(path: Path, limits: Limits) -> float | None:
    """The length of a file by its header; None where that tells none, or the file is no sound. Nothing is decoded."""
    try:
        with open_sound(path, limits) as file:
            watched = Watched(file, Meter(limits))
            try:
                with soundfile.SoundFile(watched) as sound:
                    if sound.format != "MPEG" and 0 < sound.frames < 2**48:
                        return float(sound.frames / sound.samplerate)
            except soundfile.LibsndfileError:
                pass
            head = read_head(watched)
            with av.open(watched, "r", options={"format_whitelist": CONTAINERS}, metadata_errors="ignore") as container:
                stream = container.streams.best("audio")
                if isinstance(stream, av.AudioStream):
                    return promised_seconds(container, stream, watched, head)
    except (AudioError, av.error.FFmpegError, OSError, ValueError):
        pass
    return None


def need(room: Room, path: Path) -> None:
    """Tell what is to come at `path`. Raises GlatError where its disk cannot hold it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < room.bytes:
        seconds, name = room.longest
        raise GlatError(
            f"{path}: needs {room} and {path.parent} has {gigabytes(free)} free (the longest of its recordings is {name}, "
            f"{seconds:,.0f} s); make room, or set audio.codec: flac"
        )
    tell(f"{path}: {room} to write, and as much for the pack; {gigabytes(free)} free")


def gigabytes(size: float) -> str:
    return f"{size / 1e9:.3g} GB"

"""A recording of any length through a network, as a person looks at it: scores over time, windows, and what is where."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from ..config.systems import title
from ..data.audio.clips import AudioError, Limits
from ..data.audio.encoding import OpusWriter
from ..data.kinds import Kind
from ..data.randomness import clip_generators
from ..results.clip import Clip, Row, Span
from ..training import convergence
from .drawing import colours, draw_course
from .hearing import SILENT, clip_count, clip_name, clips, is_silent, stream
from .listening import clip, picture_url
from .one_clip import hear
from .overlaps import Steps
from .tagging import RunTagger

BINS = 600  # points of time that a whole recording is drawn with, or one a clip where there are more clips
TOP = 6  # classes that it is drawn with
AROUND = 1.0  # seconds that are played before and after the moment where a class scores highest
LIMITS = (Kind.TOO_LONG, Kind.TOO_BIG, Kind.TOO_SLOW)  # beyond them, nothing of a sound is heard


def decode(source: Path, rate: int, limits: Limits, samples: Path, sound: Path) -> Iterator[float | str]:
    """Decode a file to mono float32 at `rate` in the file `samples`, and to Opus in `sound`, in memory that does not grow.

    Yields the seconds that are done; and a sentence where not all of the file gives sound, or it is silent.

    Raises:
        AudioError: it gives no audio, or more than `limits` allow.
    """
    done, silent = 0, True
    with samples.open("wb") as raw, OpusWriter(sound, rate) as opus:
        try:
            for piece in stream(source, rate, limits=limits):
                silent = silent and is_silent(piece)
                raw.write(piece.astype(np.float32).tobytes())
                opus.write(piece)
                done += len(piece)
                yield done / rate
        except AudioError as error:
            if error.kind in LIMITS or not done:
                raise
            yield f"Not all of it was heard: {error}."
    if silent:
        yield f"The recording is {SILENT}."


class Course(NamedTuple):
    """What a network heard in a recording, clip by clip. Times are in seconds of the recording."""

    scores: np.ndarray  # (C, L) float32, of the clips
    bins: np.ndarray  # (C * k, L) float16: the highest score of each of k parts of every clip
    windows: np.ndarray  # (C, K) starts; K = 0 without GL-AT
    classes: np.ndarray  # (C, K), -1 where a window was chosen for none


class Listener:
    """A network that hears recordings, given as (samples,) float32 at its rate, perhaps on disk; `name` is the file's."""

    def __init__(self, tagger: RunTagger, folder: Path):
        self.tagger, self.rate, self.seconds = tagger, tagger.sample_rate, tagger.seconds
        self.length = round(self.rate * self.seconds)
        network = convergence.name(title(tagger.run), convergence.found(tagger.run, folder))
        self.title = f"{network} ({tagger.run.name})"

    def _clip(self, samples: np.ndarray, number: int) -> np.ndarray:
        """(length,) float32, zero-padded at the recording's end."""
        part = samples[number * self.length : (number + 1) * self.length]
        return np.pad(part, (0, self.length - len(part)))

    def course(self, samples: np.ndarray, name: str) -> Iterator[float | Course]:
        """Yields the seconds that are done, and at last the `Course`. Raises AudioError where scores are not finite."""
        count, found = clip_count(len(samples), self.length, self.rate), []
        pieces = (samples[at : at + self.length] for at in range(0, len(samples), self.length))
        for one in clips(self.tagger.network, pieces, self.seconds, Path(name).stem, self.tagger.seed, over_time=True):
            assert one.timeline is not None
            windows, classes = one.streams.windows, one.streams.classes
            steps = Steps(one.timeline.frame, self.seconds, self.seconds)
            over_time = torch.from_numpy(steps.spread(one.timeline.fused[0].float().numpy(), 0.0)[1])  # (n, L)
            bins = F.adaptive_max_pool1d(over_time.T, min(len(over_time), math.ceil(BINS / count))).T  # (k, L)
            none = torch.zeros(1, 0)
            starts = one.start + (none if windows is None else windows)  # (1, K)
            chosen = none.long() if classes is None else classes
            found.append([part.numpy() for part in (one.streams.fused.float(), bins.half(), starts, chosen)])
            yield one.end
        yield Course(*(np.concatenate(column) for column in zip(*found, strict=True)))

    def show_course(self, course: Course, seconds: float, sound: str, title: str, known: dict[str, str]) -> Clip:
        """All of a recording of `seconds`; sound: its address; known: the colours of classes that have one."""
        names, step = self.tagger.labels, self.seconds * len(course.scores) / len(course.bins)
        bins = course.bins[: math.ceil(seconds / step)]  # what lies behind is the last clip's padding
        highest = bins.max(0)  # (L,)
        top = (-highest).argsort(kind="stable")[:TOP].tolist()
        colour = colours(top, names, known)
        moments = []
        for c in top:
            at = _peak(bins[:, c]) * step
            moments.append(Span(max(0.0, at - AROUND), min(at + AROUND, seconds), names[c], colour[c]))
        network = self.tagger.network.network
        lengths = np.repeat(getattr(network, "taus", ()), getattr(network, "n", 0))  # (K,)
        heard = {"windows": course.windows, "lengths": lengths, "classes": course.classes}
        strip = draw_course(bins[:, top], step, seconds, colour, **heard)
        rows = [
            Row(
                names[c],
                False,
                colour[c],
                {"highest": float(highest[c]), "mean of clips": float(course.scores[:, c].mean())},
            )
            for c in top
        ]
        return Clip(
            title=f"{self.title}: {title}",
            seconds=seconds,
            picture=picture_url(strip.svg),
            sound=sound,
            time=strip.time,
            lanes=None,
            windows=[],
            spans={"Where each class scores highest": moments},
            rows=rows,
            notes=[],
        )

    def show_clip(self, samples: np.ndarray, at: float, name: str, known: dict[str, str]) -> Clip:
        """The clip that holds the second `at` of a recording; known: the colours of classes that have one."""
        number = min(max(0, int(at // self.seconds)), clip_count(len(samples), self.length, self.rate) - 1)
        waveform, start = self._clip(samples, number), number * self.seconds
        draw = clip_generators(self.tagger.seed, [clip_name(Path(name).stem, start)])
        heard = hear(self.tagger.network, waveform, draw=draw)
        end = min(start + self.seconds, len(samples) / self.rate)
        title = f"{self.title}: {name}, {start:g} to {end:g} s"
        return clip(heard, waveform, self.rate, self.tagger.labels, title=title, known=known)


def _peak(scores: np.ndarray) -> float:
    """The middle of the first stretch of (n,) that has the highest score, in steps.

    >>> _peak(np.array([0.1, 0.9, 0.9, 0.2, 0.9]))
    2.0
    """
    first = int(scores.argmax())
    same = np.append(scores[first:] == scores[first], False)
    return first + int(same.argmin()) / 2

"""What is wanted of a recording, what it may cost, and what comes of it: the words that all decoders share."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...lib.errors import GlatError
from ..kinds import Kind

OVERHANG = 1.0  # seconds by which a clip may be longer than its segment
BLOCK = 2**18  # samples of a block, about, in all channels


class AudioError(GlatError):
    """Why a file gives no clip: as text, `<kind>` or `<kind>: <detail>`, short enough for a ledger."""

    def __init__(self, kind: Kind, detail: str = ""):
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind, self.detail = kind, detail

    def __reduce__(self) -> tuple[type, tuple[Kind, str]]:  # a source's errors are sent to the processes that resample
        return type(self), (self.kind, self.detail)


class NoSound(AudioError):
    """A file that is well-formed and has nothing to decode: an end where the first packet should be."""


class Limits(NamedTuple):
    """What one sound may cost: bytes of its file, seconds of sound decoded, seconds that decoding may take; names: of the
    settings that say so, for who goes beyond one."""

    bytes: float = math.inf
    seconds: float = math.inf
    time: float = math.inf
    names: tuple[str, str, str] = ("audio.limits.bytes", "audio.limits.seconds", "audio.limits.time")


UNLIMITED = Limits()


class Cut(NamedTuple):
    """`seconds` of a longer recording, from `start` seconds on.

    or_whole: a file that is at most `OVERHANG` longer than the piece is the piece itself, cut by somebody before.
    last: where the last of several pieces of the recording ends: a file that is too short for that, and no longer than a
    piece, may be any of them.
    """

    file: Path
    start: float
    seconds: float
    or_whole: bool = False
    last: float | None = None


class Block(NamedTuple):
    """samples: (channels, samples) float32, full scale 1; rate: Hz."""

    samples: np.ndarray
    rate: int


class Piece(NamedTuple):
    """What is wanted of a recording, in seconds: from `start` to `end`, which is exact or a place to stop soon after.
    `whole_up_to`: a recording that is not longer than this is wanted whole, or (`last`) is ambiguous."""

    start: float
    end: float
    exact: bool = False
    whole_up_to: float = 0.0
    last: float | None = None

    def of(self, length: float) -> Piece:
        """The same, once the length of the recording is known. One that just holds the piece at its end is no cut clip."""
        known = self._replace(whole_up_to=0.0, last=None)
        if length > self.whole_up_to:
            return known
        if self.last is not None:
            if length >= self.last - 0.05:
                return known
            raise AudioError(
                Kind.AMBIGUOUS,
                f"the list has several segments of this recording, up to {self.last:g} s, and a file of "
                f"{length:.2f} s may be any of them; name it <id>_<start>",
            )
        holds = self.start > 0 and self.end <= length + 0.05
        return known if holds else Piece(0.0, self.whole_up_to)

    def earlier(self, seconds: float) -> Piece:
        """The same in the time of audio that begins so much later than its recording."""
        return self._replace(start=self.start - seconds, end=self.end - seconds) if self.exact else self

    def samples(self, rate: int) -> float:
        """How many samples it has at most."""
        return round(self.end * rate) - round(self.start * rate) if self.exact else math.inf

    def ends_before(self, found: float, promised: float | None) -> AudioError:
        """Why there is nothing of the piece in a recording of which `found` seconds could be decoded."""
        if promised is not None and promised > max(self.start, found + 0.5):
            return AudioError(
                Kind.TRUNCATED, f"{found:.2f} of {promised:.2f} s decoded, the clip starts at {self.start:g} s"
            )
        return AudioError(Kind.TOO_SHORT, f"{found:.2f} s, the clip starts at {self.start:g} s")


class Meter:
    """Stops a decoding that goes beyond its limits."""

    def __init__(self, limits: Limits):
        self.limits, self.deadline = limits, time.monotonic() + limits.time

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While others work on what was decoded, no time is counted."""
        began = time.monotonic()
        yield
        self.deadline += time.monotonic() - began

    def check(self, seconds: float) -> None:
        if seconds > self.limits.seconds:
            raise AudioError(
                Kind.TOO_LONG, f"over {self.limits.seconds:g} s to decode, the limit ({self.limits.names[1]})"
            )
        self.check_time()

    def check_time(self) -> None:
        if time.monotonic() > self.deadline:
            raise AudioError(
                Kind.TOO_SLOW, f"decoding took over {self.limits.time:g} s, the limit ({self.limits.names[2]})"
            )

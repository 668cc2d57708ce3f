"""What keeps a hostile sound from taking the machine: a clock on all that is read of it, and the most memory at once.

FFmpeg and libsndfile are called for a whole header, or for one packet, and come back when they have it, after a
gigabyte of zeros perhaps. But what they read, they read through Python, and that is where the clock is looked at.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import BinaryIO, TypeVar

import av._core

from ..kinds import Kind
from .pieces import AudioError, Meter

T = TypeVar("T")
R = TypeVar("R")
LARGEST = 2**27  # bytes at once: an index of 5 million packets (30 hours of AAC), or a packet

# FFmpeg allocates what a header declares, an index of 60 million packets say, before it looks whether they are there.
# `av_max_alloc` (libavutil/mem.h) is its own bound on that, for all of the process; PyAV does not pass it on.
ctypes.CDLL(av._core.__file__).av_max_alloc(ctypes.c_size_t(LARGEST))


class Watched:
    """An open binary stream that has ended once the time is over, or it cannot be read; `check` then says so.

    It raises nothing itself, since FFmpeg and libsndfile call it, which know no exceptions. A seek to a place that no file
    has leads to the end.
    """

    def __init__(self, file: BinaryIO, meter: Meter):
        self._file, self._meter = file, meter
        self._ended: AudioError | None = None
        self.tell = file.tell

    def read(self, size: int = -1) -> bytes:
        return self._guard(self._file.read, size) or b""

    def readinto(self, buffer: memoryview) -> int:
        return self._guard(self._file.readinto, buffer) or 0  # type: ignore[attr-defined]  # else libsndfile reads

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        # The clock is not looked at: FFmpeg seeks for each chunk of a header, and nobody seeks on and on without reading.
        try:
            return self._file.seek(place, whence)
        except (OSError, OverflowError, ValueError):
            return self._file.seek(0, os.SEEK_END)

    def check(self) -> None:
        """Raises AudioError: too slow, by the limits; unreadable. What was read of such a file tells nothing of it."""
        if self._ended is not None:
            raise self._ended

    def _guard(self, read: Callable[[T], R], wanted: T) -> R | None:
        try:
            self._meter.check_time()
            return None if self._ended else read(wanted)
        except AudioError as error:
            self._ended = self._ended or error
        except OSError as error:
            self._ended = AudioError(Kind.UNREADABLE, f"{error.strerror or error}")
        return None

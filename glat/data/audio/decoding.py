"""Audio files of any format to samples, block by block: a whole file, its beginning, or a piece of a long recording.

FFmpeg (through PyAV) decodes, libsndfile the formats in which it is the quicker of the two and those that FFmpeg does
not know (`glat.data.audio.formats`); both skip the priming samples that AAC, MP3 and Opus encoders put in front. A piece is
sought, not decoded up to, where the container has times to seek by.

No estimate of a length is believed: where a header does not know how long the sound is (MP3, ADTS, what a pipe wrote), it
is decoded to its end. Where one does know, less than that is an error, and more behind it; so is sound lost anywhere
(`glat.data.audio.losses`, `glat.data.audio.layout`).
"""

from __future__ import annotations

import io
import math
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..kinds import Kind
from . import ffmpeg as by_ffmpeg, piped, sndfile as by_sndfile
from .guard import Watched
from .pieces import OVERHANG, UNLIMITED, AudioError, Block, Cut, Limits, Meter, NoSound, Piece
from .stream import ByteStream

# Hz, of any sound that is one: a rate costs memory where it is resampled or held for seconds.
RATES = (1_000, 1_500_000)

_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def blocks(
    source: Path | BinaryIO | bytes | Cut,
    max_seconds: float = math.inf,
    limits: Limits = UNLIMITED,
    listener: Callable[[np.ndarray], None] = lambda _: None,
) -> Iterator[Block]:
    """The best audio stream of a file (`glat.data.audio.formats`), of its bytes, of an open binary stream or of a piece of a
    longer recording, in blocks of a few seconds, so that memory does not grow with its length.

    Decoding stops soon after `max_seconds`. A `Cut` is exact to the sample (WebM: to 1 ms, as its times are), and less
    of it where the recording ends before. Its times are those of a player: where the sound begins later than the
    picture, there is silence before it. listener: called with the samples of each block. The time that it takes counts
    towards the limit on decoding; what the caller does between two blocks does not.

    Raises AudioError: missing, unreadable (and no regular file), empty file, undecodable, no audio stream; truncated
    (less than the header declares, or an end in mid-packet), damaged (sound lost in the middle, a wrong checksum), both
    perhaps after some blocks; too short, or ambiguous, of a `Cut`; too big, too long, too slow, by the limits. Whatever
    else a decoder raises is `undecodable`, so that the next file is read.
    """
    piece = Piece(0.0, max_seconds)
    if isinstance(source, Cut):
        end = source.start + source.seconds
        may_be_whole = source.or_whole or source.last is not None
        piece = Piece(source.start, end, True, source.seconds + OVERHANG if may_be_whole else 0.0, source.last)
        source = source.file
    meter = Meter(limits)
    with open_sound(source, limits) as file:
        watched = Watched(file, meter)
        try:
            for block in _blocks(piped.fill_in_sizes(watched), piece, meter):
                listener(block.samples)
                meter.check_time()
                with meter.waiting():
                    yield block
        except Exception as error:
            watched.check()
            if isinstance(error, AudioError):
                raise
            if isinstance(error, MemoryError):
                raise AudioError(Kind.TOO_BIG, "there is not the memory to decode it") from None
            raise AudioError(Kind.UNDECODABLE, f"{type(error).__name__}: {error}") from error
        watched.check()


def _blocks(file: ByteStream, piece: Piece, meter: Meter) -> Iterator[Block]:
    fast = by_sndfile.clean(file, piece, meter, by_ffmpeg.read(file, Piece(0.0, math.inf), meter))
    block = None
    for block in by_ffmpeg.read(file, piece, meter) if fast is None else fast:
        if not RATES[0] <= block.rate <= RATES[1]:
            raise AudioError(Kind.UNDECODABLE, f"a sample rate of {block.rate} Hz, not of {RATES[0]} to {RATES[1]}")
        yield block
    if block is None:
        raise NoSound(Kind.UNDECODABLE, "no audio in it")


def decode(source: Path | BinaryIO | bytes | Cut, max_seconds: float = math.inf, limits: Limits = UNLIMITED) -> Block:
    """All `blocks` as one. Raises AudioError as `blocks` does."""
    parts = list(blocks(source, max_seconds, limits))
    return Block(np.concatenate([part.samples for part in parts], axis=1), parts[0].rate)


@contextmanager
def open_sound(source: Path | BinaryIO | bytes, limits: Limits = UNLIMITED) -> Iterator[BinaryIO]:
    """A sound as an open binary stream. Raises AudioError for what is missing, unreadable, too big, or no regular file:
    a pipe would be waited for without end. Raises TypeError for text: what came as content is never taken for a path."""
    if isinstance(source, str):
        raise TypeError("a sound is given as a Path or as bytes, not as text")
    if not isinstance(source, Path):
        file = io.BytesIO(source) if isinstance(source, bytes | bytearray | memoryview) else source
        _check_size(file.seek(0, os.SEEK_END), limits)
        file.seek(0)
        yield file
        return
    try:
        _check_kind(os.stat(source))  # before it is opened: a socket cannot be, and a device may do something
        # FFmpeg would read some names as protocols or patterns ("a:b.wav", "%03d.wav"): it gets the open file.
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise AudioError(Kind.MISSING, "no such file") from None
    except (OSError, ValueError) as error:
        raise AudioError(Kind.UNREADABLE, f"{getattr(error, 'strerror', None) or error}") from None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _check_kind(status)
        _check_size(status.st_size, limits)
        yield file


def _check_kind(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(Kind.UNREADABLE, f"{_KINDS.get(stat.S_IFMT(status.st_mode), 'a device')}, not a file")


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.bytes:
        raise AudioError(Kind.TOO_BIG, f"{size} bytes, over the limit of {limits.bytes:.0f} ({limits.names[0]})")

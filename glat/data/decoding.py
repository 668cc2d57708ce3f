"""Audio files of any format to samples, block by block: a whole file, its beginning, or a piece of a long recording.

FFmpeg (through PyAV) decodes, libsndfile the formats in which it is the quicker of the two and those that FFmpeg does
not know (`glat.data.formats`); both skip the priming samples that AAC, MP3 and Opus encoders put in front. A piece is
sought, not decoded up to, where the container has times to seek by.

No estimate of a length is believed: where a header does not know how long the sound is (MP3, ADTS, what a pipe wrote), it
is decoded to its end. Where one does know, less than that is an error, and more behind it; so is sound lost anywhere
(`glat.data.losses`, `glat.data.layout`).
"""

from __future__ import annotations

import io
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np

from glat.data import by_ffmpeg, by_sndfile, piped
from glat.data.pieces import OVERHANG, UNLIMITED, AudioError, Block, Cut, Limits, Meter, Piece

# Hz, of any sound that is one: a rate costs memory where it is resampled or held for seconds.
RATES = (1_000, 1_500_000)

_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def blocks(
    source: str | Path | BinaryIO | bytes | Cut, max_seconds: float = math.inf, limits: Limits = UNLIMITED
) -> Iterator[Block]:
    """The best audio stream of a file (`glat.data.formats`), of its bytes, of an open binary stream or of a piece of a
    longer recording, in blocks of a few seconds, so that memory does not grow with its length.

    Decoding stops soon after `max_seconds`. A `Cut` is exact to the sample (WebM: to 1 ms, as its times are), and less
    of it where the recording ends before. Its times are those of a player: where the sound begins later than the
    picture, there is silence before it.

    Raises AudioError: missing, unreadable (and no regular file), empty file, undecodable, no audio stream; truncated
    (less than the header declares, or an end in mid-packet), damaged (sound lost in the middle, a wrong checksum), both
    perhaps after some blocks; too short, or ambiguous, of a `Cut`; too big, too long, too slow, by the limits.
    """
    if isinstance(source, Cut):
        end = source.start + source.seconds
        may_be_whole = source.or_whole or source.last is not None
        piece = Piece(source.start, end, True, source.seconds + OVERHANG if may_be_whole else 0.0, source.last)
        source = source.file
    else:
        piece = Piece(0.0, max_seconds)
    meter = Meter(limits)
    with opened(source, limits) as file:
        place = os.fsencode(source) if isinstance(source, str | Path) else file
        file = piped.completed(file)
        fast = by_sndfile.clean(file, place, piece, meter, by_ffmpeg.read(file, Piece(0.0, math.inf), meter))
        block = None
        for block in by_ffmpeg.read(file, piece, meter) if fast is None else fast:
            if not RATES[0] <= block.rate <= RATES[1]:
                raise AudioError(f"undecodable: a sample rate of {block.rate} Hz, not of {RATES[0]} to {RATES[1]}")
            with meter.waiting():
                yield block
        if block is None:
            raise AudioError("undecodable: no audio in it")


def decode(
    source: str | Path | BinaryIO | bytes | Cut, max_seconds: float = math.inf, limits: Limits = UNLIMITED
) -> Block:
    """All `blocks` as one. Raises AudioError as `blocks` does."""
    parts = list(blocks(source, max_seconds, limits))
    return Block(np.concatenate([part.samples for part in parts], axis=1), parts[0].rate)


@contextmanager
def opened(source: str | Path | BinaryIO | bytes, limits: Limits = UNLIMITED) -> Iterator[BinaryIO]:
    """A sound as an open binary stream. Raises AudioError for what is missing, unreadable, too big, or no regular file:
    a pipe would be waited for without end."""
    if not isinstance(source, str | Path):
        file = io.BytesIO(source) if isinstance(source, bytes | bytearray | memoryview) else source
        _check_size(file.seek(0, os.SEEK_END), limits)
        file.seek(0)
        yield file
        return
    try:
        # FFmpeg would read some names as protocols or patterns ("a:b.wav", "%03d.wav"): it gets the open file.
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise AudioError("missing: no such file") from None
    except OSError as error:
        raise AudioError(f"unreadable: {error.strerror or error}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise AudioError(f"unreadable: {_KINDS.get(stat.S_IFMT(status.st_mode), 'a device')}, not a file")
    with open(descriptor, "rb") as file:
        _check_size(status.st_size, limits)
        try:
            yield file
        except OSError as error:
            if isinstance(error, av.error.FFmpegError):
                raise
            raise AudioError(f"unreadable: {error.strerror or error}") from None


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.bytes:
        raise AudioError(f"too big: {size} bytes, over the limit of {limits.bytes:.0f} ({limits.names[0]})")

"""FFmpeg (through PyAV): nearly all formats, and whether all of the sound was there."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import av
import soundfile

from ..kinds import Kind
from .formats import CONTAINERS
from .frames import Decoding, NotThere
from .guard import LARGEST
from .headers import read_head
from .pieces import AudioError, Block, Meter, NoSound, Piece
from .sndfile import any_format
from .stream import ByteStream

PREROLL = 0.5  # seconds decoded before a piece: a decoder needs some of its past to give the right samples

av.logging.set_level(None)
av.logging.set_libav_level(av.logging.PANIC)


def read(file: ByteStream, asked: Piece, meter: Meter, may_seek: bool = True) -> Iterator[Block]:
    """The blocks of a piece; of what FFmpeg does not know, those of libsndfile. Raises AudioError as `decoding.blocks`."""
    head = read_head(file)
    if not head:
        raise AudioError(Kind.EMPTY)
    options = {"format_whitelist": CONTAINERS}
    if head[:4] in (b"RIFF", b"fLaC"):
        # The header says all; FFmpeg would decode megabytes of it to see whether PCM hides another codec.
        options["probesize"] = "32768"
    try:
        container = av.open(file, "r", options=options, metadata_errors="ignore")
    except av.error.FFmpegError as error:
        try:
            other = any_format(file, asked, meter)
        except soundfile.LibsndfileError:
            page = head.lstrip()[:1] == b"<"
            raise AudioError(Kind.UNDECODABLE, "a web page, not audio") if page else _open_error(error) from None
        yield from other
        return
    again = None
    try:
        with container:
            stream = container.streams.best("audio")
            if not isinstance(stream, av.AudioStream):
                raise AudioError(Kind.NO_AUDIO_STREAM)
            if stream.codec_context is None:
                raise AudioError(Kind.UNDECODABLE, "a codec that FFmpeg does not know")
            decoding = Decoding(container, stream, file, head)
            piece = asked
            if piece.whole_up_to:
                if (length := decoding.length()) is None:
                    again = _read_unknown_length(file, piece, meter)
                else:
                    piece = piece.of(length)
            if again is None:
                piece = piece.earlier(decoding.late)
                sought = may_seek and piece.start > 2 * PREROLL
                began = False
                try:
                    sought = sought and decoding.seek(piece.start - PREROLL)
                    for block in decoding.blocks(piece, asked, meter):
                        began = True
                        yield block
                except (NotThere, av.error.FFmpegError):
                    if began or not sought:
                        raise
                    again = read(file, asked, meter, may_seek=False)
    except av.error.FFmpegError as error:
        raise _open_error(error) from None
    if again is not None:
        yield from again


def _open_error(error: av.error.FFmpegError) -> AudioError:
    if error.errno == errno.ENOMEM:
        needs = f"it needs over {LARGEST} bytes at once, for a packet or for the tables that its header declares"
        return AudioError(Kind.TOO_BIG, needs)
    kind = NoSound if isinstance(error, av.error.EOFError) else AudioError
    return kind(Kind.UNDECODABLE, error.strerror or "")


def _read_unknown_length(file: ByteStream, piece: Piece, meter: Meter) -> Iterator[Block]:
    """A piece of a recording whose length only decoding tells, or all of it if it is short."""
    beginning = list(read(file, Piece(0.0, piece.whole_up_to), meter))
    length = sum(block.samples.shape[1] for block in beginning) / beginning[0].rate
    wanted = piece.of(length)
    yield from read(file, wanted, meter) if wanted.exact else beginning

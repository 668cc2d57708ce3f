"""Whether a sound may end where it does, and whether all of it was there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..kinds import Kind
from . import layout, ogg
from .formats import FLAT
from .losses import LOST
from .pieces import AudioError, Meter, NoSound, Piece
from .tags import zeros_at_end

if TYPE_CHECKING:
    from .frames import Decoding


def check_end(decoding: Decoding, piece: Piece, asked: Piece, begun: bool, meter: Meter) -> None:
    """Whether the sound may end where it does."""
    if not decoding.end:
        raise NoSound(Kind.UNDECODABLE, "no audio in it")
    found = decoding.end / decoding.rate
    if decoding.name == "ogg" and (why := ogg.end(decoding.file)):
        raise AudioError(Kind.TRUNCATED, f"{found:.2f} s decoded, and {why}")
    if not begun:
        promised = None if decoding.promised is None else decoding.promised + decoding.late
        raise asked.ends_before(found + decoding.late, promised)
    whole = found >= piece.end
    if not whole and decoding.promised is None:
        if decoding.losses.last_fails or decoding.losses.cut or decoding.corrupt > decoding.end - LOST * decoding.rate:
            raise AudioError(Kind.TRUNCATED, f"{found:.2f} s decoded, and the file ends within a packet")
        check_tail(decoding, found)
    if decoding.promised is not None:
        check_promise(decoding, decoding.promised, piece, found)
    if not whole and (fault := layout.fault(decoding.file, decoding.name, meter.check_time)):
        raise AudioError(fault.kind, f"{found:.2f} s decoded, and {fault}")


def check_promise(decoding: Decoding, promised: float, piece: Piece, found: float) -> None:
    """Whether there is what the header declares."""
    # A header may count a frame too many, or round to milliseconds.
    slack = 0.1
    if decoding.lossless:
        slack = 0.02 if "matroska" in decoding.name else 0.5 / decoding.rate if decoding.name == "flac" else 1e-3
    elif decoding.name in ("mp3", "rm"):
        slack = 1728 / decoding.rate if decoding.name == "mp3" else 0.5
    there = min(piece.end, promised) - piece.start
    if there - (found - piece.start) > slack:
        raise AudioError(Kind.TRUNCATED, f"{found - piece.start:.2f} of {there:.2f} s decoded{_where(decoding)}")


def _where(decoding: Decoding) -> str:
    """Where sound is lost, as the end of a sentence; empty where it is at the end, or nobody asked for all of it."""
    places = ", ".join(f"{place:.1f} s" for place in decoding.holes[:3])
    return f"; lost at {places}{' and later' if decoding.holes[3:] else ''}" if places else ""


def check_tail(decoding: Decoding, found: float) -> None:
    """For formats that do not know their length: whether what is behind the last packet should have been sound."""
    size, zeros = decoding.file.seek(0, os.SEEK_END), zeros_at_end(decoding.file)
    silence = decoding.codec.startswith("pcm") and decoding.name in FLAT
    empty = 0.0 if silence else zeros * found / max(1, size - zeros)
    if empty > LOST and zeros > 512:  # a tag may be filled up with fewer
        raise AudioError(Kind.TRUNCATED, f"{found:.2f} s decoded, and the file ends in {zeros} zero bytes")
    if decoding.name == "avi" and not decoding.sought:
        listed = sum(entry.size for entry in decoding.stream.index_entries)
        if (listed - decoding.bytes) / max(1, decoding.bytes) * found > LOST:
            raise AudioError(Kind.DAMAGED, f"{decoding.bytes} of {listed} bytes of sound found that the index lists")


def check_lost(decoding: Decoding, piece: Piece, at_end: bool, meter: Meter) -> None:
    """Whether too much was lost on the way. at_end: whether the sound was decoded to its end."""
    lost = decoding.losses.seconds((decoding.end - decoding.first) / decoding.rate, at_end)
    if lost > (0 if decoding.lossless else LOST):
        raise AudioError(Kind.DAMAGED, f"{lost:.2f} s of the sound are lost{_where(decoding)}")
    if decoding.name == "ogg" and not piece.exact and (why := ogg.damage(decoding.file, meter.check_time)):
        raise AudioError(Kind.DAMAGED, why)

"""libsndfile: WAV and FLAC, in which it is quicker than FFmpeg, and the formats that FFmpeg does not know."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator

import numpy as np
import soundfile

from ..kinds import Kind
from .chunks import keep_place
from .headers import flac_md5, read_head, wav_seconds
from .layout import fault
from .pieces import BLOCK, AudioError, Block, Meter, NoSound, Piece
from .stream import ByteStream

_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
# What libsndfile logs of a header that counts more than there is, as it takes the length from what there is.
_COUNTS = re.compile(r"(?:Frames|Cols) *: (\d+)")
_SHORT = re.compile(r"(\d+) \(?should be (\d+)|be truncated")


def clean(file: ByteStream, piece: Piece, meter: Meter, otherwise: Iterator[Block]) -> Iterator[Block] | None:
    """A clean WAV or FLAC by libsndfile, which takes about half of FFmpeg's time for them; and ALAC of 16
    bits in CAF, of which FFmpeg takes the end off twice.

    None for all else, and for any file that is not what its header says: FFmpeg then finds out what it is.
    otherwise: FFmpeg's blocks of all of it, for where libsndfile stops.
    """
    head = read_head(file)
    name = {b"RIFF": "wav", b"fLaC": "flac", b"caff": "caf" if b"alac" in head[:64] else None}.get(head[:4])
    if name is None:
        return None
    try:
        sound = soundfile.SoundFile(file)
    except soundfile.LibsndfileError:
        return None
    rate, whole = sound.samplerate, sound.frames
    # libsndfile takes the length of a cut WAV from what is there, and a FLAC's unknown length for an endless one.
    promised = wav_seconds(file) if name == "wav" else whole / rate if whole < 2**48 else None
    # It reads noise where an ALAC of over 16 bits was not compressed.
    if (
        promised is None
        or not whole
        or sound.subtype in ("ALAC_20", "ALAC_24", "ALAC_32")
        or abs(promised - whole / rate) > 1e-3
    ):
        sound.close()
        return None
    piece = piece.of(whole / rate)
    first = round(piece.start * rate)
    end = whole if math.isinf(piece.end) else math.floor(piece.end * rate) + 1
    end = min(whole, first + piece.samples(rate) if piece.exact else end)
    if end <= first or (end == whole and not _is_all(file, name, head)):
        sound.close()
        return None
    try:
        sound.seek(first)
    except soundfile.LibsndfileError:
        sound.close()
        return None
    md5 = flac_md5(head) if first == 0 and end == whole else None
    return _read(sound, otherwise, first, end, md5, meter)


def _is_all(file: ByteStream, name: str, head: bytes) -> bool:
    """Whether a file ends where its header says that the sound does."""
    with keep_place(file):
        if name != "flac":
            return not fault(file, name)
        if not flac_md5(head):  # nothing else would tell that the header counts too few samples
            return False
        file.seek(len(b"fLaC"))
        content = b""
        while more := file.read(2**20):
            content = content[-8:] + more
            if _FLAC.search(content):  # another file, joined to the first
                return False
        return True


def _read(
    sound: soundfile.SoundFile, otherwise: Iterable[Block], first: int, end: int, md5: bytes | None, meter: Meter
) -> Iterator[Block]:
    """Samples `first`, where the file stands, to `end`; otherwise: another decoder's blocks of all of it, if there is one, for
    where libsndfile stops; md5: what the samples must have."""
    kind, width = {"PCM_S8": ("int16", 1), "PCM_16": ("int16", 2), "PCM_24": ("int32", 3)}.get(
        sound.subtype, ("float32", 4)
    )
    digest = hashlib.md5(usedforsecurity=False)
    step = max(1, BLOCK // sound.channels)
    with sound:
        for begin in range(first, end, step):
            wanted = min(step, end - begin)
            try:
                samples = sound.read(wanted, dtype=kind, always_2d=True)  # (samples, channels)
            except soundfile.LibsndfileError:
                samples = np.empty((0, 1))
            if len(samples) != wanted:
                # libsndfile stops at what FFmpeg would patch up: it gives the rest, and may tell how much is there.
                yield from _behind(otherwise, begin, end)
                raise AudioError(Kind.DAMAGED, f"samples between {begin / sound.samplerate:.2f} and "
                                 f"{(begin + wanted) / sound.samplerate:.2f} s are not what was written")  # fmt: skip
            meter.check((begin - first + wanted) / sound.samplerate)
            if md5 is not None:  # of little-endian integers, in as many bytes as they need
                if width == 2:
                    digest.update(np.ascontiguousarray(samples, "<i2").data)
                else:
                    raw = np.ascontiguousarray(samples >> 8, "<i4").view(np.uint8).reshape(-1, 4)
                    digest.update(np.ascontiguousarray(raw[:, :width]).data)
            planar = samples.T.astype(np.float32, order="C")
            if kind != "float32":
                planar *= np.float32(2**-31 if kind == "int32" else 2**-15)
            yield Block(planar, sound.samplerate)
    if md5 is not None and digest.digest() != md5:
        raise AudioError(Kind.DAMAGED, "the samples do not have the MD5 that the FLAC header declares")


def _behind(blocks: Iterable[Block], begin: int, end: int) -> Iterator[Block]:
    """What blocks have of samples `begin` to `end`, those of the first block the samples from 0."""
    place = 0
    for samples, rate in blocks:
        if (kept := samples[:, max(0, begin - place) : max(0, end - place)]).shape[1]:
            yield Block(kept, rate)
        place += samples.shape[1]


def any_format(file: ByteStream, piece: Piece, meter: Meter) -> Iterator[Block]:
    """A format that libsndfile knows and FFmpeg does not. Raises LibsndfileError if it is none."""
    file.seek(0)
    sound = soundfile.SoundFile(file)
    whole, rate = sound.frames, sound.samplerate
    if not 0 < whole < 2**48:
        raise NoSound(Kind.UNDECODABLE, "no audio in it")
    declared = max((int(count) for count in _COUNTS.findall(sound.extra_info)), default=0)
    short = any(not sizes[0] or int(sizes[0]) > int(sizes[1]) for sizes in _SHORT.findall(sound.extra_info))
    piece = piece.of(max(whole, declared) / rate)
    first = round(piece.start * rate)
    if (declared > whole or short) and piece.end > whole / rate:
        wanted = f" of {declared / rate:.2f}" if declared > whole else ""
        raise AudioError(
            Kind.TRUNCATED, f"{whole / rate:.2f}{wanted} s decoded" + ("" if wanted else ", and the file ends early")
        )
    end = min(whole, first + piece.samples(rate) if piece.exact else piece.end * rate + 1)
    if end <= first:
        raise piece.ends_before(whole / rate, None)
    sound.seek(first)
    return _read(sound, (), first, int(end), None, meter)

"""How a pack holds its waveforms, and how one is read: `Waveforms.read(i, out)` fills (samples,) int16 with clip i's."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np
import soundfile

from glat.errors import GlatError


class Waveforms(Protocol):
    def read(self, i: int, out: np.ndarray) -> None: ...


class Pcm16:
    """A chunk a clip, read past HDF5's filters and caches."""

    def __init__(self, pack: h5py.File):
        self._waveform = pack["waveform"].id

    def read(self, i: int, out: np.ndarray) -> None:
        self._waveform.read_direct_chunk((i, 0), out=out.view(np.uint8))


class Flac:
    """A FLAC stream a clip, decoded by the process that reads: the loader's workers, where there are some."""

    def __init__(self, pack: h5py.File):
        self._flac, self._end = pack["flac"], pack["flac_end"][:]

    def read(self, i: int, out: np.ndarray) -> None:
        begin = int(self._end[i - 1]) if i else 0
        with soundfile.SoundFile(io.BytesIO(self._flac[begin : int(self._end[i])].tobytes())) as stream:
            if (found := len(stream.read(dtype="int16", out=out))) != len(out) or stream.frames != found:
                raise ValueError(f"{found} samples in it, expected {len(out)}")


class InPlace:
    """A row of another HDF5 file's `waveform` (clips, samples) int16."""

    def __init__(self, pack: h5py.File):
        self._files = [Path(name) for name in pack["linked_file"].asstr()[:]]
        self._marks = pack["linked_mark"].asstr()[:]
        self._linked, self._row = pack["linked"][:], pack["linked_row"][:]
        self._open: dict[int, h5py.Dataset] = {}

    def read(self, i: int, out: np.ndarray) -> None:
        which = int(self._linked[i])
        if which not in self._open:
            try:
                if mark(self._files[which]) != self._marks[which]:
                    raise GlatError(
                        f"{self._files[which]}: changed since a pack began to use it in place; download and pack again"
                    )
                self._open[which] = h5py.File(self._files[which], "r")["waveform"]
            except (OSError, KeyError) as error:
                raise GlatError(
                    f"{self._files[which]}: the pack uses it in place, but {error}; put it back, or pack again with "
                    "source.in_place: false"
                ) from None
        self._open[which].read_direct(out, np.s_[int(self._row[i])])


def mark(path: str | Path) -> str:
    """A hash of what a pack relies on in a file that it uses in place: type and shape of its `waveform`, and the names
    of its rows in their order."""
    with h5py.File(path, "r") as file:
        waveform = file["waveform"]
        digest = hashlib.blake2b(f"{waveform.dtype} {waveform.shape}".encode(), digest_size=16)
        digest.update(np.asarray(file["audio_name"][:], "S").tobytes())
    return digest.hexdigest()


READERS = {"pcm16": Pcm16, "flac": Flac, "in_place": InPlace}


def waveforms(pack: h5py.File) -> Waveforms:
    """The reader for an open pack's `codec`."""
    return READERS[pack.attrs["codec"]](pack)

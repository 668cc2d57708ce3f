"""How a pack holds its waveforms, and how one is read: `Waveforms.read(i, out, offset)` fills (samples,) int16 with those of
clip i from the sample `offset` on."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import soundfile

from ...lib.errors import DAMAGED, GlatError
from ..hdf5 import dataset, open_hdf5

AGAIN = "delete it and run `snakemake packs` again"


class Waveforms(Protocol):
    def read(self, i: int, out: np.ndarray, offset: int = 0) -> None: ...


class Pcm16:
    """A row of `waveform` a clip, or as many as a longer one fills. As the pack step writes it, a chunk a row without
    filters, it is read past HDF5's filters and caches; a copy in other chunks, compressed or of the other byte order, through
    them."""

    def __init__(self, pack: h5py.File, length: np.ndarray, samples: int):
        ends = np.cumsum(-(-length // samples))
        self._first, self._samples = [0, *ends.tolist()], samples
        rows = self._first[-1]
        waveform = dataset(pack, "waveform", "whole numbers", (rows, samples), AGAIN)
        if waveform.dtype.newbyteorder("<") != np.dtype("<i2"):
            raise GlatError(f"{pack.filename}: waveform is {waveform.dtype}, expected int16; {AGAIN}")
        if waveform.chunks and waveform.id.get_num_chunks() < -(-rows // waveform.chunks[0]) * -(
            -samples // waveform.chunks[1]
        ):
            raise GlatError(f"{pack.filename}: waveforms of some clips were never written; {AGAIN}")
        filters = waveform.id.get_create_plist().get_nfilters()
        self._raw = waveform.dtype == np.dtype("<i2") and waveform.chunks == (1, samples) and not filters
        self._waveform = waveform

    def read(self, i: int, out: np.ndarray, offset: int = 0) -> None:
        row, skipped = divmod(offset, self._samples)
        row += self._first[i]
        if not skipped:
            self._read_row(row, out)
            return
        whole = np.empty(self._samples, np.int16)
        self._read_row(row, whole)
        out[: self._samples - skipped] = whole[skipped:]
        self._read_row(row + 1, whole)
        out[self._samples - skipped :] = whole[:skipped]

    def _read_row(self, row: int, out: np.ndarray) -> None:
        if self._raw:
            self._waveform.id.read_direct_chunk((row, 0), out=out.view(np.uint8))
        else:
            self._waveform.read_direct(out, np.s_[row])


class Span(io.RawIOBase):
    """The bytes from `begin` to `end` of an HDF5 dataset (bytes,) uint8 as a file. An error of HDF5 ends the file, since
    libsndfile passes none on, and is kept as `error`."""

    def __init__(self, source: h5py.Dataset, begin: int, end: int):
        self._source, self._begin, self._size, self._place = source, begin, end - begin, 0
        self.error: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        return self._place

    def readinto(self, out: Any) -> int:
        count = max(min(len(out), self._size - self._place), 0)
        if not count or self.error:
            return 0
        begin = self._begin + self._place
        try:
            self._source.read_direct(np.frombuffer(out, np.uint8, count), np.s_[begin : begin + count])
        except OSError as error:
            self.error = error
            return 0
        self._place += count
        return count


class Flac:
    """A FLAC stream a clip, decoded by the process that reads: the loader's workers, where there are some.

    Of a longer clip only the part is read and decoded, from the FLAC frame on that holds its first sample. Its stream stays
    open, so that its parts in their order decode it once.
    """

    BUFFER = 2**15  # bytes of a longer clip that are read at a time: a second or two

    def __init__(self, pack: h5py.File, length: np.ndarray, samples: int):
        clips, self._length, self._samples = len(length), length, samples
        self._flac = dataset(pack, "flac", "whole numbers", (None,), AGAIN)
        self._end = dataset(pack, "flac_end", "whole numbers", (clips,), AGAIN)[:]
        if self._flac.dtype != np.uint8 or (np.diff(self._end, prepend=0, append=len(self._flac)) < 0).any():
            raise GlatError(f"{pack.filename}: flac_end does not divide flac into {clips} streams; {AGAIN}")
        self._open: tuple[int, Span, soundfile.SoundFile] | None = None  # the longer clip last read

    def read(self, i: int, out: np.ndarray, offset: int = 0) -> None:
        begin, end = int(self._end[i - 1]) if i else 0, int(self._end[i])
        if self._length[i] <= self._samples:
            with soundfile.SoundFile(io.BytesIO(self._flac[begin:end].tobytes())) as stream:
                self._decode(i, stream, out, offset)
            return
        opened, self._open = self._open, None  # what fails is not kept
        same = opened if opened and opened[0] == i else None
        span = same[1] if same else Span(self._flac, begin, end)
        try:
            stream = same[2] if same else soundfile.SoundFile(io.BufferedReader(span, self.BUFFER))
            self._decode(i, stream, out, offset)
        except Exception as error:
            raise span.error or error from None
        self._open = i, span, stream

    def _decode(self, i: int, stream: soundfile.SoundFile, out: np.ndarray, offset: int) -> None:
        length = int(self._length[i])
        if stream.channels != 1 or stream.frames != length:
            raise ValueError(f"{stream.frames} samples of {stream.channels} channels in it, expected {length} of 1")
        if stream.tell() != offset:
            stream.seek(offset)
        if (found := len(stream.read(dtype="int16", out=out))) != len(out):
            raise ValueError(f"it ends after {offset + found} of {length} samples")


class InPlace:
    """A row of another HDF5 file's `waveform` (clips, samples) int16."""

    def __init__(self, pack: h5py.File, length: np.ndarray, samples: int):
        clips = len(length)
        self._files = [Path(name) for name in dataset(pack, "linked_file", "text", (None,), AGAIN).asstr()[:]]
        self._marks = dataset(pack, "linked_mark", "text", (len(self._files),), AGAIN).asstr()[:]
        self._linked = dataset(pack, "linked", "whole numbers", (clips,), AGAIN)[:]
        self._row = dataset(pack, "linked_row", "whole numbers", (clips,), AGAIN)[:]
        if clips and not (self._linked.min() >= 0 and self._linked.max() < len(self._files) and self._row.min() >= 0):
            raise GlatError(f"{pack.filename}: refers to files that it does not name; {AGAIN}")
        self._samples = samples
        self._open: dict[int, h5py.Dataset] = {}

    def read(self, i: int, out: np.ndarray, offset: int = 0) -> None:
        which, row = int(self._linked[i]), int(self._row[i])
        if which not in self._open:
            self._open[which] = self._waveform(which)
        if row >= len(self._open[which]):
            raise ValueError(f"{self._files[which]} has no row {row}")
        self._open[which].read_direct(out, np.s_[row])

    def _waveform(self, which: int) -> h5py.Dataset:
        path = self._files[which]
        file = open_linked(path)
        if mark(file) != self._marks[which]:
            raise GlatError(f"{path}: changed since a pack began to use it in place; download and pack again")
        again = "fetch it anew, or pack with source.in_place: false"
        waveform = dataset(file, "waveform", "whole numbers", (None, None), again, own=False)
        if waveform.dtype.kind != "i" or waveform.shape[1] != self._samples:
            raise GlatError(f"{path}: waveform is {waveform.dtype} {waveform.shape}; pack with source.in_place: false")
        return waveform


def open_linked(path: str | Path) -> h5py.File:
    """An HDF5 file that a pack uses in place, open. Raises GlatError where it can't be."""
    other = "or pack again with source.in_place: false"
    return open_hdf5(
        path, f"the pack uses it in place, but it is gone; put it back, {other}", f"fetch it anew, {other}"
    )


def mark(file: h5py.File) -> str:
    """A hash of what a pack relies on in a file that it uses in place: type and shape of its `waveform`, and the names
    of its rows in their order. Raises GlatError for a file without these."""
    try:
        waveform = file["waveform"]
        digest = hashlib.blake2b(f"{waveform.dtype} {waveform.shape}".encode(), digest_size=16)
        digest.update(np.asarray(file["audio_name"][:], "S").tobytes())
    except DAMAGED as error:
        raise GlatError(
            f"{file.filename}: the pack uses it in place, but {error}; put it back, or pack again with "
            "source.in_place: false"
        ) from None
    return digest.hexdigest()


READERS: dict[str, Callable[[h5py.File, np.ndarray, int], Waveforms]] = {
    "pcm16": Pcm16, "flac": Flac, "in_place": InPlace
}  # fmt: skip


def waveforms(pack: h5py.File, length: np.ndarray, samples: int) -> Waveforms:
    """The reader for an open pack of clips of `length` (clips,) samples each, of which `samples` are read at a time. Raises
    GlatError if it holds something else."""
    codec = pack.attrs.get("codec")
    if codec not in READERS:
        raise GlatError(f"{pack.filename}: codec is {codec!r}, expected one of {', '.join(READERS)}; {AGAIN}")
    return READERS[codec](pack, length, samples)

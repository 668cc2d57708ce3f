"""Rows of HDF5 files, as packs of PANNs and of PaSST have them: `audio_name`, `target`, and the audio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import h5py
import numpy as np
import pandas as pd

from ...lib.errors import DAMAGED, GlatError, brief
from ..audio.clips import AudioError
from ..hdf5 import Written, dataset, open_hdf5
from ..kinds import Kind

ENDINGS = (".h5", ".hdf", ".hdf5")
BLOCK = 10_000  # rows of `target` read at once: 5 MB of 527 classes
# Of a file in compressed chunks of many rows, the chunks that a row is in are wanted again for the next one.
CACHE = 128 * 2**20
MOST_ROWS = 10**8  # of one file: AudioSet has 2 million clips
LONGEST_NAME = 4096  # bytes
AGAIN = "fetch it again"


def open_file(path: str) -> h5py.File:
    """An HDF5 file for reading. Raises GlatError if it can't be opened."""
    absent = "no such file; put it back, or set datasets.*.source.audio and download again"
    return open_hdf5(path, absent, AGAIN, rdcc_nbytes=CACHE, rdcc_nslots=100_003)


def data(file: h5py.File, name: str, kind: str, *shape: int | None) -> h5py.Dataset:
    """A dataset of a file that somebody made (`glat.data.hdf5.dataset`), which may be a link to another file's."""
    try:
        return dataset(file, name, kind, shape, AGAIN, own=False)
    except DAMAGED as error:
        raise GlatError(f"{file.filename}: {name} cannot be read ({brief(error)}); {AGAIN}") from None


def names(path: str, audio: str, rows_of: Callable[[h5py.File], h5py.Dataset]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, (row,)) of each row of a file that has the dataset `audio`; nothing for a file without it.

    rows_of: gives the audio, a row a clip, checked.

    Raises:
        GlatError: `audio_name` lacks, is no text, or has another length than the audio, or what `rows_of` raises.
    """
    with open_file(path) as file:
        if file.get(audio, getlink=True) is None:
            return
        count = len(rows_of(file))
        if file.get("audio_name", getlink=True) is None:
            raise GlatError(f"{path}: needs an audio_name for each row of {audio}, and has none; {AGAIN}")
        column = data(file, "audio_name", "text", None)
        if len(column) != count or count > MOST_ROWS:
            raise GlatError(
                f"{path}: needs an audio_name for each row of {audio}, and has {len(column)} names for {count} rows "
                f"(no more than {MOST_ROWS} are read); {AGAIN}"
            )
        if column.dtype.itemsize > LONGEST_NAME:
            raise GlatError(f"{path}: audio_name has names of {column.dtype.itemsize} bytes; {AGAIN}")
        for begin in range(0, count, BLOCK):
            for row, name in enumerate(_read(column, slice(begin, begin + BLOCK)), begin):
                yield name.decode(errors="replace") if isinstance(name, bytes) else str(name), (row,)


def _read(found: h5py.Dataset, rows: slice) -> np.ndarray:
    """Some rows, in this machine's byte order."""
    try:
        return found[rows]
    except (*DAMAGED, MemoryError) as error:
        raise GlatError(f"{found.file.filename}: {found.name} cannot be read ({brief(error)}); {AGAIN}") from None


def labels(path: str, parts: list[tuple[int, ...]], classes: int, packed: bool) -> np.ndarray | None:
    """(rows, classes) bool: `target` of some rows, ascending; None if the file has none.

    packed: the classes are bits, eight a byte. Raises GlatError if it is of another number of classes.
    """
    rows = np.array([row for (row,) in parts])
    with open_file(path) as file:
        if file.get("target", getlink=True) is None:
            return None
        target = data(file, "target", "whole numbers" if packed else "numbers", None, None)
        if packed and target.dtype != np.uint8:
            raise GlatError(f"{path}: target is {target.dtype}, expected uint8, the bits of eight classes; {AGAIN}")
        width = -(-classes // 8) if packed else classes
        if target.shape[1] != width or rows[-1] >= len(target):
            raise GlatError(
                f"{path}: target has the shape {target.shape}, and {classes} classes need (rows, {width}); use the "
                "class list that it was made with"
            )
        found = []
        for begin in range(0, len(target), BLOCK):
            first, last = np.searchsorted(rows, (begin, begin + BLOCK))
            if last > first:
                found.append(_read(target, slice(begin, begin + BLOCK))[rows[first:last] - begin])
    bits = np.concatenate(found)
    return np.unpackbits(bits, axis=1, count=classes).astype(bool) if packed else bits.astype(bool)


def read(
    listing: pd.DataFrame,
    rows_of: Callable[[h5py.File], h5py.Dataset],
    source: Callable[[h5py.File, h5py.Dataset, int], Any],
) -> Iterator[Any]:
    """`source(file, audio, row)` for each row of the listing, or the `AudioError` of one that cannot be read, or of which not
    all was written.

    rows_of: as `names` has it. One file is open at a time. Raises GlatError for a file that is gone or not whole.
    """
    for path, rows in groupby(zip(listing["file"], listing["part"], strict=True), lambda row: row[0]):
        with open_file(path) as file:
            audio = rows_of(file)
            try:
                written = Written(audio)
            except DAMAGED as error:
                raise GlatError(f"{path}: its index cannot be read ({brief(error)}); {AGAIN}") from None
            for _, part in rows:
                try:
                    there, chunks = written.chunks(int(part))
                    if there == chunks:
                        yield source(file, audio, int(part))
                    elif not there:
                        yield AudioError(Kind.MISSING, "the row was never written")
                    else:
                        yield AudioError(Kind.DAMAGED, f"{there} of the {chunks} chunks of the row were written")
                except (*DAMAGED, MemoryError) as error:
                    yield AudioError(Kind.UNREADABLE, f"row {part}: {brief(error)}")

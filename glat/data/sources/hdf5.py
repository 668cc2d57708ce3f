"""Rows of HDF5 files, as packs of PANNs and of PaSST have them: `audio_name`, `target`, and the audio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import h5py
import numpy as np
import pandas as pd

from ...errors import GlatError
from ...hdf5 import open_hdf5
from ..audio import AudioError

ENDINGS = (".h5", ".hdf", ".hdf5")
BLOCK = 10_000  # rows of `target` read at once: 5 MB of 527 classes
# Of a file in compressed chunks of many rows, the chunks that a row is in are wanted again for the next one.
CACHE = 128 * 2**20


def open_file(path: str) -> h5py.File:
    """An HDF5 file for reading. Raises GlatError if it can't be opened."""
    absent = "no such file; put it back, or set datasets.*.source.audio and download again"
    return open_hdf5(path, absent, "fetch it again", rdcc_nbytes=CACHE, rdcc_nslots=100_003)


def names(path: str, audio: str, check: Callable[[h5py.File], None] | None = None) -> Iterator[tuple[str, tuple[int]]]:
    """(name, (row,)) of each row of a file that has the dataset `audio`; nothing for a file without it.

    Raises:
        GlatError: `audio_name` lacks or has another length than the audio, or what `check` raises.
    """
    with open_file(path) as file:
        if audio not in file:
            return
        if "audio_name" not in file or len(file["audio_name"]) != len(file[audio]):
            count = f"{len(file['audio_name'])} names for {len(file[audio])} rows" if "audio_name" in file else "none"
            raise GlatError(f"{path}: needs an audio_name for each row of {audio}, and has {count}; fetch it again")
        if check:
            check(file)
        column = file["audio_name"][:]
    for row, name in enumerate(column):
        yield name.decode(errors="replace") if isinstance(name, bytes) else str(name), (row,)


def labels(path: str, parts: list[tuple[int]], classes: int, packed: bool) -> np.ndarray | None:
    """(rows, classes) bool: `target` of some rows, ascending; None if the file has none.

    packed: the classes are bits, eight a byte. Raises GlatError if it is of another number of classes.
    """
    rows = np.array([row for (row,) in parts])
    with open_file(path) as file:
        if "target" not in file:
            return None
        target = file["target"]
        width = -(-classes // 8) if packed else classes
        if target.ndim != 2 or target.shape[1] != width or rows[-1] >= len(target):
            raise GlatError(
                f"{path}: target has the shape {target.shape}, and {classes} classes need (rows, {width}); use the "
                "class list that it was made with"
            )
        found = []
        for begin in range(0, len(target), BLOCK):
            first, last = np.searchsorted(rows, (begin, begin + BLOCK))
            if last > first:
                found.append(target[begin : begin + BLOCK][rows[first:last] - begin])
    found = np.concatenate(found)
    return np.unpackbits(found, axis=1, count=classes).astype(bool) if packed else found.astype(bool)


def read(listing: pd.DataFrame, audio: str, source: Callable[[h5py.File, np.ndarray], Any]) -> Iterator[Any]:
    """`source(file, row of audio)` for each row of the listing, or the `AudioError` of one that cannot be read.

    One file is open at a time. Raises GlatError for a file that is gone or not whole.
    """
    for path, rows in groupby(zip(listing["file"], listing["part"]), lambda row: row[0]):
        with open_file(path) as file:
            for _, part in rows:
                try:
                    yield source(file, file[audio][int(part)])
                except (OSError, KeyError, IndexError, ValueError) as error:
                    yield AudioError(f"unreadable: row {part}: {' '.join(str(error).split())[:120]}")

"""The mp3 packs of PaSST and EfficientAT: HDF5 files with `audio_name` (`Y<id>.mp3` or `<id>.mp3`), `mp3`
(variable-length uint8, an MP3 file each) and `target` (bits of the classes, eight a byte)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np
import pandas as pd

from ...lib.errors import GlatError
from ..audio.clips import AudioError
from . import containers, hdf5


class PasstHdf5(containers.Container):
    endings: ClassVar[tuple[str, ...]] = hdf5.ENDINGS

    def names(self, path: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        return hdf5.names(path, "mp3", _files)

    def labels(self, path: str, parts: list[tuple[int, ...]], classes: pd.DataFrame) -> np.ndarray | None:
        return hdf5.labels(path, parts, len(classes), packed=True)

    def read(self, listing: pd.DataFrame, folder: Path, seconds: float = math.inf) -> Iterator[bytes | AudioError]:
        """The MP3 files of the rows of `fetch`'s table, in its order."""
        return hdf5.read(listing, _files, lambda _, mp3, row: mp3[row].tobytes())


def _files(file: h5py.File) -> h5py.Dataset:
    mp3 = hdf5.data(file, "mp3", "variable-length uint8", None)
    if h5py.check_vlen_dtype(mp3.dtype) != np.uint8:
        raise GlatError(f"{file.filename}: mp3 is {mp3.dtype}; a pack has variable-length uint8")
    return mp3

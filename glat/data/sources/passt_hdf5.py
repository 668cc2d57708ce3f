"""The mp3 packs of PaSST and EfficientAT: HDF5 files with `audio_name` (`Y<id>.mp3` or `<id>.mp3`), `mp3`
(variable-length uint8, an MP3 file each) and `target` (bits of the classes, eight a byte)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from ...lib.errors import GlatError
from ..audio.clips import AudioError
from . import Shard, containers, hdf5


class PasstHdf5(containers.Container):
    def fetch(self, shard: Shard) -> pd.DataFrame:
        """Find the row of each segment in the HDF5 files that `audio` names (`containers.find_files`).

        Returns a table clip, file (absolute path), part (row), kind and reason ("no row",
        "ambiguous: ..."), note ("labels differ").

        Raises:
            GlatError: no file, a damaged one or one of another kind, no clip of the shard, or labels that differ.
        """
        assert shard.classes is not None
        paths = containers.find_files(shard, self, {}, hdf5.ENDINGS)
        names = partial(hdf5.names, audio="mp3", rows_of=_files)
        labels = partial(hdf5.labels, classes=len(shard.classes), packed=True)
        return containers.listing(shard, paths, names, labels)

    def read(self, listing: pd.DataFrame, folder: Path, seconds: float = math.inf) -> Iterator[bytes | AudioError]:
        """The MP3 files of the rows of `fetch`'s table, in its order."""
        return hdf5.read(listing, _files, lambda _, mp3, row: mp3[row].tobytes())


def _files(file: h5py.File) -> h5py.Dataset:
    mp3 = hdf5.data(file, "mp3", "variable-length uint8", None)
    if h5py.check_vlen_dtype(mp3.dtype) != np.uint8:
        raise GlatError(f"{file.filename}: mp3 is {mp3.dtype}; a pack has variable-length uint8")
    return mp3

"""The mp3 packs of PaSST and EfficientAT: HDF5 files with `audio_name` (`Y<id>.mp3` or `<id>.mp3`), `mp3`
(variable-length uint8, an MP3 file each) and `target` (bits of the classes, eight a byte)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from ...errors import GlatError
from ..audio import AudioError
from . import Shard, containers, hdf5

CODE = ("matching.py", "../formats.py", "containers.py", "hdf5.py")


Settings = containers.Settings


def fetch(shard: Shard, settings: Settings) -> pd.DataFrame:
    """Find the row of each segment in the HDF5 files that `settings.audio` names (`containers.find_files`).

    Returns a table clip, file (absolute path), part (row), reason ("no row", "ambiguous: ..."), note ("labels differ").

    Raises:
        GlatError: no file, a damaged one or one of another kind, no clip of the shard, or labels that differ.
    """
    paths = containers.find_files(shard, settings, {}, hdf5.ENDINGS)
    names = partial(hdf5.names, audio="mp3", check=_check_mp3)
    labels = partial(hdf5.labels, classes=len(shard.classes), packed=True)
    return containers.listing(shard, paths, names, labels)


def _check_mp3(file: h5py.File) -> None:
    kind = h5py.check_vlen_dtype(file["mp3"].dtype)
    if kind != np.uint8:
        raise GlatError(f"{file.filename}: mp3 is {file['mp3'].dtype}; a pack has variable-length uint8")


def read(listing: pd.DataFrame, folder: Path) -> Iterator[bytes | AudioError]:
    """The MP3 files of the rows of `fetch`'s table, in its order."""
    return hdf5.read(listing, "mp3", lambda _, row: row.tobytes())

"""PANNs' packs: HDF5 files with `audio_name` (`Y<id>.wav`), `waveform` int16, `target` bool, attribute `sample_rate`.

They are resampled and packed anew or, with `in_place: true`, used as they are: their waveforms are not copied, which
needs `audio.sample_rate` and `audio.clip_seconds` as in the files. Rows of zeros, which PANNs wrote for audio that was
missing, are dropped either way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np
import pandas as pd
from pydantic import StrictBool

from ...config.types import HIGHEST_RATE, LONGEST
from ...lib.errors import DAMAGED, GlatError
from ..audio.clips import AudioError, Samples
from ..kinds import Kind
from . import containers, hdf5

ZEROS = "all samples are 0, as packs of PANNs have for audio that was missing"


class PannsHdf5(containers.Container):
    """in_place: the packs refer to the files instead of copying their waveforms."""

    in_place: StrictBool = False
    endings: ClassVar[tuple[str, ...]] = hdf5.ENDINGS

    @property
    def used_in_place(self) -> bool:
        return self.in_place

    def names(self, path: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        return hdf5.names(path, "waveform", _waveforms)

    def labels(self, path: str, parts: list[tuple[int, ...]], classes: pd.DataFrame) -> np.ndarray | None:
        return hdf5.labels(path, parts, len(classes), packed=False)

    def read(self, listing: pd.DataFrame, folder: Path, seconds: float = math.inf) -> Iterator[Samples | AudioError]:
        """The waveforms of the rows of `fetch`'s table, in its order; of a longer one, a sample more than `seconds`."""
        return hdf5.read(listing, _waveforms, partial(_samples, seconds=seconds))


def _waveforms(file: h5py.File) -> h5py.Dataset:
    waveform = hdf5.data(file, "waveform", "numbers", None, None)
    if waveform.dtype.newbyteorder("=") not in (np.int16, np.float32):
        raise GlatError(
            f"{file.filename}: waveform is {waveform.dtype} {waveform.shape}; a pack has int16 (clips, samples)"
        )
    if not (rate := _rate(file)):
        given = f"{file.attrs['sample_rate']!r:.40}, no rate" if "sample_rate" in file.attrs else "missing"
        raise GlatError(
            f"{file.filename}: its attribute sample_rate is {given}; write the rate there with h5py, in whole Hz, up to "
            f"{HIGHEST_RATE}"
        )
    if waveform.shape[1] > LONGEST * rate:
        raise GlatError(
            f"{file.filename}: waveform has {waveform.shape[1]} samples a clip, more than {LONGEST:g} s at {rate} Hz; "
            "fetch it again"
        )
    return waveform


def _samples(file: h5py.File, waveform: h5py.Dataset, row: int, seconds: float) -> Samples | AudioError:
    rate = _rate(file)
    found = waveform[row, : math.floor(min(seconds * rate, waveform.shape[1])) + 1]
    found = found.astype(found.dtype.newbyteorder("="), copy=False)
    all_zeros = len(found) == waveform.shape[1] and not found.any()
    return AudioError(Kind.ZEROS, ZEROS) if all_zeros else Samples(found, rate)


def _rate(file: h5py.File) -> int:
    """Hz; 0 if the file does not say, or says what is no rate."""
    try:
        rate = float(np.ravel(file.attrs["sample_rate"])[0])
    except DAMAGED:
        return 0
    return int(rate) if 1 <= rate <= HIGHEST_RATE and rate.is_integer() else 0

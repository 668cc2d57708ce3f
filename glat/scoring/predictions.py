"""Files of an evaluation besides metrics.json: every score and window (`predictions.h5`), and the influence of each
clip on the metrics (`influence.npz`), by which any two runs are compared without scoring them again."""

from __future__ import annotations

import hashlib
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd

from ..data.hdf5 import DENSEST, dataset, open_hdf5
from ..lib.errors import DAMAGED, GlatError, refusal
from ..lib.files import whole
from .jackknife import Estimate, Jackknife

VERSION = 2  # of these files and of metrics.json
STREAMS = ("fused", "global", "local")
METRICS = Jackknife._fields
NUMBERS = tuple(name for name in Estimate._fields if name not in ("influence", "folds"))


def write_predictions(
    path: Path, predictions: dict[str, np.ndarray], clips: np.ndarray, target: np.ndarray, classes: pd.DataFrame
) -> None:
    """Write predictions as HDF5, with clip names, weak labels (clips, classes) and the class list."""
    with whole(path) as part, h5py.File(part, "w") as file:
        file.attrs["version"] = VERSION
        file["clip"] = clips.astype(h5py.string_dtype())
        file["mid"] = classes["mid"].to_numpy(h5py.string_dtype())
        file["display_name"] = classes["display_name"].to_numpy(h5py.string_dtype())
        file.create_dataset("target", data=target, compression="gzip")
        for name, value in predictions.items():
            file.create_dataset(name, data=value, compression="gzip", shuffle=True)


def read_predictions(path: str | Path) -> dict[str, Any]:
    """Read what `write_predictions` wrote, as arrays and lists by name. Raises GlatError for any other file."""
    again = "evaluate the run again"
    try:
        with open_hdf5(path, f"missing; {again}", again) as file:
            if (version := file.attrs.get("version")) != VERSION:
                raise GlatError(f"{path}: predictions of version {version}, expected {VERSION}; evaluate again")
            found: dict[str, Any] = {}
            for name in ("clip", "mid", "display_name"):
                length = len(found["mid"]) if name == "display_name" else None
                found[name] = list(dataset(file, name, "text", (length,), again).asstr())
            clips, classes = len(found["clip"]), len(found["mid"])
            for name in ("target", *(name for name in file if name not in found)):
                if name in ("part", "begin"):
                    found[name] = dataset(file, name, "numbers", (None,), again)[()]
                    continue
                width = classes if name in ("target", *STREAMS) else None
                rows = None if name in ("windows", "classes") and "part" in file else clips
                found[name] = dataset(file, name, "numbers", (rows, width), again)[()]
            of_parts = [found[name] for name in ("part", "begin", "windows", "classes") if name in found]
            if "part" in found and (len({*map(len, of_parts)}) > 1 or not np.isin(found["part"], range(clips)).all()):
                raise GlatError(f"{path}: damaged predictions: its parts are not those of its clips; {again}")
            return found
    except DAMAGED as error:
        raise GlatError(f"{path}: {refusal(error) or f'damaged predictions ({error}); {again}'}") from None


def clips_hash(clips: np.ndarray, target: np.ndarray) -> str:
    """SHA-256 of the names and labels of the evaluated clips, in order: equal for two runs that were evaluated on the
    same clips."""
    digest = hashlib.sha256("\n".join(map(str, clips)).encode())
    digest.update(np.packbits(np.asarray(target, bool)).tobytes())
    return digest.hexdigest()


class Influence(NamedTuple):
    """The content of influence.npz. Two files are comparable if `clips` (`clips_hash`) is the same. accuracy: of each stream,
    where every clip has one label."""

    clips: str
    streams: dict[str, Jackknife]
    accuracy: dict[str, Estimate] = {}  # noqa: RUF012 - it is not changed


def write_influence(path: Path, found: Influence) -> None:
    """Write the output of `jackknife` for each stream: the influences on mAP, mAUC and d' (and accuracy, where there is
    one) as (3 or 4, clips) float32, and the other numbers of `Estimate` as (3 or 4, 5)."""
    arrays: dict[str, Any] = {}
    for name, stream in found.streams.items():
        estimates = [*stream, *([found.accuracy[name]] if name in found.accuracy else [])]
        arrays[name] = np.stack([one.influence for one in estimates]).astype(np.float32)
        arrays[f"{name}_numbers"] = np.array([[getattr(one, key) for key in NUMBERS] for one in estimates])
    with whole(path) as part:
        np.savez_compressed(part, version=VERSION, clips=found.clips, **arrays)


def read_influence(path: str | Path) -> Influence:
    """Read what `write_influence` wrote. Raises GlatError for any other file."""
    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as file:
            if int(file["version"]) != VERSION:
                raise GlatError(f"{path}: of version {file['version']}, expected {VERSION}; evaluate the run again")
            streams: dict[str, Jackknife] = {}
            accuracy: dict[str, Estimate] = {}
            for name in set(STREAMS) & set(file.files):
                influence, numbers = file[name].astype(np.float64), file[f"{name}_numbers"].tolist()
                estimates = [
                    Estimate(influence=u, **dict(zip(NUMBERS, row, strict=True)))
                    for u, row in zip(influence, numbers, strict=True)
                ]
                streams[name] = Jackknife(*estimates[:3])
                accuracy |= dict.fromkeys([name], estimates[3]) if len(estimates) > 3 else {}
            return Influence(str(file["clips"]), streams, accuracy)
    except (*DAMAGED, zipfile.BadZipFile, zlib.error) as error:
        reason = refusal(error) or "missing, damaged or of another version of glat; evaluate the run again"
        raise GlatError(f"{path}: {reason}") from None


def _check_sizes(path: str | Path) -> None:
    """Raise ValueError, before allocating, if an array of an .npz file claims more bytes than the file can hold."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as file:
                if np.lib.format.read_magic(file) != (1, 0):
                    raise ValueError(f"{entry.filename} has another kind of header")
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            claimed = max(math.prod(shape) * dtype.itemsize, entry.file_size)
            if claimed > min(entry.file_size, DENSEST * entry.compress_size):
                raise ValueError(f"{entry.filename} claims more than is there")

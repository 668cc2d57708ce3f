"""What an evaluation keeps of a run besides metrics.json: every score and window (`predictions.h5`), and the metrics in
each bootstrap resample (`resamples.npz`), from which any two runs are compared without scoring them again."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from .bootstrap import Resampled
from .errors import GlatError
from .files import whole
from .hdf5 import DAMAGED, dataset, open_hdf5

VERSION = 1
STREAMS = ("fused", "global", "local")
METRICS = ("mAP", "mAUC", "d_prime")


def write_predictions(
    path: Path, predictions: dict[str, np.ndarray], clips: np.ndarray, target: np.ndarray, classes: pd.DataFrame
) -> None:
    """Keep predictions as HDF5, with clip names, weak labels (clips, classes) and the class list beside them."""
    with whole(path) as part, h5py.File(part, "w") as file:
        file.attrs["version"] = VERSION
        file["clip"] = clips.astype(h5py.string_dtype())
        file["mid"] = classes["mid"].to_numpy(h5py.string_dtype())
        file["display_name"] = classes["display_name"].to_numpy(h5py.string_dtype())
        file.create_dataset("target", data=target, compression="gzip")
        for name, value in predictions.items():
            file.create_dataset(name, data=value, compression="gzip", shuffle=True)


def read_predictions(path: str | Path) -> dict[str, Any]:
    """What `write_predictions` kept, as arrays and lists by name. Raises GlatError if the file is not such a one."""
    again = "evaluate the run again"
    try:
        with open_hdf5(path, f"missing; {again}", again) as file:
            if file.attrs.get("version") != VERSION:
                raise GlatError(
                    f"{path}: predictions of version {file.attrs.get('version')}, expected {VERSION}; evaluate again"
                )
            found: dict[str, Any] = {}
            for name in ("clip", "mid", "display_name"):
                length = len(found["mid"]) if name == "display_name" else None
                found[name] = list(dataset(file, name, "text", (length,), again).asstr())
            clips, classes = len(found["clip"]), len(found["mid"])
            for name in ("target", *(name for name in file if name not in found)):
                width = classes if name in ("target", *STREAMS) else None
                found[name] = dataset(file, name, "numbers", (clips, width), again)[()]
            return found
    except DAMAGED as error:
        raise GlatError(f"{path}: damaged predictions ({error}); {again}") from None


def clips_hash(clips: np.ndarray, target: np.ndarray) -> str:
    """SHA-256 of the names and labels of the evaluated clips, in order: equal where two runs heard the same clips."""
    digest = hashlib.sha256("\n".join(map(str, clips)).encode())
    digest.update(np.packbits(np.asarray(target, bool)).tobytes())
    return digest.hexdigest()


def write_resamples(path: Path, streams: dict[str, Resampled], clips: str, seed: int) -> None:
    """Keep what `bootstrap.resample` found for each stream: (3, resamples) of mAP, mAUC, d', and the fused AP by class.

    `clips` (`clips_hash`) and `seed` say what was resampled: two files are comparable where both are the same.
    """
    arrays = {name: np.stack([found.values[metric] for metric in METRICS]) for name, found in streams.items()}
    estimates = {f"{name}_estimate": np.array([f.estimate[m] for m in METRICS]) for name, f in streams.items()}
    ap = streams["fused"].ap.astype(np.float32)  # (resamples, classes)
    with whole(path) as part:
        np.savez_compressed(part, version=VERSION, clips=clips, seed=seed, AP=ap, **arrays, **estimates)


def read_resamples(path: str | Path) -> dict[str, Any]:
    """What `write_resamples` kept, by name. Raises GlatError if the file is not such a one."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if int(file["version"]) != VERSION:
                raise GlatError(f"{path}: resamples of version {file['version']}, expected {VERSION}; evaluate again")
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise GlatError(f"{path}: missing, truncated or not resamples; evaluate the run again") from None

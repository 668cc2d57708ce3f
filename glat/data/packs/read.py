"""Reading HDF5 packs: several shards as one corpus, any clip in any order, at the disk's speed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import pandas as pd
import torch

from ...lib.errors import DAMAGED, GlatError, refusal
from ...lib.layout import dataset_of_pack
from ..hdf5 import dataset, open_hdf5
from ..lists.labels import Labels
from .codecs import AGAIN, Waveforms, waveforms
from .format import FORMAT, VERSION

T = TypeVar("T")
HIGHEST_RATE, LONGEST = 768_000, 3600.0  # Hz and seconds that a pack may be of: more is damage


class Packs:
    """Shards of one corpus, opened as one; clip i counts on from shard to shard.

    Everything but the waveforms is read at once: `clips` (names), `start`, `end` (seconds), `source_rate` (Hz),
    `labels` (sparse), `classes` (DataFrame index, mid, display_name), `sample_rate` (Hz), `clip_seconds`, `samples`
    (a clip), `attributes` (one dict a shard). Files are opened for waveforms when first read, once a process, so a
    `Packs` can be forked and pickled.

    Raises GlatError, naming the file, if one is missing, truncated, unfinished, no pack or of another version, if
    shards differ in rate, length or class list, or if a clip is in two of them.
    """

    def __init__(self, paths: Sequence[str | Path] | str | Path):
        self.paths = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
        if not self.paths:
            raise GlatError("no pack given: name at least one .h5 shard")
        shards = [_read_shard(path) for path in self.paths]
        first = shards[0]
        for path, shard in zip(self.paths, shards, strict=True):
            for key in ("sample_rate", "samples"):
                if shard[key] != first[key]:
                    raise GlatError(f"{path}: {key} is {shard[key]}, but {self.paths[0]} has {first[key]}; pack again")
            if not shard["classes"].equals(first["classes"]):
                raise GlatError(f"{path}: its class list differs from that of {self.paths[0]}; pack again")
        self.sample_rate: int = first["sample_rate"]
        self.samples: int = first["samples"]
        self.clip_seconds: float = first["attributes"]["clip_seconds"]
        self.classes: pd.DataFrame = first["classes"]
        self.attributes = [shard["attributes"] for shard in shards]
        self.clips, self.start, self.end, self.source_rate = (
            np.concatenate([shard[key] for shard in shards]) for key in ("clip", "start", "end", "source_rate")
        )
        self.labels = Labels.concatenate([shard["labels"] for shard in shards])
        self._first = np.cumsum([0] + [len(shard["clip"]) for shard in shards])
        self._handles: dict[int, Waveforms] = {}
        self._pid = os.getpid()
        twice = np.flatnonzero(pd.Series(self.clips).duplicated())
        if len(twice):
            path = self.paths[int(np.searchsorted(self._first, twice[0], "right")) - 1]
            raise GlatError(f"{path}: clip {self.clips[twice[0]]} is packed twice; give each shard once")

    def __len__(self) -> int:
        return len(self.clips)

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """(B, samples) float32 waveforms in [-1, 1) of the clips at `indices`. Raises IndexError out of range."""
        out = np.empty((len(indices), self.samples), np.float32)
        raw = np.empty(self.samples, np.int16)
        for row, index in zip(out, indices, strict=True):
            self._read_raw(int(index), raw)
            np.multiply(raw, np.float32(2**-15), out=row)
        return out

    def read_int16(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """(B, samples) int16: the waveforms as stored."""
        out = np.empty((len(indices), self.samples), np.int16)
        for row, index in zip(out, indices, strict=True):
            self._read_raw(int(index), row)
        return out

    def _read_raw(self, index: int, out: np.ndarray) -> None:
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        shard = int(np.searchsorted(self._first, index, "right")) - 1
        try:
            self._waveforms(shard).read(index - int(self._first[shard]), out)
        except DAMAGED as error:  # libsndfile's own is a RuntimeError
            raise GlatError(f"{self.paths[shard]}: clip {self.clips[index]} cannot be read: {error}") from None

    def _waveforms(self, shard: int) -> Waveforms:
        if self._pid != os.getpid():
            # HDF5 handles do not survive a fork.
            self._handles, self._pid = {}, os.getpid()
        if shard not in self._handles:
            clips = int(self._first[shard + 1] - self._first[shard])
            self._handles[shard] = waveforms(open_pack(self.paths[shard]), clips, self.samples)
        return self._handles[shard]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_handles": {}}


class PackedClips(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Clips of `Packs` as a dict: waveform (samples) int16 as stored, target (classes) float32, index. A network's front
    end makes floats of int16 where it computes: half the bytes travel from the loader to a GPU.

    A DataLoader with `collate_fn=as_is` gets whole batches, (B, samples), (B, classes) and (B,), without a copy.
    `only` keeps a subset: indices into the packs, in that order; `index` is then the position in the packs.
    """

    def __init__(self, packs: Packs, only: np.ndarray | None = None):
        self.packs = packs
        self.only = None if only is None else np.asarray(only)

    def __len__(self) -> int:
        return len(self.packs if self.only is None else self.only)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {key: value[0] for key, value in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
        clips = np.asarray(indices, np.int64) if self.only is None else self.only[np.asarray(indices, np.int64)]
        return {
            "waveform": torch.from_numpy(self.packs.read_int16(clips)),
            "target": torch.from_numpy(self.packs.labels.dense(clips, np.float32)),
            "index": torch.from_numpy(clips),
        }


def as_is(batch: T) -> T:
    """The collate function for `PackedClips`, whose batches come collated."""
    return batch


def open_pack(path: Path) -> h5py.File:
    """An open pack. Raises GlatError if it can't be opened, is unfinished, no pack or of another version."""
    name = dataset_of_pack(path)
    step = f"snakemake packs --config dataset={name}" if name else "snakemake packs"
    pack = open_hdf5(path, f"no such pack; `{step}` makes it", AGAIN)
    try:
        if pack.attrs.get("format") != FORMAT:
            raise GlatError(f"{path}: an HDF5 file, but not a pack of glat; give the shards that the pack step wrote")
        if pack.attrs.get("version") != VERSION:
            raise GlatError(
                f"{path}: pack version {pack.attrs.get('version')}, this glat reads version {VERSION}; pack again"
            )
        if not pack.attrs.get("complete", False):
            raise GlatError(f"{path}: the pack was not finished; {AGAIN}")
    except DAMAGED as error:
        pack.close()
        raise GlatError(f"{path}: {refusal(error) or f'damaged pack ({error}); {AGAIN}'}") from None
    except GlatError:
        pack.close()
        raise
    return pack


def _read_shard(path: Path) -> dict[str, Any]:
    with open_pack(path) as pack:
        try:
            attributes = dict(pack.attrs)
            rate, seconds = int(attributes["sample_rate"]), float(attributes["clip_seconds"])
            if not (0 < rate <= HIGHEST_RATE and 0 < seconds <= LONGEST):
                raise ValueError(f"sample_rate {rate} Hz, clip_seconds {seconds}")

            def column(name: str, kind: str, *shape: int | None) -> h5py.Dataset:
                return dataset(pack, name, kind, shape, AGAIN)

            mids, clips = column("class_mid", "text", None).asstr()[:], column("clip", "text", None).asstr()[:]
            names = column("class_name", "text", len(mids)).asstr()[:]
            waveforms(pack, len(clips), round(rate * seconds))
            return {
                "attributes": attributes,
                "sample_rate": rate,
                "samples": round(rate * seconds),
                "classes": pd.DataFrame({"index": np.arange(len(mids)), "mid": mids, "display_name": names}),
                "clip": clips,
                "start": column("start", "numbers", len(clips))[:],
                "end": column("end", "numbers", len(clips))[:],
                "source_rate": column("source_rate", "whole numbers", len(clips))[:],
                "labels": Labels.from_dense(column("target", "whole numbers", len(clips), len(mids))[:]),
            }
        except DAMAGED as error:
            raise GlatError(f"{path}: {refusal(error) or f'damaged pack ({error}); {AGAIN}'}") from None

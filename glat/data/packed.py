"""Reading HDF5 packs: several shards as one corpus, any clip in any order, at the disk's speed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import soundfile
import torch

from glat.data.codecs import Waveforms, waveforms
from glat.data.labels import Labels
from glat.data.pack import FORMAT, VERSION
from glat.errors import GlatError


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
        for path, shard in zip(self.paths, shards):
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
        self.labels = Labels.joined([shard["labels"] for shard in shards])
        self._first = np.cumsum([0] + [len(shard["clip"]) for shard in shards])
        self._handles: dict[int, Waveforms] = {}
        self._pid = os.getpid()
        twice = np.flatnonzero(pd.Series(self.clips).duplicated())
        if len(twice):
            path = self.paths[int(np.searchsorted(self._first, twice[0], "right")) - 1]
            raise GlatError(f"{path}: clip {self.clips[twice[0]]} is packed twice; give each shard once")

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def target(self) -> np.ndarray:
        """(clips, classes) bool weak labels, made anew at each call; `labels` is the sparse form."""
        return self.labels.dense()

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """(B, samples) float32 waveforms in [-1, 1) of the clips at `indices`. Raises IndexError out of range."""
        out = np.empty((len(indices), self.samples), np.float32)
        raw = np.empty(self.samples, np.int16)
        for row, index in zip(out, indices):
            self._read_raw(int(index), raw)
            np.multiply(raw, np.float32(2**-15), out=row)
        return out

    def read_int16(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """(B, samples) int16: the waveforms as stored."""
        out = np.empty((len(indices), self.samples), np.int16)
        for row, index in zip(out, indices):
            self._read_raw(int(index), row)
        return out

    def _read_raw(self, index: int, out: np.ndarray) -> None:
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        shard = int(np.searchsorted(self._first, index, "right")) - 1
        try:
            self._waveforms(shard).read(index - int(self._first[shard]), out)
        except (OSError, ValueError, soundfile.LibsndfileError) as error:
            raise GlatError(f"{self.paths[shard]}: clip {self.clips[index]} cannot be read: {error}") from None

    def _waveforms(self, shard: int) -> Waveforms:
        if self._pid != os.getpid():
            # HDF5 handles do not survive a fork.
            self._handles, self._pid = {}, os.getpid()
        if shard not in self._handles:
            self._handles[shard] = waveforms(open_pack(self.paths[shard]))
        return self._handles[shard]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_handles": {}}


class PackedClips(torch.utils.data.Dataset):
    """Clips of `Packs` as a dict: waveform (samples) float32, target (classes) float32, index.

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

    def __getitems__(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        indices = np.asarray(indices, np.int64)
        indices = indices if self.only is None else self.only[indices]
        return {
            "waveform": torch.from_numpy(self.packs.read(indices)),
            "target": torch.from_numpy(self.packs.labels.dense(indices, np.float32)),
            "index": torch.from_numpy(indices),
        }


def as_is(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The collate function for `PackedClips`, whose batches come collated."""
    return batch


def open_pack(path: Path) -> h5py.File:
    """An open pack. Raises GlatError if it is missing, truncated, unfinished, no pack or of another version."""
    if not path.exists():
        raise GlatError(f"{path}: no such pack; `snakemake packs` makes it")
    try:
        pack = h5py.File(path, "r")
    except OSError as error:
        cause = "truncated" if "truncated" in str(error) else "not a readable HDF5 file"
        raise GlatError(f"{path}: {cause}; delete it and run `snakemake packs` again") from None
    if pack.attrs.get("format") != FORMAT:
        raise GlatError(f"{path}: an HDF5 file, but not a pack of glat; give the shards that the pack step wrote")
    if pack.attrs.get("version") != VERSION:
        raise GlatError(
            f"{path}: pack version {pack.attrs.get('version')}, this glat reads version {VERSION}; pack again"
        )
    if not pack.attrs.get("complete", False):
        raise GlatError(f"{path}: the pack was not finished; delete it and run `snakemake packs` again")
    return pack


def _read_shard(path: Path) -> dict:
    with open_pack(path) as pack:
        try:
            mids, names = pack["class_mid"].asstr()[:], pack["class_name"].asstr()[:]
            return {
                "attributes": dict(pack.attrs),
                "sample_rate": int(pack.attrs["sample_rate"]),
                "samples": round(pack.attrs["sample_rate"] * pack.attrs["clip_seconds"]),
                "classes": pd.DataFrame({"index": np.arange(len(mids)), "mid": mids, "display_name": names}),
                "clip": pack["clip"].asstr()[:],
                "start": pack["start"][:],
                "end": pack["end"][:],
                "source_rate": pack["source_rate"][:],
                "labels": Labels.from_dense(pack["target"][:]),
            }
        except (KeyError, OSError) as error:
            raise GlatError(f"{path}: damaged pack ({error}); delete it and run `snakemake packs` again") from None

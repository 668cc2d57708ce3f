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

from ...config.types import HIGHEST_RATE, LONGEST
from ...lib.errors import DAMAGED, GlatError, refusal
from ...lib.layout import dataset_of_pack
from ..hdf5 import dataset, open_hdf5
from ..lists.labels import Labels
from .codecs import AGAIN, Waveforms, waveforms
from .format import FORMAT, VERSION

T = TypeVar("T")


class Packs:
    """Shards of one corpus, opened as one; clip i counts on from shard to shard.

    Everything but the waveforms is read at once: `clips` (names), `start`, `end` (seconds), `source_rate` (Hz), `length`
    (samples, at least `samples`), `labels` (sparse), `classes` (DataFrame index, mid, display_name), `sample_rate` (Hz),
    `clip_seconds`, `samples` (read of a clip at a time: `clip_seconds` of it), `attributes` (one dict a shard). Files are
    opened for waveforms when first read, once a process, so a
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
        self.clips, self.start, self.end, self.source_rate, self.length = (
            np.concatenate([shard[key] for shard in shards])
            for key in ("clip", "start", "end", "source_rate", "length")
        )
        self._lengths = [shard["length"] for shard in shards]
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

    @property
    def longer(self) -> bool:
        """Whether there are clips of which no more than a part is read at a time."""
        return bool((self.length > self.samples).any())

    def parts(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The parts that the clips at `indices` are covered with: (P,) indices, each as often as its clip has parts, and (P,)
        the sample that each begins at. Parts follow on each other; the last one ends with its clip, and so may overlap."""
        count = -(-self.length[indices] // self.samples)
        clip = np.repeat(indices, count)
        number = np.arange(len(clip)) - np.repeat(np.cumsum(count) - count, count)
        return clip, np.minimum(number * self.samples, self.length[clip] - self.samples)

    def read(
        self, indices: Sequence[int] | np.ndarray, offsets: Sequence[int] | np.ndarray | None = None
    ) -> np.ndarray:
        """(B, samples) float32 waveforms in [-1, 1) of the clips at `indices`, each from the sample `offsets` on (None: from
        its beginning). Raises IndexError out of range."""
        return self.read_int16(indices, offsets) * np.float32(2**-15)

    def read_int16(
        self, indices: Sequence[int] | np.ndarray, offsets: Sequence[int] | np.ndarray | None = None
    ) -> np.ndarray:
        """(B, samples) int16: the waveforms as stored."""
        out = np.empty((len(indices), self.samples), np.int16)
        offsets = np.zeros(len(indices), np.int64) if offsets is None else offsets
        for row, index, offset in zip(out, indices, offsets, strict=True):
            self._read_raw(int(index), row, int(offset))
        return out

    def read_whole(self, index: int) -> np.ndarray:
        """(length,) int16: all of a clip as stored."""
        whole = np.empty(self.length[index], np.int16)
        for begin in self.parts(np.array([index]))[1]:
            self._read_raw(index, whole[begin : begin + self.samples], int(begin))
        return whole

    def _read_raw(self, index: int, out: np.ndarray, offset: int) -> None:
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        if not 0 <= offset <= self.length[index] - self.samples:
            raise IndexError(f"sample {offset} of the {self.length[index]} of clip {self.clips[index]}")
        shard = int(np.searchsorted(self._first, index, "right")) - 1
        try:
            self._waveforms(shard).read(index - int(self._first[shard]), out, offset)
        except DAMAGED as error:  # libsndfile's own is a RuntimeError
            raise GlatError(f"{self.paths[shard]}: clip {self.clips[index]} cannot be read: {error}") from None

    def _waveforms(self, shard: int) -> Waveforms:
        if self._pid != os.getpid():
            # HDF5 handles do not survive a fork.
            self._handles, self._pid = {}, os.getpid()
        if shard not in self._handles:
            self._handles[shard] = waveforms(open_pack(self.paths[shard]), self._lengths[shard], self.samples)
        return self._handles[shard]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_handles": {}}


class PackedClips(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Clips of `Packs` as a dict: waveform (samples) int16 as stored, target (classes) float32, index, offset. A network's
    front end makes floats of int16 where it computes: half the bytes travel from the loader to a GPU.

    A DataLoader with `collate_fn=as_is` gets whole batches, (B, samples), (B, classes), (B,) and (B,), without a copy.
    only, offsets: indices into the packs, and the samples to begin at; item i is then a part of clip `only[i]`, and `index`
    is still its clip's position in the packs.
    """

    def __init__(self, packs: Packs, only: np.ndarray | None = None, offsets: np.ndarray | None = None):
        self.packs = packs
        self.only = np.arange(len(packs)) if only is None else np.asarray(only, np.int64)
        self.offsets = np.zeros(len(self.only), np.int64) if offsets is None else np.asarray(offsets, np.int64)

    def __len__(self) -> int:
        return len(self.only)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {key: value[0] for key, value in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
        return self.batch(self.only[indices], self.offsets[indices])

    def batch(self, clips: np.ndarray, offsets: np.ndarray) -> dict[str, torch.Tensor]:
        """The parts of the clips at `clips` (B,) that begin at the samples `offsets` (B,)."""
        return {
            "waveform": torch.from_numpy(self.packs.read_int16(clips, offsets)),
            "target": torch.from_numpy(self.packs.labels.dense(clips, np.float32)),
            "index": torch.from_numpy(clips),
            "offset": torch.from_numpy(offsets),
        }


class Crops(PackedClips):
    """The same for training: an item is (index, place), where `place` from 0 to 1 says which of the parts that a longer clip
    has is taken."""

    def __getitems__(self, draws: Sequence[tuple[int, float]]) -> dict[str, torch.Tensor]:  # type: ignore[override]
        clips = np.array([clip for clip, _ in draws], np.int64)
        room = self.packs.length[clips] - self.packs.samples + 1
        return self.batch(clips, (np.array([place for _, place in draws]) * room).astype(np.int64))


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
            samples = round(rate * seconds)
            length = np.full(len(clips), samples, np.int64)
            if "length" in pack:
                length = np.maximum(column("length", "whole numbers", len(clips))[:].astype(np.int64), samples)
            waveforms(pack, length, samples)
            return {
                "attributes": attributes,
                "sample_rate": rate,
                "samples": samples,
                "length": length,
                "classes": pd.DataFrame({"index": np.arange(len(mids)), "mid": mids, "display_name": names}),
                "clip": clips,
                "start": column("start", "numbers", len(clips))[:],
                "end": column("end", "numbers", len(clips))[:],
                "source_rate": column("source_rate", "whole numbers", len(clips))[:],
                "labels": Labels.from_dense(column("target", "whole numbers", len(clips), len(mids))[:]),
            }
        except DAMAGED as error:
            raise GlatError(f"{path}: {refusal(error) or f'damaged pack ({error}); {AGAIN}'}") from None

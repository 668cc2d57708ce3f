"""From a resampled shard to one HDF5 file (`format`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from ...lib.errors import GlatError, refusal
from ...lib.files import whole
from ..audio.clips import Statistics
from ..lists import audioset
from ..resample import SUFFIX
from ..shards import STRINGS, need_space, progress
from .codecs import mark, open_linked
from .format import FORMAT, VERSION


def pack_shard(
    resampled: str | Path,
    segments: pd.DataFrame,
    classes: pd.DataFrame,
    out_h5: str | Path,
    out_ledger: str | Path,
    rate: int,
    provenance: dict[str, Any],
) -> tuple[int, int]:
    """Write a resampled shard as one HDF5 file and its ledger (CSV clip, kind, reason, file, part).

    Returns (clips kept, clips lost).

    provenance: `dataset`, `split` and `shard` become attributes; all of it, with hashes of the segment list and of the
    waveforms, the libraries' versions and the creation parameters, is kept as JSON.

    Raises GlatError if the resampled folder is incomplete, of another rate, or not of these segments.
    """
    resampled, out_h5 = Path(resampled), Path(out_h5)
    try:
        made = json.loads((resampled / "audio.json").read_text())
        codec = made["codec"]
        texts = {"clip": str, "blake2b": str, "file": str, "part": str}
        clips = pd.read_csv(resampled / "clips.csv", dtype=texts, keep_default_na=False)
        ledger = pd.read_csv(resampled / "ledger.csv", **STRINGS)[["clip", "kind", "reason", "file", "part"]]
        waveforms = resampled / f"waveform{SUFFIX.get(codec, '')}"
        stored, total = waveforms.stat().st_size if codec in SUFFIX else 0, clips["bytes"].sum()
        found, seconds = made["sample_rate"], float(made["clip_seconds"])
    except (AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        why = refusal(error) or f"not a complete resampled shard ({error}); run resample again"
        raise GlatError(f"{resampled}: {why}") from None
    if found != rate:
        raise GlatError(f"{resampled}: resampled to {found} Hz, but the pack's rate is {rate} Hz")
    if stored != total:
        raise GlatError(f"{resampled}: {stored} bytes of waveforms do not hold {len(clips)} clips; resample")
    ends = clips["bytes"].cumsum()
    clips = clips.assign(begin=ends - clips["bytes"]).set_index("clip")
    asked = segments.set_index("clip")
    if not clips.index.isin(asked.index).all() or len(clips) + len(ledger) != len(segments):
        raise GlatError(f"{resampled}: its clips are not those of the segment list; run resample again")
    chosen = asked.loc[asked.index.isin(clips.index)].reset_index()
    clips = clips.loc[chosen["clip"]]
    target = audioset.targets(chosen, classes)
    samples, length = round(rate * seconds), clips["samples"].to_numpy(np.int64)
    need_space(out_h5, 2 * samples * int((-(-length // samples)).sum()) if codec == "pcm16" else stored)

    facts = {
        "format": FORMAT, "version": VERSION, "sample_rate": rate, "clip_seconds": seconds,
        "clips_asked": len(segments), "clips_lost": len(ledger), "codec": codec,
    }  # fmt: skip
    facts |= {key: str(provenance.get(key, "")) for key in ("dataset", "split", "shard")}
    origin = dict(provenance) | {"segments_sha256": audioset.segments_hash(segments), "resample": made}
    origin["versions"] = {"h5py": version("h5py"), "hdf5": h5py.version.hdf5_version}

    with whole(out_ledger) as path:
        ledger.to_csv(path, index=False)
    with whole(out_h5) as path, h5py.File(path, "w") as pack:
        rows = _rows(waveforms, clips, f"pack {out_h5.name}")
        if codec == "pcm16":
            origin["waveforms_blake2b"] = _write_pcm(pack, rows, int((-(-length // samples)).sum()), samples)
        elif codec == "flac":
            origin["waveforms_blake2b"] = _write_flac(pack, rows, clips["bytes"].to_numpy())
        else:
            origin["waveforms_blake2b"] = _hash(digest.encode() for digest in clips["blake2b"])
            _link(pack, clips)
        if (length > samples).any():
            pack["length"] = length
        pack["clip"] = _utf8(chosen["clip"])
        pack["start"] = chosen["start"].to_numpy(np.float64)
        pack["end"] = chosen["end"].to_numpy(np.float64)
        pack["source_rate"] = clips["source_rate"].to_numpy(np.int32)
        for name in ("source_seconds", *Statistics._fields):
            pack[name] = clips[name].to_numpy(np.float32)
        pack["blake2b"] = _utf8(clips["blake2b"])
        pack.create_dataset("target", data=target.astype(np.uint8), compression="gzip", chunks=True)
        pack["class_mid"] = _utf8(classes["mid"])
        pack["class_name"] = _utf8(classes["display_name"])
        pack.attrs.update(facts | {"provenance": json.dumps(origin, sort_keys=True)})
        pack.attrs["complete"] = True
    return len(clips), len(ledger)


def _rows(waveforms: Path, clips: pd.DataFrame, title: str) -> Iterator[np.ndarray]:
    """The bytes of each clip, read one after the other: pages of a mapped file would count as this process's memory."""
    with open(waveforms, "rb") as file:
        for begin, size in progress(list(zip(clips["begin"], clips["bytes"], strict=True)), title):
            file.seek(begin)
            yield np.frombuffer(file.read(size), np.uint8)


def _hash(rows: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for row in rows:
        digest.update(row)
    return digest.hexdigest()


def _write_pcm(pack: h5py.File, rows: Iterator[np.ndarray], count: int, samples: int) -> str:
    """Write clips of int16 as chunks of `samples`, `count` in all, and return their hash."""
    waveform = pack.create_dataset("waveform", (count, samples), "<i2", chunks=(1, samples))

    def write_rows() -> Iterator[memoryview]:
        i = 0
        for clip in rows:
            for begin in range(0, len(clip), 2 * samples):
                row = clip[begin : begin + 2 * samples]
                row = np.pad(row, (0, 2 * samples - len(row)))
                waveform.id.write_direct_chunk((i, 0), row)
                yield row.data
                i += 1

    return _hash(write_rows())


def _write_flac(pack: h5py.File, rows: Iterator[np.ndarray], sizes: np.ndarray) -> str:
    """Write FLAC streams one after the other, and return their hash."""
    ends = np.cumsum(sizes)
    pack["flac_end"] = ends.astype(np.int64)
    flac = pack.create_dataset("flac", (int(ends[-1]),), np.uint8)

    def write_rows() -> Iterator[memoryview]:
        for row, end in zip(rows, ends, strict=True):
            flac[end - len(row) : end] = row
            yield row.data

    return _hash(write_rows())


def _link(pack: h5py.File, clips: pd.DataFrame) -> None:
    """Say where each waveform is: file, with a mark that tells whether it is still the same one, and row."""
    linked, names = pd.factorize(clips["file"])
    marks = []
    for name in names:
        with open_linked(name) as file:
            marks.append(mark(file))
    pack["linked_mark"] = _utf8(pd.Series(marks))
    pack["linked"] = linked.astype(np.int32)
    pack["linked_row"] = clips["part"].to_numpy(np.int64)
    pack["linked_file"] = _utf8(pd.Series(names))


def _utf8(values: pd.Series) -> np.ndarray:
    encoded = [value.encode() for value in values]
    width = max(map(len, encoded))
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", width))

"""From audio files to HDF5 packs, a shard at a time, in two steps: resample, then pack.

What the download step leaves for a shard is `<shard>.csv`, columns clip,file,reason: `file` is the audio file (a path
relative to the audio folder, or absolute) and `reason` is empty, or `file` is empty and `reason` says why the clip is
lost. Every segment of the shard has one row; a clip without one is lost with the reason `not listed`.

`resample_shard` writes a folder: `waveform.i16` (raw little-endian int16, one row a kept clip), `clips.csv` (clip,
source_rate, source_seconds), `ledger.csv` (clip, reason) and `audio.json` (rate, seconds, clips asked for, versions).

`pack_shard` writes one HDF5 file. Datasets, one row a clip: `waveform` (clips, samples) int16, one chunk a clip;
`clip` UTF-8 names; `start`, `end` float64 seconds in the source video; `target` (clips, classes) uint8 weak labels;
`source_rate` int32 Hz. One row a class: `class_mid`, `class_name`. Attributes: format, version, complete (written
last), sample_rate, clip_seconds, dataset, split, shard, clips_asked, clips_lost, provenance (JSON). There is no time
stamp in it: the same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from multiprocessing.connection import wait
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from tqdm import tqdm

from glat.data import audioset
from glat.data.audio import AudioError, prepare
from glat.errors import GlatError
from glat.files import whole

FORMAT = "glat-pack"
VERSION = 1
STRINGS = {"dtype": str, "keep_default_na": False, "encoding": "utf-8"}


def resample_shard(
    segments: pd.DataFrame,
    listing: pd.DataFrame | str | Path,
    audio_folder: str | Path,
    out_folder: str | Path,
    rate: int = 32000,
    seconds: float = 10.0,
    workers: int = 1,
    min_seconds: float = 0.5,
) -> tuple[int, int]:
    """Decode and resample a shard's audio files into `out_folder`; returns (clips kept, clips lost).

    segments: the shard's rows (`audioset.read_segments`); listing: columns clip, file, reason, or the CSV's path.
    Clips are streamed in the segments' order through `workers` processes, and the bytes written do not depend on
    how many there are. A clip that gives no audio goes to the ledger with its reason, and the others go on.

    Raises GlatError if the listing is not this shard's, every clip is lost, the disk is too small, or a worker dies.
    """
    files, reasons = _files(segments, listing, Path(audio_folder))
    out_folder = Path(out_folder)
    samples = round(rate * seconds)
    _need_space(out_folder, len(files) * samples * 2)
    kept, lost = [], []
    jobs = ((files[clip], rate, seconds, min_seconds) for clip in segments["clip"] if clip in files)
    with whole(out_folder) as folder:
        folder.mkdir()
        with open(folder / "waveform.i16", "wb") as waveform:
            results = _in_order(jobs, workers)
            for clip in _progress(segments["clip"], f"resample {out_folder.name}"):
                if clip in files:
                    row, source_rate, found, reason = next(results)
                else:
                    reason = reasons.get(clip, "not listed")
                if reason:
                    lost.append((clip, reason))
                else:
                    waveform.write(row)
                    kept.append((clip, source_rate, found))
        if not kept:
            common, count = Counter(reason.split(":")[0] for _, reason in lost).most_common(1)[0]
            raise GlatError(
                f"{out_folder}: all {len(lost)} clips of the shard are lost, {count} of them as {common!r} "
                f"(first: {lost[0][0]}, {lost[0][1]}); check the files in {audio_folder}"
            )
        pd.DataFrame(kept, columns=["clip", "source_rate", "source_seconds"]).to_csv(folder / "clips.csv", index=False)
        pd.DataFrame(lost, columns=["clip", "reason"]).to_csv(folder / "ledger.csv", index=False)
        made = {"sample_rate": rate, "clip_seconds": seconds, "min_seconds": min_seconds, "clips_asked": len(segments)}
        made["versions"] = {name: version(name) for name in ("av", "numpy", "soxr")}
        (folder / "audio.json").write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
    return len(kept), len(lost)


def pack_shard(
    resampled: str | Path,
    segments: pd.DataFrame,
    classes: pd.DataFrame,
    out_h5: str | Path,
    out_ledger: str | Path,
    rate: int,
    provenance: dict,
) -> tuple[int, int]:
    """Write a resampled shard as one HDF5 file and its ledger (CSV clip, reason); returns (kept, lost).

    provenance: `dataset`, `split` and `shard` become attributes; all of it, with hashes of the segment list and of the
    waveforms, the libraries' versions and the creation parameters, is kept as JSON.

    Raises GlatError if the resampled folder is incomplete, of another rate, or not of these segments.
    """
    resampled, out_h5 = Path(resampled), Path(out_h5)
    try:
        made = json.loads((resampled / "audio.json").read_text())
        clips = pd.read_csv(resampled / "clips.csv", dtype={"clip": str}, keep_default_na=False)
        ledger = pd.read_csv(resampled / "ledger.csv", **STRINGS)
        rows = np.memmap(resampled / "waveform.i16", "<i2", mode="r")
    except (OSError, ValueError) as error:
        raise GlatError(f"{resampled}: not a complete resampled shard ({error}); run resample again") from None
    samples = round(made["sample_rate"] * made["clip_seconds"])
    if made["sample_rate"] != rate:
        raise GlatError(f"{resampled}: resampled to {made['sample_rate']} Hz, but the pack's rate is {rate} Hz")
    if len(rows) != len(clips) * samples:
        raise GlatError(f"{resampled / 'waveform.i16'}: {2 * len(rows)} bytes do not hold {len(clips)} clips; resample")
    asked = segments.set_index("clip")
    if not clips["clip"].isin(asked.index).all() or len(clips) + len(ledger) != len(segments):
        raise GlatError(f"{resampled}: its clips are not those of the segment list; run resample again")
    chosen = asked.loc[clips["clip"]].reset_index()
    target = audioset.targets(chosen, classes)
    _need_space(out_h5, rows.nbytes)

    facts = {
        "format": FORMAT, "version": VERSION, "sample_rate": rate, "clip_seconds": float(made["clip_seconds"]),
        "clips_asked": len(segments), "clips_lost": len(ledger),
    }  # fmt: skip
    facts |= {key: str(provenance.get(key, "")) for key in ("dataset", "split", "shard")}
    origin = dict(provenance) | {"segments_sha256": audioset.segments_hash(segments), "resample": made}
    origin["versions"] = {"h5py": version("h5py"), "hdf5": h5py.version.hdf5_version}
    origin["waveforms_blake2b"] = hashlib.blake2b(rows, digest_size=16).hexdigest()
    facts["provenance"] = json.dumps(origin, sort_keys=True)

    with whole(out_ledger) as path:
        ledger.to_csv(path, index=False)
    with whole(out_h5) as path, h5py.File(path, "w") as pack:
        waveform = pack.create_dataset("waveform", (len(clips), samples), "<i2", chunks=(1, samples))
        for i in _progress(range(len(clips)), f"pack {out_h5.name}"):
            waveform.id.write_direct_chunk((i, 0), rows[i * samples : (i + 1) * samples])
        pack["clip"] = _utf8(chosen["clip"])
        pack["start"] = chosen["start"].to_numpy(np.float64)
        pack["end"] = chosen["end"].to_numpy(np.float64)
        pack["source_rate"] = clips["source_rate"].to_numpy(np.int32)
        pack.create_dataset("target", data=target.astype(np.uint8), compression="gzip", chunks=True)
        pack["class_mid"] = _utf8(classes["mid"])
        pack["class_name"] = _utf8(classes["display_name"])
        pack.attrs.update(facts)
        pack.attrs["complete"] = True
    return len(clips), len(ledger)


def _files(
    segments: pd.DataFrame, listing: pd.DataFrame | str | Path, folder: Path
) -> tuple[dict[str, Path], dict[str, str]]:
    """Clip to audio file, and clip to the reason why it has none."""
    name = "the listing"
    if not isinstance(listing, pd.DataFrame):
        name = str(listing)
        try:
            listing = pd.read_csv(listing, **STRINGS)
        except (OSError, ValueError) as error:
            raise GlatError(f"{name}: cannot be read as a listing of audio files: {error}") from None
    if not {"clip", "file", "reason"} <= set(listing.columns):
        raise GlatError(f"{name}: columns are {', '.join(listing.columns)}; a listing has clip, file, reason")
    listing = listing[["clip", "file", "reason"]].fillna("")
    stray = listing[~listing["clip"].isin(segments["clip"]) | listing["clip"].duplicated()]
    if len(stray):
        raise GlatError(f"{name}: clip {stray['clip'].iloc[0]} is not in this shard's segments, or is listed twice")
    files, reasons = {}, {}
    for clip, file, reason in listing.itertuples(index=False):
        if file and not reason:
            files[clip] = folder / file
        else:
            reasons[clip] = reason or "not listed"
    return files, reasons


def _prepare(job: tuple) -> tuple[bytes, int, float, str]:
    try:
        row, source_rate, found = prepare(*job)
    except AudioError as error:
        return b"", 0, 0.0, str(error)
    except Exception as error:  # noqa: BLE001 - one file that the decoders choke on must not take the shard with it
        return b"", 0, 0.0, f"undecodable: {type(error).__name__}: {error}"
    return row.astype("<i2", copy=False).tobytes(), source_rate, found, ""


def _in_order(jobs: Iterator[tuple], workers: int) -> Iterator[tuple[bytes, int, float, str]]:
    """Results in the jobs' order, with only a few of them ahead of the reader."""
    if workers <= 1:
        yield from map(_prepare, jobs)
        return
    # Spawned, not forked: the parent may hold threads (torch, HDF5), which a fork would leave half alive.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker)
    ahead = deque()
    try:
        while True:
            while len(ahead) < 4 * workers and (job := next(jobs, None)) is not None:
                ahead.append((job[0], pool.submit(_prepare, job)))
            if not ahead:
                return
            file, result = ahead.popleft()
            try:
                yield result.result()
            except BrokenProcessPool:
                raise GlatError(f"{file}: a worker process died here or just after; out of memory?") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it: a killed parent must not leave workers waiting for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process().sentinel
    threading.Thread(target=lambda: (wait([parent]), os._exit(1)), daemon=True).start()


def _need_space(path: Path, size: int) -> None:
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise GlatError(f"{path}: needs {size / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free; make room")


def _utf8(values: pd.Series) -> np.ndarray:
    encoded = [value.encode() for value in values]
    width = max(map(len, encoded))
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", width))


def _progress(items, title: str) -> Iterator:
    """A bar on a terminal, a plain line each 10 % in a log."""
    if sys.stderr.isatty():
        yield from tqdm(items, title, leave=False)
        return
    total, step = len(items), 0
    for done, item in enumerate(items, 1):
        yield item
        if done * 10 // total > step:
            step = done * 10 // total
            print(f"{title}: {done} of {total}", file=sys.stderr, flush=True)

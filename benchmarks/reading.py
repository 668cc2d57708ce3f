"""Random reads of 10 s clips as float32 from a pack, in one process, against memmap and against reopening the file.

The three take turns on the same random clips, with the files in the page cache, so the software is measured, not the
disk.
Targets: at least 0.8 of the clips per second of numpy.memmap with conversion, and at least twice those of opening the
HDF5 file for each clip.

    python -m benchmarks.reading [--clips 1000] [--batch 32] [--rounds 5]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from .report import environment, report

RATE, SECONDS = 32000, 10.0
SAMPLES = round(RATE * SECONDS)
SCALE = np.float32(2**-15)


def write_pack(folder: Path, clips: int, count: int = 1) -> None:
    """A pack of noise, `pack.h5`, its clips labelled by `count` classes in turn, and the same rows as a raw file."""
    import json

    import pandas as pd

    from glat.data.audio.clips import Statistics
    from glat.data.packs.write import pack_shard

    names = [f"c{i}" for i in range(clips)]
    rows = np.random.default_rng(0).integers(-(2**15), 2**15, (clips, SAMPLES), np.int16)
    rows.tofile(folder / "waveform.i16")
    facts = {
        "source_rate": RATE,
        "source_seconds": SECONDS,
        "samples": SAMPLES,
        "bytes": SAMPLES * 2,
        "blake2b": "",
        "file": "",
        "part": "",
    }
    facts |= dict.fromkeys(Statistics._fields, 0.0)
    pd.DataFrame({"clip": names} | facts).to_csv(folder / "clips.csv", index=False)
    pd.DataFrame(columns=["clip", "kind", "reason", "file", "part"]).to_csv(folder / "ledger.csv", index=False)
    how = {"sample_rate": RATE, "clip_seconds": SECONDS, "codec": "pcm16"}
    (folder / "audio.json").write_text(json.dumps(how))
    labels = [(f"/m/0{i % count}",) for i in range(clips)]
    segments = pd.DataFrame({"clip": names, "start": 0.0, "end": SECONDS, "labels": labels})
    mids = [f"/m/0{i}" for i in range(count)]
    classes = pd.DataFrame({"index": range(count), "mid": mids, "display_name": mids})
    pack_shard(folder, segments, classes, folder / "pack.h5", folder / "lost.csv", RATE, {})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    made_on = environment()

    from glat.data.packs.read import Packs

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pack(folder, options.clips)
        packs = Packs(folder / "pack.h5")
        memmap = np.memmap(folder / "waveform.i16", np.int16, "r", shape=(options.clips, SAMPLES))

        def from_memmap(indices: np.ndarray) -> np.ndarray:
            out = np.empty((len(indices), SAMPLES), np.float32)
            for row, index in zip(out, indices, strict=True):
                np.multiply(memmap[index], SCALE, out=row)
            return out

        def reopening(indices: np.ndarray) -> np.ndarray:
            out = np.empty((len(indices), SAMPLES), np.float32)
            for row, index in zip(out, indices, strict=True):
                with h5py.File(folder / "pack.h5", "r") as pack:
                    np.multiply(pack["waveform"][index], SCALE, out=row)
            return out

        readers = {"numpy.memmap": from_memmap, "glat": packs.read, "open for each clip": reopening}
        seconds = {reader: [] for reader in readers}
        rng = np.random.default_rng(1)
        count = options.clips // options.batch * options.batch
        for turn in range(options.rounds + 1):
            batches = rng.permutation(options.clips)[:count].reshape(-1, options.batch)
            for reader, read in readers.items():
                began = time.perf_counter()
                for indices in batches:
                    wave = read(indices)
                if turn:  # the first turn warms the page cache
                    seconds[reader].append(time.perf_counter() - began)
                else:
                    np.testing.assert_array_equal(wave, from_memmap(indices))
    speed = {reader: count / min(times) for reader, times in seconds.items()}
    report("reading", [
        {"reader": reader, "clips_per_second": speed[reader], "glat_over_this": speed["glat"] / speed[reader],
         "target": {"numpy.memmap": 0.8, "open for each clip": 2.0}.get(reader)}
        for reader in readers
    ], made_on)  # fmt: skip


if __name__ == "__main__":
    main()

"""Resampling and packing against a plain loop: librosa.load(sr=32000, mono=True), pad, int16 writes row by row.

Both run on one core in one process, in turns. The ratio is that of CPU seconds, which other jobs on the machine affect
least; wall-clock seconds are reported too. m4a, which librosa cannot load without FFmpeg, is measured for glat alone.
Target: at least 1.5 times as fast over the formats that both can read, and the same bytes from one worker and from two.

    python -m benchmarks.packing [--clips 24] [--rounds 3]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from .report import environment, report

RATE, SECONDS = 32000, 10.0
SAMPLES = round(RATE * SECONDS)


def plain_loop(files: list[Path], out: Path) -> None:
    import librosa

    with h5py.File(out, "w") as pack:
        waveform = pack.create_dataset("waveform", (len(files), SAMPLES), "int16")
        for i, file in enumerate(files):
            audio, _ = librosa.load(file, sr=RATE, mono=True)
            audio = np.pad(audio, (0, max(0, SAMPLES - len(audio))))[:SAMPLES]
            waveform[i] = np.clip(np.round(audio * 32768), -32768, 32767).astype(np.int16)


def glat_pack(files: list[Path], folder: Path, workers: int = 1) -> Path:
    import pandas as pd

    from glat.data.packs.write import pack_shard
    from glat.data.resample import resample_shard

    clips = [file.stem for file in files]
    segments = pd.DataFrame({"clip": clips, "start": 0.0, "end": SECONDS, "labels": [("/m/0a",)] * len(clips)})
    classes = pd.DataFrame({"index": [0], "mid": ["/m/0a"], "display_name": ["A"]})
    listing = pd.DataFrame({"clip": clips, "file": [file.name for file in files], "reason": ""})
    resample_shard(segments, listing, files[0].parent, folder / "resampled", RATE, SECONDS, workers)
    pack_shard(folder / "resampled", segments, classes, folder / "pack.h5", folder / "ledger.csv", RATE, {})
    return folder / "pack.h5"


def measure(step, *arguments) -> np.ndarray:
    cpu, wall = time.process_time(), time.perf_counter()
    step(*arguments)
    return np.array([time.process_time() - cpu, time.perf_counter() - wall])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    made_on = environment()

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from data_fixtures import encode, tone

    rows, totals = [], np.zeros(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for suffix in (".mp3", ".ogg", ".flac", ".wav", ".m4a"):
            audio = folder / suffix[1:]
            audio.mkdir()
            files = [encode(audio / f"c{i}{suffix}", tone(seed=i)) for i in range(options.clips)]
            baseline = suffix != ".m4a"
            plain, mine = [], []
            if baseline:
                plain_loop(files[:1], folder / "plain.h5")
            glat_pack(files[:1], folder)
            for _ in range(options.rounds):
                if baseline:
                    plain.append(measure(plain_loop, files, folder / "plain.h5"))
                mine.append(measure(glat_pack, files, folder))
            row = {"format": suffix[1:], "clips": options.clips}
            fastest = np.min(mine, axis=0)
            if baseline:
                best = np.min(plain, axis=0)
                totals += best[0], fastest[0]
                row |= {
                    "librosa_cpu_ms": 1e3 * best[0] / options.clips,
                    "librosa_wall_ms": 1e3 * best[1] / options.clips,
                }
                row["ratio"] = best[0] / fastest[0]
            row |= {"glat_cpu_ms": 1e3 * fastest[0] / options.clips, "glat_wall_ms": 1e3 * fastest[1] / options.clips}
            if suffix == ".m4a":
                (folder / "two").mkdir()
                two = glat_pack(files, folder / "two", 2)
                row["equal_1_2_workers"] = two.read_bytes() == (folder / "pack.h5").read_bytes()
            rows.append(row)
        rows.append({"format": "all but m4a", "ratio": totals[0] / totals[1], "target": 1.5})
    report("packing", rows, made_on)


if __name__ == "__main__":
    main()

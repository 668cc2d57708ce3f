"""The codecs of packs, pcm16 and flac: bytes and encoding time per clip, and clips read per second by one process.

The clips are `mini`'s, at 32 kHz and 10 s; how well real recordings compress depends on their noise. Files are in the
page cache, so the processor is measured, not the disk. The last column is the number of processes that must read to
feed a training at 1 000 clips per second.

    python -m benchmarks.codecs [--clips 64] [--rounds 5]
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np

from .report import environment, report, timed

RATE, SECONDS = 32000, 10.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    made_on = environment()

    from glat.data.lists import audioset
    from glat.data.packs.read import Packs
    from glat.data.packs.write import pack_shard
    from glat.data.resample import encode_flac, resample_shard
    from glat.data.sources import Shard
    from glat.data.sources.synthetic import Synthetic

    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = Synthetic(seed=0)
        source.write_lists(folder, {"train": options.clips})
        classes = audioset.read_class_list(folder / "class_labels_indices.csv")
        segments = audioset.read_segments(folder / "train_segments.csv", classes)
        listing = source.fetch(Shard(segments, folder / "audio", "train"))
        packs = {}
        for codec in ("pcm16", "flac"):
            resampled, pack = folder / codec, folder / f"{codec}.h5"
            resample_shard(segments, listing, folder / "audio", resampled, RATE, SECONDS, codec=codec)
            pack_shard(resampled, segments, classes, pack, folder / f"{codec}.csv", RATE, {})
            packs[codec] = Packs(pack)
        samples = packs["pcm16"].read_int16(range(options.clips))
        assert np.array_equal(samples, packs["flac"].read_int16(range(options.clips)))
        with timed() as encoding:
            for clip in samples:
                encode_flac(clip, RATE)
        seconds = {codec: [] for codec in packs}
        for _ in range(options.rounds):
            for codec, opened in packs.items():
                with timed() as reading:
                    opened.read(np.random.default_rng(0).permutation(options.clips))
                seconds[codec].append(reading.seconds)
        plain = (folder / "pcm16.h5").stat().st_size
        for codec in packs:
            speed = options.clips / min(seconds[codec])
            size = (folder / f"{codec}.h5").stat().st_size
            row = {"codec": codec, "kB_per_clip": size / options.clips / 1e3, "size_ratio": size / plain}
            row |= {"encode_ms_per_clip": 1e3 * encoding.seconds / options.clips if codec == "flac" else 0.0}
            row |= {"clips_per_second": speed, "speed_ratio": speed / (options.clips / min(seconds["pcm16"]))}
            rows.append(row | {"readers_for_1000": math.ceil(1000 / speed)})
    report("codecs", rows, made_on)


if __name__ == "__main__":
    main()

"""AudioSet's full size without its audio: 2 041 789 synthetic segments with the label statistics of the unbalanced
list.

The list has as many labels as AudioSet's (4 020 212 by its header), one to a dozen per clip; half of the clips have
Speech or Music, as in AudioSet, and the other classes follow a power law down to a hundred clips. Measured, with aims:
checking and indexing the list (under a minute), reading a shard's rows, the balanced sampler (under 2 s and 300 MB), 10
000 batches of 32 (under 5 s), and Snakemake's dry run of Table 1 on the preset `audioset` (under 10 s).

    python -m benchmarks.scale [--segments 2041789]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np

from .report import environment, report, timed

SEGMENTS, LABELS, CLASSES = 2_041_789, 4_020_212, 527
ALPHABET = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))


def write_lists(folder: Path, segments: int = SEGMENTS, seed: int = 0) -> None:
    """Write class_labels_indices.csv and unbalanced_train_segments.csv, in Google's dialect, into `folder`."""
    rng = np.random.default_rng(seed)
    mids = [f"/m/{c:06x}" for c in range(CLASSES)]
    rows = "".join(f'{c},{mid},"Class {c}"\n' for c, mid in enumerate(mids))
    (folder / "class_labels_indices.csv").write_text("index,mid,display_name\n" + rows)
    share = np.concatenate([[0.25, 0.25], np.arange(3, CLASSES + 1) ** -1.2])
    share[2:] *= 0.5 / share[2:].sum()
    counts = 1 + np.minimum(rng.poisson(LABELS / SEGMENTS - 0.9, segments), 11)
    ends = np.cumsum(counts)
    drawn = rng.choice(CLASSES, ends[-1], p=share)
    # The clip's number in base 64 makes each id unique; the other letters are random.
    digits = np.arange(segments)[:, None] // 64 ** np.arange(4) % 64
    ids = ALPHABET[np.concatenate([rng.integers(64, size=(segments, 7)), digits], axis=1)]
    starts = rng.integers(0, 600, segments) * 10
    with (folder / "unbalanced_train_segments.csv").open("w") as file:
        file.write(
            f"# made up\n# num_ytids={segments}, num_segs={segments}, num_unique_labels={CLASSES}\n# YTID, ...\n"
        )
        for letters, start, first, end in zip(ids, starts, ends - counts, ends, strict=True):
            names = ",".join(mids[c] for c in dict.fromkeys(drawn[first:end].tolist()))
            file.write(f'{"".join(letters)}, {start}.000, {start + 10}.000, "{names}"\n')


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--segments", type=int, default=SEGMENTS)
    options = parser.parse_args()
    made_on = environment()

    from glat.data.lists import audioset, metadata
    from glat.data.sampling import BalancedBatches

    rows = []

    def add(what: str, seconds: float, aim: float | None = None, **more) -> None:
        rows.append({"what": what, "seconds": seconds, "aim_s": aim, **more})

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_lists(folder, options.segments)
        with timed() as checking:
            metadata.check(folder, "audioset", CLASSES, {"unbalanced_train": options.segments})
        with timed() as indexing:
            classes = audioset.read_class_list(folder / "class_labels_indices.csv")
            segments = audioset.read_segments(folder / "unbalanced_train_segments.csv", classes)
            labels = audioset.labels(segments, classes)
        with timed() as hashing:
            audioset.segments_hash(audioset.shard_rows(segments, 0, 50_000))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        with timed() as alone:
            audioset.read_segments(folder / "unbalanced_train_segments.csv", classes, range(50_000))
        add("lists checked", checking.seconds)
        add("index built", indexing.seconds)
        add("both", checking.seconds + indexing.seconds, 60, peak_MB=peak)
        add("one shard's rows, hashed", hashing.seconds)
        add("one shard's rows read, as resample and pack do", alone.seconds)
        del segments
    tracemalloc.start()
    with timed() as ready:
        batches = BalancedBatches(labels, 32, 0)
        batches.batch(0)
    megabytes = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    with timed() as drawing:
        for k in range(10_000):
            batches.batch(k)
    add("sampler ready", ready.seconds, 2, peak_MB=megabytes, aim_MB=300)
    add("10 000 batches", drawing.seconds, 5)

    root = Path(__file__).parents[1]
    call = [sys.executable, "-m", "snakemake", "results/table1.csv", "-n", "-q", "all", "--cores", "8"]
    with timed() as dag:
        subprocess.run(
            [*call, "--config", "dataset=audioset"], cwd=root, check=True, env=os.environ, stdout=subprocess.DEVNULL
        )
    add("dry run of Table 1", dag.seconds, 10)
    report("scale", rows, made_on)


if __name__ == "__main__":
    main()

"""The cost of each source of AudioSet in hours and bytes. It is computed, not measured: from the sizes of the lists,
the speeds that `benchmarks.packing` and `benchmarks.codecs` measured (benchmarks/results), and the assumptions below.
Prints the table of docs/audioset.md.

    python -m benchmarks.costs
"""

from __future__ import annotations

import json
from typing import NamedTuple

from glat.data.sources.youtube import YouTube

from .report import RESULTS

SIZES = {"balanced + eval": 22_160 + 20_371, "all": 22_160 + 2_041_789 + 20_371}
CORES = 8
PCM_BYTES = 320_000 * 2
# Assumptions. A clip is 10 s of Opus at about 130 kbit/s, or mp3 at 128 kbit/s; the Hugging Face copies are as
# large as their cards say (49.8 GB for 35 827 clips). YouTube serves what the source `youtube` requests: 300 clips
# an hour, 1 800 with cookies. A disk reads and writes 500 MB/s.
OPUS, MP3, HUGGING_FACE = 163_000, 160_000, 49_805_654_900 / 35_827
DISK = 500e6


class Way(NamedTuple):
    kind: str
    how: str
    source_bytes: float  # per clip, before packing
    download_seconds: float  # per clip, wall clock
    cpu_seconds: float  # per clip, to decode and resample
    packs: bool  # whether packs contain the samples


def ways() -> list[Way]:
    """The five sources and the cost of a clip in each."""
    rows = json.loads((RESULTS / "packing.json").read_text())["rows"]
    cpu = {row["format"]: row["glat_cpu_ms"] / 1e3 for row in rows if "glat_cpu_ms" in row}
    return [
        Way("youtube", "", OPUS, YouTube().interval(), cpu["m4a"], True),
        Way("youtube", "with cookies", OPUS, YouTube(cookies="cookies.txt").interval(), cpu["m4a"], True),
        Way("files", "m4a or opus", OPUS, 0, cpu["m4a"], True),
        Way("panns_hdf5", "repacked", PCM_BYTES, 0, 0, True),
        Way("panns_hdf5", "in place", PCM_BYTES, 0, 0, False),
        Way("passt_hdf5", "", MP3, 0, cpu["mp3"], True),
        Way("parquet", "", HUGGING_FACE, 0, cpu["flac"], True),
    ]


def packing(way: Way, packed_bytes: float, encode_seconds: float) -> float:
    """Seconds per clip: of the processors or of the disk, whichever takes longer. The disk reads the source, writes the
    samples, reads them and writes them again."""
    disk = (way.source_bytes + 3 * packed_bytes) / DISK
    return max((way.cpu_seconds + encode_seconds) / CORES, disk)


def amount(gigabytes: float) -> str:
    return f"{gigabytes / 1e3:.1f} TB" if gigabytes >= 1e3 else f"{gigabytes:.0f} GB"


def duration(seconds: float) -> str:
    hours = seconds / 3600
    if hours < 1:
        return f"{seconds / 60:.0f} min"
    return f"{hours:.1f} h" if hours < 72 else f"{hours / 24:.0f} days"


def main() -> None:
    codecs = {row["codec"]: row for row in json.loads((RESULTS / "codecs.json").read_text())["rows"]}
    flac, encode = PCM_BYTES * codecs["flac"]["size_ratio"], codecs["flac"]["encode_ms_per_clip"] / 1e3
    head = ["`source.kind`", "clips asked for", "size of source", "time to download"]
    head += [f"{what}, {codec}" for codec in ("pcm16", "flac") for what in ("time to pack", "size of packs")]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for way in ways():
        for of, clips in SIZES.items():
            cells = [f"`{way.kind}`{', ' if way.how else ''}{way.how}", f"{of}: {clips:,}"]
            cells += [amount(way.source_bytes * clips / 1e9)]
            cells += [duration(way.download_seconds * clips) if way.download_seconds else "-"]
            if way.packs:
                for size, work in ((PCM_BYTES, 0.0), (flac, encode)):
                    cells += [duration(packing(way, size, work) * clips), amount(size * clips / 1e9)]
            else:
                cells += [duration(packing(way, 0, 0) * clips), "none", "-", "-"]
            print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()

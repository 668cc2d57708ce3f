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

CORES = 8
PCM_BYTES = 320_000 * 2
# Assumptions. A clip is 10 s of Opus at about 130 kbit/s, mp3 at 128 kbit/s, or 16-bit WAV at 16 kHz. YouTube serves what
# the source `youtube` requests: 300 clips an hour, 1 800 with cookies. A disk reads and writes 500 MB/s, and a line from
# the Hugging Face Hub brings 100 Mbit/s.
OPUS, MP3, WAV = 163_000, 160_000, 320_000
DISK, LINE = 500e6, 100e6 / 8


def clips(balanced: int, unbalanced: int, evaluation: int) -> dict[str, int]:
    """The sizes of the two presets."""
    return {"balanced + eval": balanced + evaluation, "all": balanced + unbalanced + evaluation}


class Audio(NamedTuple):
    """What there is of AudioSet in a source, by preset."""

    clips: dict[str, int]
    bytes: dict[str, float]

    @classmethod
    def of_size(cls, each: float, there: dict[str, int]) -> Audio:
        """Clips of `each` bytes."""
        return cls(there, {preset: each * count for preset, count in there.items()})


LISTED = clips(22_160, 2_041_789, 20_371)  # in AudioSet's lists
# What the cards of the open copies say. The second gives no bytes.
PARQUET = Audio(
    clips(18_685, 1_738_788, 17_142), {"balanced + eval": 49_805_654_900, "all": 2_433_673_104_977}
)  # agkphysics/AudioSet
TARS = Audio.of_size(WAV, clips(20_550, 1_912_024, 18_886))  # confit/audioset-16khz-wds


class Way(NamedTuple):
    kind: str
    how: str
    audio: Audio
    cpu_seconds: float  # per clip, to decode and resample
    download_seconds: float = 0  # per clip, wall clock
    line: float = 0  # bytes a second; 0: there is no download, or it is bound by its pace
    packs: bool = True  # whether packs contain the samples

    def download(self, preset: str) -> float:
        """Seconds."""
        by_line = self.audio.bytes[preset] / self.line if self.line else 0
        return self.download_seconds * self.audio.clips[preset] + by_line

    def packing(self, preset: str, packed_bytes: float, encode_seconds: float) -> float:
        """Seconds: of the processors or of the disk, whichever takes longer. The disk reads the source, writes the samples,
        reads them and writes them again."""
        count = self.audio.clips[preset]
        disk = (self.audio.bytes[preset] + 3 * packed_bytes * count) / DISK
        return max((self.cpu_seconds + encode_seconds) * count / CORES, disk)


def ways() -> list[Way]:
    """The sources, and what a clip costs in each."""
    rows = json.loads((RESULTS / "packing.json").read_text())["rows"]
    cpu = {row["format"]: row["glat_cpu_ms"] / 1e3 for row in rows if "glat_cpu_ms" in row}
    opus, pcm, mp3 = (Audio.of_size(each, LISTED) for each in (OPUS, PCM_BYTES, MP3))
    return [
        Way("huggingface", "`agkphysics/AudioSet`", PARQUET, cpu["flac"], line=LINE),
        Way("huggingface", "`confit/audioset-16khz-wds`", TARS, cpu["wav"], line=LINE),
        Way("youtube", "", opus, cpu["m4a"], YouTube().interval()),
        Way("youtube", "with cookies", opus, cpu["m4a"], YouTube(cookies="cookies.txt").interval()),
        Way("files", "m4a or opus", opus, cpu["m4a"]),
        Way("panns_hdf5", "repacked", pcm, 0),
        Way("panns_hdf5", "in place", pcm, 0, packs=False),
        Way("passt_hdf5", "", mp3, cpu["mp3"]),
        Way("parquet", "", PARQUET, cpu["flac"]),
        Way("webdataset", "", TARS, cpu["wav"]),
    ]


def amount(gigabytes: float) -> str:
    return f"{gigabytes / 1e3:.1f} TB" if gigabytes >= 1e3 else f"{gigabytes:.0f} GB"


def duration(seconds: float) -> str:
    hours = seconds / 3600
    if hours < 1:
        return f"{seconds / 60:.0f} min"
    return f"{hours:.1f} h" if hours < 72 else f"{hours / 24:.0f} days"


def table() -> str:
    """The table, in Markdown."""
    codecs = {row["codec"]: row for row in json.loads((RESULTS / "codecs.json").read_text())["rows"]}
    flac, encode = PCM_BYTES * codecs["flac"]["size_ratio"], codecs["flac"]["encode_ms_per_clip"] / 1e3
    head = ["`source.kind`", "clips", "size of source", "time to download"]
    head += [f"{what}, {codec}" for codec in ("pcm16", "flac") for what in ("time to pack", "size of packs")]
    lines = [head, ["---"] * len(head)]
    for way in ways():
        for preset, listed in LISTED.items():
            count, download = way.audio.clips[preset], way.download(preset)
            cells = [f"`{way.kind}`{', ' if way.how else ''}{way.how}", f"{preset}: {count:,}"]
            cells[1] += f" of {listed:,}" if count < listed else ""
            cells += [amount(way.audio.bytes[preset] / 1e9), duration(download) if download else "-"]
            if way.packs:
                for size, work in ((PCM_BYTES, 0.0), (flac, encode)):
                    cells += [duration(way.packing(preset, size, work)), amount(size * count / 1e9)]
            else:
                cells += [duration(way.packing(preset, 0, 0)), "none", "-", "-"]
            lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    print(table())


if __name__ == "__main__":
    main()

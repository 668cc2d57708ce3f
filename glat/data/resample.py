"""From audio files to waveforms of one rate, a shard at a time.

What the download step leaves for a shard is `<shard>.csv`, columns clip, file, part, kind, reason. Of a clip that is there,
`file` is the audio file (relative to the audio folder, or absolute) and `part` says where in it the clip is (empty: all of
it; else as the source's `read` understands it). Of one that is lost, `kind` is the kind of the loss (`kinds.Kind`) and
`reason` says why. Every segment of the shard has one row; a clip without one is lost as `not listed`. Clips are read in
the table's order. (The columns behind these are the list's: `glat.data.lists.listings`.)

`resample_shard` writes a folder: the waveforms, one after the other in the order of reading, as `waveform.i16` (codec
pcm16: little-endian int16), `waveform.flac` (codec flac: one FLAC stream a clip) or not at all (used in place);
`clips.csv` (a row a kept clip: `Row`), `ledger.csv` (clip, kind, reason, name of its file, part) and `audio.json` (how all
this was made).
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import soundfile

from ..lib.errors import GlatError
from ..lib.escaping import printable
from ..lib.files import whole
from ..lib.redaction import redact
from .audio.clips import OVERHANG, UNLIMITED, AudioError, Limits, Samples, Statistics, prepare, statistics
from .kinds import Kind, Loss
from .lists import listings
from .shards import in_order, need_space, progress
from .sources import read_files

SUFFIX = {"pcm16": ".i16", "flac": ".flac"}
BYTES = {"pcm16": 2.0, "flac": 1.2}  # a sample; FLAC takes half to two thirds of 2, as the recordings' noise lets it


class Row(NamedTuple):
    """What is known of a kept clip: rate in Hz and length in seconds of its source, how many samples it has, their
    `audio.clips.Statistics` and hash, the stored bytes, and where it came from."""

    clip: str
    source_rate: int
    source_seconds: float
    samples: int
    peak: float
    mean: float
    rms: float
    clipped: float
    jumps: float
    blake2b: str
    bytes: int
    file: str
    part: str


class _Found(NamedTuple):
    payload: bytes
    source_rate: int
    source_seconds: float
    samples: int
    statistics: Statistics
    blake2b: str


def resample_shard(
    segments: pd.DataFrame,
    listing: pd.DataFrame,
    audio_folder: str | Path,
    out_folder: str | Path,
    rate: int = 32000,
    seconds: float = 10.0,
    workers: int = 1,
    min_seconds: float = 0.5,
    codec: str = "pcm16",
    read: Callable[[pd.DataFrame, Path, float], Iterator[Any]] = read_files,
    in_place: bool = False,
    limits: Limits = UNLIMITED,
    recordings: bool = False,
) -> tuple[int, int]:
    """Decode and resample a shard's audio into `out_folder`; returns (clips kept, clips lost).

    segments: the shard's rows (`audioset.read_segments`); listing: the download step's table; read: the source's `read`,
    for audio that does not lie in files of its own; in_place: keep no waveform, only where it is; limits: what one clip may
    cost; recordings: keep files without a part whole, however long. A clip has `seconds`, or as much of its segment as there
    is, where that is longer. Clips are streamed through `workers` processes, and the bytes written do not depend on how many
    there are. A clip that gives no audio goes to the ledger with its reason, and the others go on.

    Raises GlatError if the listing is not this shard's, every clip is lost, the disk is too small, a worker dies, or a
    clip that is to be used in place has another rate or length.
    """
    audio_folder, out_folder = Path(audio_folder), Path(out_folder)
    listing = listings.check(listing, "the listing")
    if len(stray := listing[~listing["clip"].isin(segments["clip"]) | listing["clip"].duplicated()]):
        clip = stray["clip"].iloc[0]
        raise GlatError(
            f"the listing: clip {clip} is not in this shard's segments, or is listed twice; run `glat download`"
        )
    there = listing[(listing["kind"] == "") & (listing["file"] != "")]
    length = dict(zip(segments["clip"], segments["end"] - segments["start"], strict=True))  # in seconds
    if not in_place:
        clips = np.maximum(seconds, [0.0 if recordings else length[clip] for clip in there["clip"]])
        need_space(out_folder, round(float(clips.sum()) * rate * BYTES[codec]))
    longest = {row.clip: math.inf if recordings and not row.part else length[row.clip] for row in there.itertuples()}
    most = max([seconds, *longest.values()]) + OVERHANG
    sources: Iterator[Any] = zip(there.itertuples(), read(there, audio_folder, most), strict=True)
    if in_place:
        sources = _fitting(sources, rate, round(rate * seconds))
    jobs = (
        (row.clip, source, rate, seconds, min_seconds, None if in_place else codec, limits, longest[row.clip])
        for row, source in sources
    )
    losses = dict.fromkeys(segments["clip"], Loss.of(Kind.NOT_LISTED))
    losses |= {row.clip: Loss(Kind(row.kind), row.reason) for row in listing.itertuples() if row.kind}
    kept: list[Row] = []
    with whole(out_folder) as folder:
        folder.mkdir()
        with open(folder / f"waveform{SUFFIX[codec]}", "wb") as waveform:
            # Recordings may be long: few results wait in memory.
            results = in_order(_prepare, jobs, workers, lambda clip, *_: f"clip {clip}", 1 if recordings else 4)
            for place in progress(list(listing.itertuples()), f"resample {out_folder.name}"):
                if place.kind or not place.file:
                    continue
                found = next(results)
                if isinstance(found, Loss):
                    losses[place.clip] = found
                    continue
                del losses[place.clip]
                waveform.write(found.payload)
                measured = (*found.statistics, found.blake2b, len(found.payload), place.file, place.part)
                kept.append(Row(place.clip, found.source_rate, found.source_seconds, found.samples, *measured))
        if in_place:
            (folder / f"waveform{SUFFIX[codec]}").unlink()
        places = {row.clip: (Path(row.file).name, row.part) for row in there.itertuples()}
        lost = [(clip, *losses[clip], *places.get(clip, ("", ""))) for clip in segments["clip"] if clip in losses]
        if not kept:
            common, count = Counter(loss.kind for loss in losses.values()).most_common(1)[0]
            if len(there):
                place = next(there.itertuples())
                part = f" (part {place.part})" if place.part else ""
                first = f"{place.clip} in {audio_folder / place.file}{part}, {losses[place.clip].reason}"
                check = "check that file and the others that source.audio names"
            else:
                first, check = f"{lost[0][0]}, {lost[0][2]}", "check what source.audio names"
            raise GlatError(
                f"{out_folder}: all {len(lost)} clips of the shard are lost, {count} of them as {common.value!r} "
                f"(first: {first}); {check}"
            )
        pd.DataFrame(kept, columns=Row._fields).to_csv(folder / "clips.csv", index=False)
        columns = ["clip", "kind", "reason", "file", "part"]
        pd.DataFrame(lost, columns=columns).to_csv(folder / "ledger.csv", index=False)
        made: dict[str, Any] = {"sample_rate": rate, "clip_seconds": seconds, "min_seconds": min_seconds}
        made |= {"clips_asked": len(segments), "codec": "in_place" if in_place else codec}
        made["versions"] = {name: version(name) for name in ("av", "numpy", "soundfile", "soxr")}
        (folder / "audio.json").write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
    return len(kept), len(lost)


def _fitting(sources: Iterator[tuple[Any, Any]], rate: int, samples: int) -> Iterator[tuple[Any, Any]]:
    """The sources as they come, if each can be used as it is; in place, nothing can be resampled, padded or cut."""
    for row, source in sources:
        if isinstance(source, Samples):
            length = len(source.samples) if len(source.samples) <= samples else f"more than {samples}"
            have = f"{length} samples of {source.samples.dtype} at {source.rate} Hz"
            if have != (need := f"{samples} samples of int16 at {rate} Hz"):
                raise GlatError(
                    f"{row.file}: row {row.part} (clip {row.clip}) has {have}, and used in place it must have {need}; "
                    "set datasets.*.source.in_place: false, or audio.sample_rate and audio.clip_seconds to the file's"
                )
        elif not isinstance(source, AudioError):
            raise GlatError(f"{row.file}: only an HDF5 file of waveforms can be used in place; set in_place: false")
        yield row, source


def _prepare(
    _clip: str,
    source: Any,
    rate: int,
    seconds: float,
    min_seconds: float,
    codec: str | None,
    limits: Limits,
    longest: float,
) -> _Found | Loss:
    try:
        samples, source_rate, found, wraps = prepare(source, rate, seconds, min_seconds, limits, longest)
    except AudioError as error:
        return Loss(error.kind, str(error))
    except Exception as error:
        return Loss.of(Kind.UNDECODABLE, printable(redact(f"{type(error).__name__}: {error}")))
    stored = samples.astype("<i2", copy=False).tobytes()
    digest = hashlib.blake2b(stored, digest_size=16).hexdigest()
    if codec == "flac":
        stored = encode_flac(samples, rate)
    return _Found(stored if codec else b"", source_rate, found, len(samples), statistics(samples, wraps), digest)


def encode_flac(samples: np.ndarray, rate: int) -> bytes:
    """(samples,) int16 as a FLAC stream: lossless, and the same bytes wherever the same libsndfile is."""
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format="FLAC", subtype="PCM_16")
    return stream.getvalue()

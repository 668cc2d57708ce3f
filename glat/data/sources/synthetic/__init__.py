"""A weakly labelled corpus that is made, not downloaded: AudioSet's formats, ids and names, synthesised sound.

The segments CSV of a split says which classes a clip holds and how long it lasts. All else (how many events, when,
how loud, over what) is drawn from (seed, split, index in the split), so any clip can be made alone, in any order, by
any process. Encoded bytes repeat on the same machine with the same library versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import pandas as pd
from pydantic import AfterValidator, Field

from ....config.types import UniqueList
from ....lib import dependencies
from ....lib.errors import GlatError
from ....lib.files import whole
from ....lib.layout import CLASS_LIST, segment_list, strong_list
from ...shards import in_order, progress
from .. import ListedSource, Shard, mixer
from ..mixer import generator
from .backgrounds import BACKGROUNDS
from .sounds import SOUNDS, Sound
from .waves import RATE, log_uniform

BIT_RATE = 96_000
CLIP_SECONDS = 10.0
YOUTUBE_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
BY_MID = {sound.mid: sound for sound in SOUNDS}
REPEATABLE = {sound.mid for sound in SOUNDS if sound.seconds[1] <= mixer.REPEATABLE_SECONDS}


def _known(names: list[str]) -> list[str]:
    known = [sound.name for sound in SOUNDS]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{unknown[0]!r} is not a sound; allowed are {', '.join(map(repr, known))}")
    return names


class Synthetic(mixer.Mixture, ListedSource):
    """What a user may choose of the corpus: beside what `mixer.Mixture` has, the classes, by their names in `sounds.SOUNDS`;
    None for all. A class's rank is that of its sound."""

    classes: Annotated[UniqueList[str], Field(min_length=1), AfterValidator(_known)] | None = None

    @property
    def sounds(self) -> list[Sound]:
        """The classes, in AudioSet's order."""
        return [sound for sound in SOUNDS if self.classes is None or sound.name in self.classes]

    @property
    def has_strong_labels(self) -> bool:
        return True

    def write_lists(self, folder: Path, splits: dict[str, int], store: Path = Path()) -> None:
        """Write the class list, and of each split (name: number of clips) the weak and the strong labels, into `folder`.

        `class_labels_indices.csv`: index, mid, display_name. `<split>_segments.csv`: YTID, start_seconds, end_seconds,
        positive_labels. `<split>_strong.tsv`: segment_id (`<YTID>_<start in ms>`), start_time_seconds, end_time_seconds
        (from the start of the segment), label.
        """
        classes = [f'{index},{sound.mid},"{sound.name}"' for index, sound in enumerate(self.sounds)]
        mixer.write_lines(folder / CLASS_LIST, ["index,mid,display_name", *classes])
        for split, count in splits.items():
            segments = ["YTID,start_seconds,end_seconds,positive_labels"]
            strong = ["segment_id\tstart_time_seconds\tend_time_seconds\tlabel"]
            for index, labels in enumerate(draw_labels(split, count, self)):
                rng = generator(self.seed, split, index, "segment")
                start = float(rng.choice([0, 0, 30, 30, 10 * int(rng.integers(1, 40))]))
                seconds = self.draw_seconds(rng, CLIP_SECONDS)
                name = youtube_id(self.seed, split, index)
                segments.append(f'{name},{start:.3f},{start + seconds:.3f},"{",".join(labels)}"')
                clip, events = f"{name}_{start * 1000:.0f}", draw_events(split, index, labels, seconds, self)
                strong += [f"{clip}\t{event.start:.3f}\t{event.end:.3f}\t{event.mid}" for event in events]
            mixer.write_lines(folder / segment_list(split), segments)
            mixer.write_lines(folder / strong_list(split), strong)

    def fetch(self, shard: Shard) -> pd.DataFrame:
        """Make the audio of a shard, as `<clip>.m4a`. A file that an earlier call made from the same row and settings is kept.

        Returns one row a segment: clip, file (its name in the folder), reason (why there is no file: always '' here).
        Raises GlatError for a class that cannot be synthesised.
        """
        segments, folder, split = shard.segments, shard.folder, shard.split
        folder.mkdir(parents=True, exist_ok=True)
        jobs = []
        for index, row in enumerate(segments.itertuples(index=False), start=shard.first):
            if unknown := set(row.labels) - BY_MID.keys():
                raise GlatError(
                    f"clip {row.clip} of split {split}: no synthesiser for class {', '.join(sorted(unknown))}"
                )
            seconds = round(float(row.end) - float(row.start), 3)
            jobs.append((folder / f"{row.clip}.m4a", split, index, tuple(sorted(row.labels)), seconds, self))
        made = in_order(_make, jobs, min(shard.workers, len(jobs)), lambda path, *_: str(path))
        for _ in progress(made, f"{split}: make audio", len(jobs)):
            pass
        files = [job[0].name for job in jobs]
        return pd.DataFrame({"clip": list(segments["clip"]), "file": files, "reason": [""] * len(files)})


def youtube_id(seed: int, split: str, index: int) -> str:
    """11 characters of YouTube's alphabet; as there, some begin with '-'."""
    digest = hashlib.blake2b(f"{seed}/{split}/{index}/id".encode(), digest_size=11).digest()
    return "".join(YOUTUBE_ALPHABET[byte % 64] for byte in digest)


def draw_labels(split: str, count: int, settings: Synthetic) -> list[list[str]]:
    """`mixer.draw_labels` of the corpus's classes."""
    ranks = np.argsort(np.argsort([sound.rank for sound in settings.sounds])) + 1
    return mixer.draw_labels(split, count, [sound.mid for sound in settings.sounds], ranks, settings)


def draw_events(
    split: str, index: int, labels: Iterable[str], seconds: float, settings: Synthetic
) -> list[mixer.Event]:
    """`mixer.draw_events` of one clip: short sounds perhaps more than once, and without those that are missing."""

    def draw(rng: np.random.Generator, mid: str) -> tuple[float, None]:
        return log_uniform(rng, *BY_MID[mid].seconds), None

    events = mixer.draw_events(split, index, labels, seconds, draw, REPEATABLE, settings)
    return mixer.heard(split, index, events, settings)


def render(split: str, index: int, labels: Iterable[str], seconds: float, settings: Synthetic) -> np.ndarray:
    """The audio of one clip, (2, samples) float32 at 44.1 kHz, its peak between -18 and -3 dB of full scale."""
    rng = generator(settings.seed, split, index, "mixture")
    background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))](rng, round(seconds * RATE))

    def sounds() -> Iterator[tuple[int, np.ndarray]]:
        for event in draw_events(split, index, labels, seconds, settings):
            start = round(event.start * RATE)
            yield start, BY_MID[event.mid].make(rng, min(round(event.end * RATE), background.shape[1]) - start)

    return mixer.mix(rng, background, sounds(), settings.snr_db)


def encode(path: Path, audio: np.ndarray, comment: str) -> None:
    """Write (2, samples) float32 at 44.1 kHz as AAC in an MP4 container, without the date or the encoder's version.

    The container records the encoder's delay, so a decoder that heeds it (FFmpeg does) gives sample 0 first.
    """
    with av.open(str(path), "w", format="ipod", options={"fflags": "+bitexact"}) as container:
        container.metadata["comment"] = comment
        # The slower of the encoder's searches ("twoloop", its default) more than doubles the time of making a clip.
        options = {"aac_coder": "fast", "flags": "+bitexact"}
        stream = container.add_stream("aac", rate=RATE, layout="stereo", options=options)
        stream.bit_rate = BIT_RATE
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio), format="fltp", layout="stereo")
        frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def _make(path: Path, split: str, index: int, labels: tuple[str, ...], seconds: float, settings: Synthetic) -> None:
    """Make one file, unless the same one is there."""
    key = split, index, labels, seconds
    made_from = repr((_recipe(), *key, settings.seed, settings.snr_db, settings.events, settings.missing))
    comment = hashlib.blake2b(made_from.encode(), digest_size=16).hexdigest()
    if path.exists() and _comment(path) == comment:
        return
    with whole(path) as part:
        encode(part, render(*key, settings), comment)


@cache
def _recipe() -> str:
    """A hash of the code: files that other code made are made again."""
    return dependencies.digest(__name__)


def _comment(path: Path) -> str | None:
    try:
        with av.open(str(path)) as container:
            return container.metadata.get("comment")
    except (av.FFmpegError, OSError):
        return None

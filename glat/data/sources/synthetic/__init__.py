"""A weakly labelled corpus that is made, not downloaded: AudioSet's formats, ids and names, synthesised sound.

The segments CSV of a split says which classes a clip holds and how long it lasts. All else (how many events, when,
how loud, over what) is drawn from (seed, split, index in the split), so any clip can be made alone, in any order, by
any process. Encoded bytes repeat on the same machine with the same library versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import av
import numpy as np
import pandas as pd
from pydantic import AfterValidator, BeforeValidator, Field

from ....config.types import Natural, Share, UniqueList
from ....lib import dependencies
from ....lib.errors import GlatError
from ....lib.files import whole
from ....lib.layout import CLASS_LIST, segment_list, strong_list
from ...shards import in_order, progress
from .. import ListedSource, Shard
from .backgrounds import BACKGROUNDS
from .sounds import SOUNDS, Sound
from .waves import RATE, log_uniform

BIT_RATE = 96_000
CLIP_SECONDS = 10.0
# A class whose events can last longer than this occurs once in a clip: two rains are one rain.
REPEATABLE_SECONDS = 2.0
YOUTUBE_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
BY_MID = {sound.mid: sound for sound in SOUNDS}


def _pair(kind: type) -> BeforeValidator:
    def check(value: Any) -> tuple[Any, Any]:
        try:
            low, high = (kind(number) for number in value)
            if [low, high] == list(value) and low <= high:
                return low, high
        except (TypeError, ValueError):
            pass
        raise ValueError(f"{value!r}: give [lowest, highest]")

    return BeforeValidator(check)


def _known(names: list[str]) -> list[str]:
    known = [sound.name for sound in SOUNDS]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{unknown[0]!r} is not a sound; allowed are {', '.join(map(repr, known))}")
    return names


def _events(value: tuple[int, int]) -> tuple[int, int]:
    if not value[0] >= 1 or value[1] > len(SOUNDS):
        raise ValueError(f"{list(value)}: give [fewest, most] per clip, from 1 to {len(SOUNDS)}")
    return value


class Synthetic(ListedSource):
    """What a user may choose of the corpus.

    seed: of all that is drawn. classes: their names in `sounds.SOUNDS`; None for all. skew: the class of rank r is drawn
    with a probability proportional to r^-skew; at 1.25 the most frequent of sixteen is in some 20 times as many clips as
    the rarest, since a clip holds a class once however often it is drawn. missing: share of events that are labelled and
    not there. snr_db: lowest and highest ratio, in dB, of an event's mean power over its duration to the background's
    over the clip, drawn uniformly. events: fewest and most events in a clip. short_clips: share of clips of 3 to 9.5 s.
    """

    seed: Natural
    classes: Annotated[UniqueList[str], Field(min_length=1), AfterValidator(_known)] | None = None
    skew: Annotated[float, Field(ge=0, le=3)] = 1.25
    missing: Share = 0.0
    snr_db: Annotated[tuple[float, float], _pair(float)] = (-15.0, 15.0)
    events: Annotated[tuple[int, int], _pair(int), AfterValidator(_events)] = (1, 4)
    short_clips: Share = 0.08

    @property
    def sounds(self) -> list[Sound]:
        """The classes, in AudioSet's order."""
        return [sound for sound in SOUNDS if self.classes is None or sound.name in self.classes]

    def write_lists(self, folder: Path, splits: dict[str, int], store: Path = Path()) -> None:
        """Write the class list, and of each split (name: number of clips) the weak and the strong labels, into `folder`.

        `class_labels_indices.csv`: index, mid, display_name. `<split>_segments.csv`: YTID, start_seconds, end_seconds,
        positive_labels. `<split>_strong.tsv`: segment_id (`<YTID>_<start in ms>`), start_time_seconds, end_time_seconds
        (from the start of the segment), label.
        """
        classes = [f'{index},{sound.mid},"{sound.name}"' for index, sound in enumerate(self.sounds)]
        _write_lines(folder / CLASS_LIST, ["index,mid,display_name", *classes])
        for split, count in splits.items():
            segments = ["YTID,start_seconds,end_seconds,positive_labels"]
            strong = ["segment_id\tstart_time_seconds\tend_time_seconds\tlabel"]
            for index, labels in enumerate(draw_labels(split, count, self)):
                rng = generator(self.seed, split, index, "segment")
                start = float(rng.choice([0, 0, 30, 30, 10 * int(rng.integers(1, 40))]))
                short = rng.random() < self.short_clips
                seconds = float(rng.integers(6, 20)) / 2 if short else CLIP_SECONDS
                name = youtube_id(self.seed, split, index)
                segments.append(f'{name},{start:.3f},{start + seconds:.3f},"{",".join(labels)}"')
                clip, events = f"{name}_{start * 1000:.0f}", draw_events(split, index, labels, seconds, self)
                strong += [f"{clip}\t{event.start:.3f}\t{event.end:.3f}\t{event.mid}" for event in events]
            _write_lines(folder / segment_list(split), segments)
            _write_lines(folder / strong_list(split), strong)

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


class Event(NamedTuple):
    """One sound in a clip: class id, start and end in seconds from the start of the clip, to the millisecond."""

    mid: str
    start: float
    end: float


def generator(*key: object) -> np.random.Generator:
    """The random generator of a key such as (seed, split, index, purpose): equal keys, equal numbers."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def youtube_id(seed: int, split: str, index: int) -> str:
    """11 characters of YouTube's alphabet; as there, some begin with '-'."""
    digest = hashlib.blake2b(f"{seed}/{split}/{index}/id".encode(), digest_size=11).digest()
    return "".join(YOUTUBE_ALPHABET[byte % 64] for byte in digest)


def draw_labels(split: str, count: int, settings: Synthetic) -> list[list[str]]:
    """Class ids of each clip of a split, sorted: `count` lists of 1 to `settings.events[1]` ids.

    Each class is in at least max(5, 1 %) clips, or as near to it as a split of few clips allows: where the draw left
    a class short, it takes the place of the most frequent class of a clip.
    """
    mids = [sound.mid for sound in settings.sounds]
    ranks = np.argsort(np.argsort([sound.rank for sound in settings.sounds])) + 1
    shares = ranks**-settings.skew
    clips = []
    for index in range(count):
        rng = generator(settings.seed, split, index, "labels")
        size = _event_count(split, index, settings)
        clips.append({mids[i] for i in rng.choice(len(mids), size, p=shares / shares.sum())})
    held = {mid: sum(mid in clip for clip in clips) for mid in mids}
    order = generator(settings.seed, split, "order").permutation(count)
    # Level by level, so that in a split too small for the full minimum no class is left without a clip for another.
    for level in range(1, max(5, -(-count // 100)) + 1):
        for mid in mids:
            for index in order:
                if held[mid] >= level:
                    break
                donor = max(clips[index], key=lambda other: (held[other], other))
                if mid not in clips[index] and held[donor] > level:
                    clips[index] = clips[index] - {donor} | {mid}
                    held[donor] -= 1
                    held[mid] += 1
    return [sorted(clip) for clip in clips]


def draw_events(split: str, index: int, labels: Iterable[str], seconds: float, settings: Synthetic) -> list[Event]:
    """Events of one clip of `seconds`, in order of start: each label at least once, short sounds perhaps again; without
    those that are missing."""
    rng = generator(settings.seed, split, index, "events")
    mids = sorted(labels)
    repeatable = [mid for mid in mids if BY_MID[mid].seconds[1] <= REPEATABLE_SECONDS]
    extra = _event_count(split, index, settings) - len(mids)
    if repeatable and extra > 0:
        mids += [repeatable[i] for i in rng.integers(len(repeatable), size=extra)]
    events = []
    for mid in mids:
        duration = round(min(log_uniform(rng, *BY_MID[mid].seconds), seconds), 3)
        start = round(rng.uniform(0, seconds - duration), 3)
        events.append(Event(mid, start, min(round(start + duration, 3), seconds)))
    events.sort(key=lambda event: (event.start, event.mid, event.end))
    heard = generator(settings.seed, split, index, "heard").random(len(events)) >= settings.missing
    return [event for event, there in zip(events, heard, strict=True) if there]


def _event_count(split: str, index: int, settings: Synthetic) -> int:
    return int(generator(settings.seed, split, index, "count").integers(settings.events[0], settings.events[1] + 1))


def _write_lines(path: Path, lines: list[str]) -> None:
    with whole(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def render(split: str, index: int, labels: Iterable[str], seconds: float, settings: Synthetic) -> np.ndarray:
    """The audio of one clip, (2, samples) float32 at 44.1 kHz, its peak between -18 and -3 dB of full scale."""
    rng = generator(settings.seed, split, index, "mixture")
    mixture = BACKGROUNDS[rng.integers(len(BACKGROUNDS))](rng, round(seconds * RATE))
    mixture = mixture / np.sqrt(np.mean(mixture**2))
    for event in draw_events(split, index, labels, seconds, settings):
        start = round(event.start * RATE)
        sound = BY_MID[event.mid].make(rng, min(round(event.end * RATE), mixture.shape[1]) - start)
        level = 10 ** (rng.uniform(*settings.snr_db) / 20) / np.sqrt(np.mean(sound**2))
        pan = np.pi / 4 * (1 + rng.uniform(-0.8, 0.8))  # constant power: 0 is hard left, pi / 2 hard right
        for channel, side in enumerate((np.cos(pan), np.sin(pan))):
            mixture[channel, start : start + len(sound)] += np.float32(level * side * np.sqrt(2)) * sound
    return mixture * np.float32(10 ** (rng.uniform(-18, -3) / 20) / np.abs(mixture).max())


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

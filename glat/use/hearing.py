"""Recordings through a network: read piece by piece, cut into clips, and heard in batches that several recordings share."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
import soxr
import torch

from ..data.audio.clips import SILENCE, UNLIMITED, AudioError, Limits, Mono, blocks
from ..data.kinds import Kind
from ..data.randomness import clip_generators
from ..lib.errors import GlatError
from ..models.tagger import Tagger
from ..models.timeline import Timeline
from ..models.twostream import Streams

SILENT = "silent throughout (all samples are equal, but for -90 dB of full scale): its scores say nothing about a sound"
LOUDEST = 100.0  # samples relative to full scale, which float files may pass; more is no sound in [-1, 1]
BATCH = {"cpu": 8, "cuda": 32}  # clips that a network gets at once
SHORTEST = 0.01  # seconds, of a sound
TAIL = 0.1  # seconds behind a clip that are no clip of their own: what codecs leave at the end of a sound is shorter
PIECE = 10.0  # seconds over which `Mono` judges whether channels cancel, and that are held while a file is read
T = TypeVar("T")


class Heard(NamedTuple):
    """One clip of a recording, from `start` to `end` in seconds; the arrays have B = 1."""

    start: float
    end: float
    streams: Streams
    timeline: Timeline | None  # where it was asked for


class End(NamedTuple):
    """The end of a recording: its length in seconds, as far as it was heard; whether it is `SILENT`; and the error that ended
    it early, if one did."""

    seconds: float
    silent: bool
    error: AudioError | None = None


def is_silent(waveform: np.ndarray) -> bool:
    """Whether (samples,), zeros behind them aside, hold no sound: `SILENT`."""
    sound = np.trim_zeros(waveform, "b")
    return not len(sound) or float(np.ptp(sound)) < 2 * SILENCE


class _Clip(NamedTuple):
    name: str  # what random windows are drawn by
    start: float  # seconds
    samples: np.ndarray  # (samples,), at most as many as the network hears


def stream(
    source: Path | BinaryIO | bytes, rate: int, max_seconds: float = math.inf, limits: Limits = UNLIMITED
) -> Iterator[np.ndarray]:
    """An audio file of any format, or its bytes, as pieces of (samples,) float32 mono at `rate`, of some seconds each:
    memory does not grow with its length.

    Decoding stops soon after `max_seconds`, and some seconds before the sound is beyond `limits`. What is lost in the middle
    of a damaged sound is silence, and the error comes behind the rest of it.

    Raises:
        AudioError: it gives no audio, samples that are not finite, or more than `limits` allow; perhaps after some
            pieces, where only decoding tells.
    """
    resampler = None
    try:
        for mono, source_rate in _mono(source, max_seconds, limits):
            if resampler is None:
                resampler = soxr.ResampleStream(source_rate, rate, 1, dtype="float32", quality="HQ")
            yield resampler.resample_chunk(mono)
    except AudioError:
        if resampler is not None:
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        raise
    assert resampler is not None  # there is one piece at least
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _mono(source: Path | BinaryIO | bytes, max_seconds: float, limits: Limits) -> Iterator[tuple[np.ndarray, int]]:
    """Pieces of (samples,) float32 mono and their rate, and at last the AudioError of `stream`, if there is one."""
    mono, start, rate = Mono(), 0, 0

    def add(samples: np.ndarray) -> None:
        mono.add(samples)

    try:
        for _, rate in blocks(source, max_seconds, limits, add):
            if mono.samples >= PIECE * rate:
                full, mono = mono, Mono()
                yield from _sound(full, start, rate)
                start += full.samples
    except AudioError:
        if rate and mono.samples:
            yield from _sound(mono, start, rate)
        raise
    if start + mono.samples < SHORTEST * rate:
        took = 1000 * mono.samples / rate
        raise AudioError(Kind.TOO_SHORT, f"{took:.3g} ms, and {1000 * SHORTEST:g} ms are the least")
    yield from _sound(mono, start, rate)


def _sound(mono: Mono, start: int, rate: int) -> Iterator[tuple[np.ndarray, int]]:
    """The samples of a piece that begins at the sample `start`, up to one that is none, which raises AudioError."""
    samples = mono.mix()
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~(np.abs(samples) <= LOUDEST))
    if not len(wrong):
        yield samples, rate
        return
    first = samples[wrong[0]]
    if wrong[0]:
        yield samples[: wrong[0]], rate
    at = f"from {(start + wrong[0]) / rate:.2f} s on"
    if not np.isfinite(first):
        raise AudioError(Kind.NOT_FINITE, f"NaN or infinite samples, {at}")
    raise AudioError(Kind.TOO_LOUD, f"samples of {abs(first):.3g} times full scale, {at}; scale them to [-1, 1]")


def listen(
    source: Path | BinaryIO | bytes, rate: int, max_seconds: float = math.inf, limits: Limits = UNLIMITED
) -> np.ndarray:
    """All of `stream` as one: (samples,) float32 mono at `rate`. Raises AudioError as `stream` does."""
    return np.concatenate(list(stream(source, rate, max_seconds, limits)))


def first_clip(path: Path, rate: int, seconds: float) -> np.ndarray:
    """(samples,) float32 at `rate`: the first `seconds` of a file, with silence behind it if it is short. Raises GlatError:
    it gives no audio."""
    length = round(rate * seconds)
    try:
        mono = listen(path, rate, seconds)[:length]
    except AudioError as error:
        raise GlatError(f"{path}: {error}") from None
    return np.pad(mono, (0, length - len(mono))).astype(np.float32)


def hear(
    tagger: Tagger,
    sounds: Iterable[tuple[str, Iterable[np.ndarray]]],
    seconds: float,
    *,
    hop: float | None = None,
    seed: int = 0,
    over_time: bool = False,
) -> Generator[Heard | End, None, None]:
    """Of each sound, a name and pieces of (samples,) at the network's rate: the clips in it, one by one, and its `End`.

    A clip of `seconds` begins each `hop` seconds (None: one behind the other), until one reaches the end, but for less than
    `TAIL` seconds; that one is zero-padded. Random windows are those of an evaluation by `seed`: of the clip `name` in the
    first clip, and of `name` and its start in seconds in later ones. An AudioError of the pieces ends its sound alone, as do
    scores that are not finite. The next sounds are read while the network computes. over_time: whether there are scores over
    time, too.
    """
    rate, device = tagger.front_end.sample_rate, next(tagger.parameters()).device
    length, step = round(rate * seconds), round(rate * (hop or seconds))
    items = (one for name, pieces in sounds for one in _cut(name, pieces, rate, length, step))
    failed = False
    for batch in _batches(_ahead(items, 2 * BATCH[device.type]), BATCH[device.type]):
        found = iter(_scored(tagger, [one for one in batch if isinstance(one, _Clip)], length, seed, over_time))
        for one in batch:
            if isinstance(one, End):
                if not failed:
                    yield one
                failed = False
                continue
            heard = next(found)
            if failed:
                continue
            if failed := not bool(heard.streams.fused.isfinite().all()):
                why = f"its scores from {heard.start:g} s on; try another checkpoint"
                yield End(heard.start, False, AudioError(Kind.NOT_FINITE, why))
            else:
                yield heard


def clips(
    tagger: Tagger, mono: np.ndarray | Iterable[np.ndarray], seconds: float, name: str = "", seed: int = 0, **how: Any
) -> Iterator[Heard]:
    """The clips that `hear` hears in one sound, (samples,) or pieces of it. Raises AudioError where that ends with one."""
    for one in hear(tagger, [(name, [mono] if isinstance(mono, np.ndarray) else mono)], seconds, seed=seed, **how):
        if isinstance(one, Heard):
            yield one
        elif one.error:
            raise one.error


def clip_count(samples: int, length: int, rate: int) -> int:
    """How many clips of `length` samples, one behind the other, `hear` hears in a sound at `rate`: see `TAIL`."""
    return max(1, math.ceil((samples - TAIL * rate) / length))


def clip_name(name: str, start: float) -> str:
    """What the random windows of the clip of a sound that begins at `start` seconds are drawn by: those `glat tag` hears."""
    return f"{name}@{start:g}" if start else name


def _scored(tagger: Tagger, clips: list[_Clip], length: int, seed: int, over_time: bool) -> Iterator[Heard]:
    """What the network makes of a batch of clips, clip by clip, on the CPU."""
    if not clips:
        return
    rate, device = tagger.front_end.sample_rate, next(tagger.parameters()).device
    waveform = torch.from_numpy(np.stack([np.pad(c.samples, (0, length - len(c.samples))) for c in clips])).float()
    draw = clip_generators(seed, [clip_name(c.name, c.start) for c in clips])
    with torch.inference_mode():
        if over_time:
            streams, timeline = tagger.timeline(waveform.to(device), draw)
        else:
            streams, timeline = tagger.streams(waveform.to(device), draw), None

    def split(parts: Iterable[torch.Tensor | None]) -> list[Any]:
        return [[None] * len(clips) if part is None else part.cpu().split(1) for part in parts]

    of_clips = zip(*split(streams), strict=True)
    of_time = zip(*split(timeline[1:]), strict=True) if timeline is not None else iter([None] * len(clips))
    for clip, one, frames in zip(clips, of_clips, of_time, strict=True):
        end = clip.start + len(clip.samples) / rate
        over = None if timeline is None or frames is None else Timeline(timeline.frame, *frames)
        yield Heard(clip.start, end, Streams(*one), over)


def _cut(name: str, pieces: Iterable[np.ndarray], rate: int, length: int, step: int) -> Iterator[_Clip | End]:
    """Pieces of any length as clips of `length` samples, one each `step` samples, the last one perhaps shorter."""
    rest, first, low, high, error = np.zeros(0, np.float32), 0, math.inf, -math.inf, None
    try:
        for piece in pieces:
            low, high = float(piece.min(initial=low)), float(piece.max(initial=high))
            rest = np.concatenate([rest, piece])
            while len(rest) > length:
                yield _Clip(name, first / rate, rest[:length])
                rest, first = rest[step:], first + step
    except AudioError as found:
        error = found.with_traceback(None)  # which holds what decoded it
    heard = length - step if first else 0  # samples of the rest that the clip before has, too
    if len(rest) > heard + (TAIL * rate if first else 0):
        yield _Clip(name, first / rate, rest)
    yield End((first + len(rest)) / rate, high - low < 2 * SILENCE, error)


def _batches(items: Iterable[_Clip | End], size: int) -> Iterator[list[_Clip | End]]:
    """Clips in lists of `size`, with the ends between them; the last one perhaps shorter."""
    batch: list[_Clip | End] = []
    many = 0
    for one in items:
        batch.append(one)
        many += isinstance(one, _Clip)
        if many == size:
            yield batch
            batch, many = [], 0
    if batch:
        yield batch


def _ahead(items: Iterator[T], most: int) -> Iterator[T]:
    """The same items, made in a thread up to `most` ahead. Decoding and resampling hold no lock of Python's."""
    made: queue.Queue[tuple[bool, Any]] = queue.Queue(most)
    stopped = threading.Event()

    def put(one: tuple[bool, Any]) -> bool:
        while not stopped.is_set():
            try:
                made.put(one, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for one in items:
                if not put((True, one)):
                    return
            put((False, None))
        except BaseException as error:
            put((False, error))

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while (found := made.get())[0]:
            yield found[1]
        if found[1] is not None:
            raise found[1]
    finally:
        stopped.set()
        thread.join()

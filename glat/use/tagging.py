"""Tagging audio files with a trained network."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soxr
import torch

from ..config.runs import Run
from ..data.audio.clips import UNLIMITED, AudioError, Limits, Mono, blocks
from ..data.kinds import Kind
from ..data.randomness import clip_generators
from ..lib import hardware
from ..lib.errors import GlatError
from ..models.tagger import Tagger
from ..models.twostream import Streams
from ..training import checkpoints
from . import hub_folder

LOUDEST = 100.0  # samples relative to full scale, which float files may pass; more is no sound in [-1, 1]
BATCH = 8  # clips that a network gets at once
PIECE = 10.0  # seconds over which `Mono` judges whether channels cancel, and that are held while a file is read


class Tag(NamedTuple):
    file: Path
    start: float  # of the clip inside the file, in seconds
    end: float
    label: str
    score: float  # probability


class Failure(NamedTuple):
    file: Path
    reason: str


def stream(
    source: Path | BinaryIO | bytes, rate: int, max_seconds: float = math.inf, limits: Limits = UNLIMITED
) -> Iterator[np.ndarray]:
    """An audio file of any format, or its bytes, as pieces of (samples,) float32 mono at `rate`, of some seconds each:
    memory does not grow with its length.

    Decoding stops soon after `max_seconds`. limits: beyond them, the sound is refused.

    Raises:
        AudioError: it gives no audio, samples that are not finite, or more than `limits` allow; perhaps after some
            pieces, where only decoding tells.
    """
    resampler, mono = None, Mono()

    def hear(samples: np.ndarray) -> None:
        mono.add(samples)

    for _, source_rate in blocks(source, max_seconds, limits, hear):
        if resampler is None:
            resampler = soxr.ResampleStream(source_rate, rate, 1, dtype="float32", quality="HQ")
        if mono.samples >= PIECE * source_rate:
            yield resampler.resample_chunk(_finite(mono.mix()))
            mono = Mono()
    yield resampler.resample_chunk(_finite(mono.mix()), last=True)


def _finite(mono: np.ndarray) -> np.ndarray:
    if not np.isfinite(mono).all():
        raise AudioError(Kind.NOT_FINITE, "NaN or infinite samples")
    if (peak := np.abs(mono).max(initial=0)) > LOUDEST:
        raise AudioError(Kind.TOO_LOUD, f"samples of up to {peak:.3g} times full scale; scale them to [-1, 1]")
    return mono


def listen(
    source: Path | BinaryIO | bytes, rate: int, max_seconds: float = math.inf, limits: Limits = UNLIMITED
) -> np.ndarray:
    """All of `stream` as one: (samples,) float32 mono at `rate`. Raises AudioError as `stream` does."""
    return np.concatenate(list(stream(source, rate, max_seconds, limits)))


def clips(
    tagger: Tagger, mono: np.ndarray | Iterable[np.ndarray], seconds: float, name: str = "", seed: int = 0
) -> Iterator[tuple[float, float, Streams]]:
    """(samples,) at the network's rate, or pieces of it -> start and end in seconds of each clip of `seconds`, and its
    streams (B = 1).

    The last clip is zero-padded. Random windows are those of an evaluation by `seed`: of the clip `name` in the first
    clip, and of `name` and its start in seconds in later ones. Raises AudioError where scores are not finite.
    """
    rate, device = tagger.front_end.sample_rate, next(tagger.parameters()).device
    length, first = round(rate * seconds), 0
    for batch in _batches(_cut([mono] if isinstance(mono, np.ndarray) else mono, length), BATCH):
        starts = [(first + i * length) / rate for i in range(len(batch))]
        waveform = torch.from_numpy(np.stack([np.pad(clip, (0, length - len(clip))) for clip in batch])).float()
        draw = clip_generators(seed, [f"{name}@{start:g}" if start else name for start in starts])
        with torch.inference_mode():
            found = tagger.streams(waveform.to(device), draw)
        parts = [[None] * len(batch) if part is None else part.cpu().split(1) for part in found]
        for clip, start, *streams in zip(batch, starts, *parts, strict=True):
            if not streams[0].isfinite().all():
                raise AudioError(Kind.NOT_FINITE, f"its scores from {start:g} s on; try another checkpoint")
            yield start, start + len(clip) / rate, Streams(*streams)
        first += len(batch) * length


def _cut(pieces: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Pieces of any length as pieces of `length`, the last one perhaps shorter."""
    rest = np.zeros(0, np.float32)
    for piece in pieces:
        rest = np.concatenate([rest, piece])
        while len(rest) >= length:
            yield rest[:length]
            rest = rest[length:]
    if len(rest):
        yield rest


def _batches(clips: Iterator[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Clips in lists of `size`, the last one perhaps shorter. Those before an AudioError come before it."""
    batch: list[np.ndarray] = []
    try:
        for clip in clips:
            batch.append(clip)
            if len(batch) == size:
                yield batch
                batch = []
    except AudioError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def evaluation_seed(run: Path) -> int:
    """The seed that the run in a folder was evaluated by; 0 where it was not."""
    try:
        return int(json.loads((run / "metrics.json").read_text())["evaluation"]["seed"])
    except (OSError, ValueError, LookupError, TypeError):
        return 0


class RunTagger:
    """A trained run as it is used: waveforms or sound files in, probabilities of classes out. `load` makes one.

    >>> import glat
    >>> tagger = glat.load("runs/mini/cnn10-glat-s0")   # doctest: +SKIP
    >>> tagger.tag("street.mp3", top=1)                 # doctest: +SKIP
    [Tag(file=PosixPath('street.mp3'), start=0.0, end=10.0, label='Siren', score=0.91)]
    >>> tagger(waveform).shape                          # (B, samples) -> (B, L), doctest: +SKIP
    (1, 9)

    Attributes:
        labels: the L classes' names, in the order of the scores.
        sample_rate: of waveforms, in Hz; seconds: length of the clips that the network was trained on.
        network: the network itself, a `glat.models.Tagger` in evaluation mode, on a GPU if there is one.
        run: the settings of its training.
    """

    def __init__(self, network: Tagger, run: Run, classes: list[dict[str, str]], seed: int = 0):
        self.network, self.run, self.seed = network, run, seed
        self.labels = [one["display_name"] for one in classes]
        self.sample_rate, self.seconds = run.audio.sample_rate, run.audio.clip_seconds

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """(B, samples) or (samples,) in [-1, 1] at `sample_rate` -> probabilities (B, L) float32.

        Raises ValueError for less than half a second."""
        batch = torch.from_numpy(np.atleast_2d(np.asarray(waveform, np.float32)))
        if (samples := batch.shape[1]) < self.sample_rate // 2:
            raise ValueError(f"waveform: {samples} samples; give half a second or more, padded with zeros if need be")
        with torch.inference_mode():
            draw = clip_generators(self.seed, [""] * len(batch))
            return self.network.streams(batch.to(next(self.network.parameters()).device), draw).fused.cpu().numpy()

    def tag(self, file: str | Path, top: int = 5, limits: Limits = UNLIMITED) -> list[Tag]:
        """The `top` classes of each clip of a file, best first (`tags`). Raises GlatError where it gives no audio."""
        try:
            return list(self.tags(Path(file), top, limits))
        except AudioError as error:
            raise GlatError(f"{file}: {error}") from None

    def tags(self, file: Path, top: int = 5, limits: Limits = UNLIMITED) -> Iterator[Tag]:
        """The same one by one, as the file is read.

        A file of any format and rate is mixed to mono, resampled to the network's rate and cut into clips of the length
        that the network was trained on; the last one is zero-padded. Memory does not grow with its length. Random windows
        are those of the run's evaluation.
        """
        pieces = stream(file, self.sample_rate, limits=limits)
        for start, end, streams in clips(self.network, pieces, self.seconds, file.stem, self.seed):
            scores = streams.fused[0]  # (L,)
            for index in scores.argsort(descending=True)[:top].tolist():
                yield Tag(file, start, end, self.labels[index], scores[index].item())


def load(run: str | Path, device: str | None = None) -> RunTagger:
    """The trained network of a run's folder, or of its checkpoint.pt, or what `glat export --hub` made of one: that folder, or
    its name on the Hugging Face Hub, OWNER/NAME[@REVISION]. device: of torch's (None: a GPU if there is one).
    Raises GlatError if it can't be read."""
    path = Path(run)
    path = path.parent if path.name == "config.yaml" else path
    if (folder := hub_folder.find(run)) is not None:
        found, seed = hub_folder.load(folder)
    else:
        checkpoint = path if path.is_file() or path.suffix == ".pt" else path / "checkpoint.pt"
        found, seed = checkpoints.restore(checkpoint), evaluation_seed(checkpoint.parent)
    hardware.use_tf32(False)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return RunTagger(found.tagger.to(device), found.run, found.classes, seed)


def tag(checkpoint: Path, files: list[Path], top: int = 5, limits: Limits = UNLIMITED) -> Iterator[Tag | Failure]:
    """The tags of each file (`RunTagger.tags`). A file that gives no audio, or no more from some place on, is a `Failure`,
    and the others go on.

    Raises:
        GlatError: the checkpoint can't be read.
    """
    tagger = load(checkpoint)
    for file in files:
        try:
            yield from tagger.tags(file, top, limits)
        except AudioError as error:
            yield Failure(file, str(error))

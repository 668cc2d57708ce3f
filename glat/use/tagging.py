"""Tagging recordings of any length with a trained network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from ..config.runs import Run
from ..data.audio.clips import UNLIMITED, Limits
from ..data.randomness import clip_generators
from ..lib import hardware
from ..lib.errors import GlatError, warn
from ..models.tagger import Tagger
from ..training import checkpoints
from . import hub_folder, thresholds as calibration
from .formats import Tag
from .hearing import SILENT, End, Heard, hear, stream
from .inputs import STDIN, Input
from .options import Options, Plan, plan
from .recording_tags import Clips, Events, OverTime


class Failure(NamedTuple):
    """Why a file was not tagged, or from `seconds` on no more; where a damaged one lost sound in the middle, the rest is."""

    file: Path
    reason: str
    seconds: float


class Done(NamedTuple):
    """A file that was tagged to its end."""

    file: Path
    seconds: float
    silent: bool  # throughout


class Scores(NamedTuple):
    """Scores over time (T, L): row t lasts from t * `frame` to (t + 1) * `frame` seconds (`glat.use.overlaps.Steps`)."""

    frame: float
    scores: np.ndarray


def evaluation_seed(run: Path) -> int:
    """The seed that the run in a folder was evaluated by; 0 where it was not."""
    try:
        return int(json.loads((run / "metrics.json").read_text())["evaluation"]["seed"])
    except (OSError, ValueError, LookupError, TypeError):
        return 0


def _reason(end: End) -> str:
    """Why not all of a recording was heard, and how much of it was."""
    return f"{end.error}; heard up to {end.seconds:.1f} s" if end.seconds else str(end.error)


class RunTagger:
    """A trained run as it is used: waveforms or sound files in, probabilities of classes out. `load` makes one.

    >>> import glat
    >>> tagger = glat.load("runs/mini/cnn10-glat-s0")   # doctest: +SKIP
    >>> tagger.tag("street.mp3", top=1)                 # doctest: +SKIP
    [Tag(file=PosixPath('street.mp3'), start=0.0, end=10.0, label='Siren', score=0.91)]
    >>> tagger.tag("street.mp3", events=True)           # doctest: +SKIP
    [Tag(file=PosixPath('street.mp3'), start=2.1, end=7.4, label='Siren', score=0.97)]
    >>> tagger(waveform).shape                          # (B, samples) -> (B, L), doctest: +SKIP
    (1, 9)

    Attributes:
        labels: the L classes' names, in the order of the scores; mids: their ids.
        sample_rate: of waveforms, in Hz; seconds: length of the clips that the network was trained on.
        network: the network itself, a `glat.models.Tagger` in evaluation mode, on a GPU if there is one.
        run: the settings of its training.
    """

    def __init__(
        self,
        network: Tagger,
        run: Run,
        classes: list[dict[str, str]],
        seed: int = 0,
        calibrated: Callable[[], calibration.Thresholds] | None = None,
    ):
        self.network, self.run, self.seed, self._calibrated = network, run, seed, calibrated
        self.labels, self.mids = [one["display_name"] for one in classes], [one["mid"] for one in classes]
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

    def tag(
        self,
        files: str | Path | Iterable[str | Path],
        top: int | None = None,
        limits: Limits = UNLIMITED,
        errors: Literal["raise", "warn"] = "raise",
        **options: Any,
    ) -> list[Tag]:
        """The classes of each clip of a file, or of several, best first; with `events=True`, its events by their onsets.

        top, and the other `options`: see `glat.use.options.Options`. A file of any format and rate is mixed to mono, resampled
        to the network's rate and cut into clips of the length that the network was trained on; the last one is zero-padded.
        Memory does not grow with its length. Random windows are those of the run's evaluation. errors: "warn" tells of a file
        that gives no audio, or not all of it, and tags the rest, as the command does.

        Raises:
            GlatError: an option that is none; or such a file, unless `errors` is "warn".
        """
        if errors not in ("raise", "warn"):
            raise GlatError(f"errors: expected 'raise' or 'warn', found {errors!r}")
        named = [Path(one) for one in ([files] if isinstance(files, str | Path) else files)]
        found = []
        for one in self.found([Input(path, path) for path in named], Options(top=top, **options), limits):
            if isinstance(one, Tag):
                found.append(one)
            elif isinstance(one, Failure) and errors == "raise":
                raise GlatError(f"{one.file}: {one.reason}")
            elif isinstance(one, Failure):
                warn(f"{one.file}: {one.reason}")
            elif one.silent:
                warn(f"{one.file}: {SILENT}")
        return found

    def scores(self, file: str | Path, hop: float | None = None, limits: Limits = UNLIMITED) -> Scores:
        """Scores over time of a whole file, of both streams: see `glat.models.timeline.Timeline`. hop: as of `tag`.

        Raises GlatError as `tag` does."""
        plan, parts = self.plan(Options(hop=hop)), []
        time = OverTime(self.seconds, plan.hop)
        for one in self._hear([Input(Path(file), Path(file))], plan, limits, True):
            if isinstance(one, Heard):
                parts.append(time.add(one))
                continue
            if one.error:
                raise GlatError(f"{file}: {_reason(one)}")
            if one.silent:
                warn(f"{file}: {SILENT}")
            parts.append(time.end(one.seconds))
        return Scores(time.step, np.concatenate([part for part in parts if len(part)]))

    def plan(self, options: Options) -> Plan:
        """The options for this network. Raises GlatError as `options.plan` does, and where thresholds are asked for that were
        never calibrated."""
        return plan(options, self.seconds, len(self.labels), self.thresholds)

    def thresholds(self) -> calibration.Thresholds:
        """The run's calibrated thresholds. Raises GlatError where there are none, or they are of another network."""
        if self._calibrated is None:
            raise GlatError("calibrated: this network has no thresholds of its own; `glat calibrate RUN` makes a run's")
        return self._calibrated()

    def _hear(self, inputs: Iterable[Input], plan: Plan, limits: Limits, over_time: bool) -> Iterator[Heard | End]:
        sounds = (
            ("" if i.name == STDIN else i.name.stem, stream(i.source, self.sample_rate, limits=limits)) for i in inputs
        )
        how: dict[str, Any] = {"hop": plan.hop, "seed": self.seed, "over_time": over_time}
        return hear(self.network, sounds, self.seconds, **how)

    def found(
        self,
        inputs: list[Input],
        options: Options,
        limits: Limits = UNLIMITED,
        progress: Callable[[int, float], None] | None = None,
    ) -> Iterator[Tag | Failure | Done]:
        """The tags of each recording as it is read, and then its `Done`; one that gives no audio, or not all of it, is a
        `Failure`, and the others go on. progress: is called with a recording's number and the seconds of it that are heard."""
        plan, number = self.plan(options), 0
        made: Events | Clips | None = None
        for one in self._hear(inputs, plan, limits, plan.events):
            file = inputs[number].name
            if made is None:
                made = Events(plan, self.seconds, self.labels, file) if plan.events else Clips(plan, self.labels, file)
            if isinstance(one, Heard):
                yield from made.add(one)
                if progress:
                    progress(number, one.end)
                continue
            yield from made.end(one.seconds)
            yield (Failure(file, _reason(one), one.seconds) if one.error else Done(file, one.seconds, one.silent))
            made, number = None, number + 1


def load(run: str | Path, device: str | None = None) -> RunTagger:
    """The trained network of a run's folder, or of its checkpoint.pt, or what `glat export --hub` made of one: that folder, or
    its name on the Hugging Face Hub, OWNER/NAME[@REVISION]. device: of torch's (None: a GPU if there is one).
    Raises GlatError if it can't be read."""
    path = Path(run)
    path = path.parent if path.name == "config.yaml" else path
    folder, again = hub_folder.find(run), ""
    if folder:
        found, seed = hub_folder.load(folder)
        again = "calibrate the run that it was exported from, and export that again"
    else:
        checkpoint = path if path.is_file() or path.suffix == ".pt" else path / "checkpoint.pt"
        folder = checkpoint.parent
        found, seed = checkpoints.restore(checkpoint), evaluation_seed(folder)
    hardware.use_tf32(False)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    network = found.tagger.to(device, memory_format=torch.channels_last)
    thresholds, mids = folder / calibration.FILE, [one["mid"] for one in found.classes]

    def calibrated() -> calibration.Thresholds:
        return calibration.read(thresholds, mids, found.digest, again)

    return RunTagger(network, found.run, found.classes, seed, calibrated)

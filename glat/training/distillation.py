"""Knowledge distillation: a network learns from a teacher's stored predictions of the training clips (Hinton et al., 2015; for
audio tagging Schmid et al., ICASSP 2023, whose code is EfficientAT).

A teacher is an HDF5 file: of a run of this project, as `glat teach` writes it, or of anybody's with `logits` (clips, L) and the
clips' names under `clip`, `filename`, `filenames` or `audio_name`. Names are ours, YouTube ids, or PANNs' names of files. With
`mid` (L,), the ids of its classes, these may be in any order; without, they are those of the run, in its order.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..config.runs import Run, read_run
from ..config.training import Distillation, TeacherFile
from ..data.hdf5 import dataset, open_hdf5
from ..data.packs.read import Crops, Packs
from ..lib.errors import DAMAGED, GlatError, refusal, tell
from ..lib.hardware import first_process
from ..lib.layout import CONFIG, TEACHER
from ..scoring.manifest import as_id, youtube_id

NAMES = ("clip", "filename", "filenames", "audio_name")
AGAIN = "`glat teach` makes a run's, and docs/recipe.md says what another one's must hold"
BLOCK = 4096  # rows that are read at a time


class Teacher(NamedTuple):
    """What a teacher says of the training clips, in the packs' order."""

    scores: np.ndarray  # (clips, L) float16 probabilities, softened by the temperature; 0 where it says nothing
    clips: np.ndarray  # (clips,) bool: whether it knows them
    classes: np.ndarray  # (L,) bool


class Lesson(NamedTuple):
    """The same of a batch, mixed as its clips are: the loss is linear in both."""

    scores: Tensor  # (B, L)
    known: Tensor  # (B, L) from 0 to 1


class Lessons(Crops):
    """`Crops` whose batches have a `lesson` too, (B, 2 L): the scores of a `Lesson` and behind them what is known."""

    def __init__(self, packs: Packs, teacher: Teacher):
        super().__init__(packs)
        self.teacher = teacher

    def batch(self, clips: np.ndarray, offsets: np.ndarray) -> dict[str, Tensor]:
        scores = self.teacher.scores[clips].astype(np.float32)
        known = (self.teacher.clips[clips, None] & self.teacher.classes).astype(np.float32)
        return super().batch(clips, offsets) | {"lesson": torch.from_numpy(np.concatenate([scores, known], 1))}


def read_teacher(run: Run, packs: Packs, name: str) -> Teacher | None:
    """The teacher that a run has by the setting `name` of `training`; None if it has none. How many training clips and classes
    it does not know is told.

    Raises:
        GlatError: a file that is no teacher's, or of other classes and clips: that knows less than a share `known` of them; a
            run that was trained on the fold that this one is evaluated on.
    """
    settings = run.training.teachers.get(name)
    if settings is None:
        return None
    path, temperature = settings.file, settings.temperature if isinstance(settings, Distillation) else 1.0
    _check_fold(run, path)
    try:
        with open_hdf5(path, f"no such teacher; {AGAIN}", AGAIN) as file:
            kind = next((name for name in ("logits", "fused") if name in file), "logits")
            found = dataset(file, kind, "numbers", (None, None), AGAIN, own=False)
            key = next((name for name in NAMES if name in file), NAMES[0])
            names = [str(name) for name in dataset(file, key, "text", (len(found),), AGAIN, own=False).asstr()]
            columns = _columns(run, packs, file, found.shape[1])
            known = np.flatnonzero(columns >= 0)
            rows = _rows(packs, names)
            _count(run, settings, name, "training clips", packs.clips, rows >= 0)
            _count(run, settings, name, "classes", packs.classes["display_name"].to_numpy(), columns >= 0)
            scores = np.zeros((len(packs), len(columns)), np.float16)
            for first in range(0, len(found), BLOCK):
                clips = np.flatnonzero((rows >= first) & (rows < first + BLOCK))
                if len(clips):
                    block = np.asarray(found[first : first + BLOCK], np.float32)[rows[clips] - first][:, columns[known]]
                    if not np.isfinite(block).all():
                        raise GlatError(f"{path}: {kind} are not finite; {AGAIN}")
                    scores[clips[:, None], known] = softened(block, temperature, kind == "logits")
    except DAMAGED as error:
        raise GlatError(f"{path}: {refusal(error) or f'damaged ({error}); {AGAIN}'}") from None
    return Teacher(scores, rows >= 0, columns >= 0)


def _check_fold(run: Run, path: Path) -> None:
    """Refuse what a run with other folds knows: it has learned the clips that this one is evaluated on."""
    beside = path.parent / CONFIG
    if run.fold is None or path.name != TEACHER or not beside.is_file():
        return
    teacher = read_run(beside)
    if teacher.dataset == run.dataset and run.fold in {Path(pack).parent.name for pack in teacher.packs}:
        raise GlatError(
            f"{path.parent}: this teacher was trained on {run.fold}, which {run.folder} is evaluated on; name one "
            "that was not, as a network of other recordings"
        )


def softened(values: np.ndarray, temperature: float, logits: bool) -> np.ndarray:
    """Logits, or probabilities, as probabilities sigmoid(logit / temperature), as EfficientAT softens its teacher's alone."""
    if not logits and temperature == 1:
        return values
    if not logits:
        values = np.clip(values, 1e-6, 1 - 1e-6)
        values = np.log(values / (1 - values))
    return 1 / (1 + np.exp(-np.clip(values / temperature, -80, 80)))


def _columns(run: Run, packs: Packs, file, width: int) -> np.ndarray:
    """(L,): the column of each of the run's classes; -1 where there is none."""
    if "mid" not in file:
        if width != run.classes:
            what = f"it scores {width} classes and does not say which, and this run has {run.classes}"
            raise GlatError(f"{file.filename}: {what}; add their ids as `mid`")
        return np.arange(width)
    place = {str(mid): i for i, mid in enumerate(dataset(file, "mid", "text", (width,), AGAIN, own=False).asstr())}
    return np.array([place.get(mid, -1) for mid in packs.classes["mid"]])


def _rows(packs: Packs, names: list[str]) -> np.ndarray:
    """(clips,): the row of each training clip; -1 where there is none."""
    place = {as_id(name): row for row, name in enumerate(names)}
    return np.array([place.get(clip, place.get(youtube_id(clip), -1)) for clip in map(str, packs.clips)])


def _count(run: Run, settings: TeacherFile, name: str, what: str, names: np.ndarray, known: np.ndarray) -> None:
    """Tell how many there are that a teacher does not know; raise GlatError if they are too many."""
    if known.all():
        return
    lacking = f"{(~known).sum()} of the {len(known)} {what} are not among the teacher's, {names[~known][0]!r} the first"
    if known.mean() < settings.known:
        raise GlatError(
            f"{settings.file}: {lacking}; it must know {settings.known:.0%} of them (training.{name}.known)"
        )
    if first_process():
        tell(f"{run.folder}: training.{name}: {lacking}; for them the labels alone count")

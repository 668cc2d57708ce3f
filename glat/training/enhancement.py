"""Enhanced labels: what a teacher adds to the labels of the lists, where AudioSet's ontology says that it may be lacking
(Y. Gong, Y.-A. Chung and J. Glass, "PSLA", TASLP 2021, and their code).

A clip may be labelled with a class and not with one just below it that sounds, too (type I: "Speech", and not "Child
speech"), or not with those above it (type II: "Child speech", and not "Speech"). Such a class is added where the teacher's
score of it is higher than its threshold: the mean (or median, or a percentile) of the teacher's scores of the clips that
have the label. Both types start from the labels of the lists.
"""

from __future__ import annotations

import numpy as np

from ..config.runs import Run
from ..data.lists.labels import Labels
from ..data.lists.ontology import ancestors, parents
from ..data.packs.read import Packs
from ..lib.errors import GlatError, tell
from ..lib.hardware import first_process
from .distillation import Teacher, read_teacher


def add_labels(run: Run, packs: Packs) -> None:
    """Put enhanced labels in the place of the packs' own, if the run has such, and tell how many were added.

    Raises:
        GlatError: what `read_teacher` raises, and classes of which none is above another one in the ontology.
    """
    settings, name = run.training.enhanced_labels, "enhanced_labels"
    if settings is None or (teacher := read_teacher(run, packs, name)) is None:
        return
    related = relations(list(packs.classes["mid"]))
    if not any(related):
        what = "none of the classes is above another one in AudioSet's ontology, so none can be added; set null"
        raise GlatError(f"{run.folder}: training.{name}: {what}")
    before = packs.labels
    packs.labels = enhance(before, teacher, related, settings.threshold)
    if first_process():
        added = packs.labels.matrix.nnz - before.matrix.nnz
        tell(f"{run.folder}: training.{name}: {added} labels were added to the {before.matrix.nnz} of the lists")


def relations(mids: list[str]) -> list[list[int]]:
    """For each class, the classes whose label says that it may be there, too: its parents (type I), and all that are below it
    (type II).

    >>> relations(["/m/09x0r", "/m/0ytgt", "/m/0bt9lr"])  # Speech, child speech, dog
    [[1], [0], []]
    """
    place = {mid: i for i, mid in enumerate(mids)}
    found: list[set[int]] = [{place[one] for one in parents().get(mid, ()) if one in place} for mid in mids]
    for i, mid in enumerate(mids):
        for above in ancestors(mid):
            if above in place:
                found[place[above]].add(i)
    return [sorted(one) for one in found]


def enhance(labels: Labels, teacher: Teacher, related: list[list[int]], threshold: str | float) -> Labels:
    """The labels with those that the teacher adds. related: of each class, as `relations` has it. Clips and classes that the
    teacher does not know stay as they are, as does a class that no clip has."""
    clip, start = labels.by_class()
    clips, classes = [clip], [np.repeat(np.arange(labels.classes), np.diff(start))]

    def having(of: list[int]) -> np.ndarray:
        """(clips,) bool: which clips have one of these classes, and are known to the teacher."""
        found = np.zeros(labels.clips, bool)
        for one in of:
            found[clip[start[one] : start[one + 1]]] = True
        return found & teacher.clips

    for c in np.flatnonzero(teacher.classes).tolist():
        has = having([c])
        if not has.any() or not related[c]:
            continue
        scores = teacher.scores[:, c].astype(np.float64)
        percentile = 50.0 if threshold == "median" else threshold
        least = scores[has].mean() if isinstance(percentile, str) else np.percentile(scores[has], percentile)
        added = np.flatnonzero(having(related[c]) & ~has & (scores > least))
        clips.append(added)
        classes.append(np.full(len(added), c))
    return Labels.from_pairs(np.concatenate(clips), np.concatenate(classes), (labels.clips, labels.classes))

"""Sound event detection's measures of scores over time, by `sed_scores_eval` (Ebbers, Serizel and Haeb-Umbach,
"Threshold-Independent Evaluation of Sound Event Detection Scores", ICASSP 2022).

- PSDS1 (Bilen et al., ICASSP 2020, as in DCASE's task 4): an event is found if 70 % of it is detected (gtc), and a detection
  is right if 70 % of it is event (dtc). The true positive rate of each class over its false positives per hour, up to 100;
  the mean over classes less their standard deviation (alpha_st = 1); `psds1_macro` is the mean alone. Detecting one class in
  another's place is punished as a false positive and not once more: alpha_ct = 0, as cross triggers take memory by the square
  of the classes.
- `segment_auroc`: of segments of 1 s, whose score is the highest of their frames; up to a false positive rate of 0.1, divided
  by that.
- `f1` and `f1_best`: events whose onset is right to 200 ms and whose offset to 200 ms or 20 % of the event; at a threshold of
  0.5, and at the best threshold for each class, which is chosen on the same clips and so leans upwards.

All are means over the classes that have an event. Clips are those with strong labels. Events of a class that overlap or touch
are one event.

How they are resampled: as a threshold falls, the counts of a clip change at the scores where it detects more or less. Counts of
a set of clips are sums of those changes, so that a resample only weighs them (`Points`, `glat.scoring.resampled`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..lib.errors import GlatError
from .frames import Clip

DTC = GTC = 0.7
MAX_EFPR = 100.0  # false positives an hour
SEGMENT = 1.0  # s
MAX_FPR = 0.1
COLLARS = {"onset_collar": 0.2, "offset_collar": 0.2, "offset_collar_rate": 0.2}
THRESHOLD = 0.5
MEASURES = ("psds1", "psds1_macro", "segment_auroc", "f1", "f1_best")
BLOCK = 256  # clips that are given to the library at a time
_EVERY = "every class"  # a clip of the library's with an event of each class, which it asks for; not counted

Events = Mapping[str, list[tuple[float, float, str]]]  # by clip: onset, offset, class


class Points(NamedTuple):
    """Where the counts of one class change as the threshold falls: highest score first."""

    score: np.ndarray  # (M,)
    clip: np.ndarray  # (M,), the number of the clip
    tp: np.ndarray  # (M,), by how much the true positives change
    fp: np.ndarray  # (M,)

    @property
    def last(self) -> np.ndarray:
        """Where the counts are those of a threshold: at the last point of each score."""
        return np.flatnonzero(np.diff(self.score, append=-np.inf))


class Detection(NamedTuple):
    """The counts of one system and seed, by class. Clips are numbered in the order of `seconds`."""

    classes: list[str]
    seconds: np.ndarray  # (clips,)
    events: np.ndarray  # (clips, classes), how many events
    intersections: list[Points]
    collars: list[Points]
    segments: list[Points]


def true_events(
    strong: pd.DataFrame, clips: Iterable[str], classes: Iterable[str]
) -> dict[str, list[tuple[float, float, str]]]:
    """The events of the strong labels (clip, start, end, label) by clip, those of one class in one clip joined where they
    overlap or touch. Labels of other clips and classes are left out."""
    known, wanted = set(classes), set(clips)
    found: dict[str, list[tuple[float, float, str]]] = {}
    for (clip, label), group in strong.groupby(["clip", "label"], sort=False):
        if clip not in wanted or label not in known:
            continue
        joined: list[list[float]] = []
        for start, end in sorted(zip(group["start"], group["end"], strict=True)):
            if joined and start <= joined[-1][1]:
                joined[-1][1] = max(joined[-1][1], end)
            else:
                joined.append([start, end])
        found.setdefault(clip, []).extend((max(start, 0.0), end, label) for start, end in joined if end > 0)
    return found


def detect(clips: Iterable[Clip], mids: list[str], events: Events, stream: str) -> Detection:
    """Count what one stream's scores over time detect.

    clips: those of `events`, with scores of all `mids` (`glat.scoring.frames`); events: `true_events`. Counted are the classes
    with an event in these clips.

    Raises:
        GlatError: sed_scores_eval is not installed.
    """
    classes = sorted({label for of in events.values() for _, _, label in of}, key=mids.index)
    column = [mids.index(label) for label in classes]
    seconds: list[float] = []
    numbers: list[np.ndarray] = []
    kinds: list[list[list[tuple[Any, ...]]]] = [[[] for _ in classes] for _ in range(3)]
    for block in _blocks(clips):
        scores, truth = {_EVERY: _table(np.array([0.0, 1.0]), np.zeros((1, len(classes))), classes)}, {}
        truth[_EVERY] = [(0.0, 1.0, label) for label in classes]
        durations = {_EVERY: 1.0}
        for number, clip in enumerate(block, len(seconds)):
            name = str(number)
            scores[name] = _table(clip.edges, clip.scores[stream][:, column], classes)
            truth[name], durations[name] = list(events[clip.name]), float(clip.edges[-1])
            numbers.append(np.array([sum(label == one for _, _, label in truth[name]) for one in classes]))
        seconds += [durations[str(number)] for number in range(len(seconds), len(seconds) + len(block))]
        for kind, deltas in zip(kinds, _deltas(scores, truth, durations), strict=True):
            for name, of_clip in deltas.items():
                if name != _EVERY:
                    for at, label in zip(kind, classes, strict=True):
                        at.append((int(name), *of_clip[label]))
    points = [[_points(of_class) for of_class in kind] for kind in kinds]
    return Detection(classes, np.array(seconds), np.array(numbers).reshape(-1, len(classes)), *points)


def _blocks(clips: Iterable[Clip]) -> Iterator[list[Clip]]:
    waiting = iter(clips)
    while block := list(islice(waiting, BLOCK)):
        yield block


def _table(edges: np.ndarray, scores: np.ndarray, classes: list[str]) -> pd.DataFrame:
    times = {"onset": edges[:-1], "offset": edges[1:]}
    # float32, which the library copies: it writes to what it gets, and pandas lends its numbers to be read alone.
    return pd.concat([pd.DataFrame(times), pd.DataFrame(scores.astype(np.float32), columns=classes)], axis=1)


def _library() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pkg_resources, and of how it spells its docstrings
            import sed_scores_eval
    except ImportError:
        raise GlatError(
            "sed_scores_eval is not installed, which measures sound event detection: pip install 'glat[sed]', or set "
            "localisation.frames: none"
        ) from None
    return sed_scores_eval


def _deltas(
    scores: dict[str, pd.DataFrame], truth: dict[str, Any], durations: dict[str, float]
) -> tuple[Any, Any, Any]:
    library = _library()
    return (
        library.intersection_based.intermediate_statistics.intermediate_statistics_deltas(
            scores, truth, dtc_threshold=DTC, gtc_threshold=GTC
        ),
        library.collar_based.intermediate_statistics.intermediate_statistics_deltas(scores, truth, **COLLARS),
        library.segment_based.intermediate_statistics.intermediate_statistics_deltas(
            scores, truth, durations, segment_length=SEGMENT
        ),
    )


def _points(deltas: list[tuple[Any, ...]]) -> Points:
    score = np.concatenate([one[1] for one in deltas])
    clip = np.repeat([one[0] for one in deltas], [len(one[1]) for one in deltas]).astype(np.int32)
    tp, fp = (np.concatenate([one[2][key] for one in deltas]).astype(np.int16) for key in ("tps", "fps"))
    order = np.argsort(-score, kind="stable")
    return Points(score[order], clip[order], tp[order], fp[order])


def measure(found: Detection) -> dict[str, float]:
    """`MEASURES` by sed_scores_eval; NaN without an event."""
    if not found.classes:
        return dict.fromkeys(MEASURES, np.nan)
    library = _library()
    # The library sums over clips: one clip with all changes is the same to it.
    counts = found.events.sum(0)
    truth = {"all": [(float(i), i + 0.5, c) for c, n in zip(found.classes, counts, strict=True) for i in range(n)]}
    pooled = [
        {"all": {c: (p.score, {"tps": p.tp * 1.0, "fps": p.fp * 1.0}) for c, p in zip(found.classes, of, strict=True)}}
        for of in (found.intersections, found.collars, found.segments)
    ]
    how: dict[str, Any] = {"dtc_threshold": DTC, "gtc_threshold": GTC, "max_efpr": MAX_EFPR, "deltas": pooled[0]}
    durations = {"all": float(found.seconds.sum())}
    psds = {
        name: library.intersection_based.psds(None, truth, durations, alpha_ct=0.0, alpha_st=alpha, **how)[0]
        for name, alpha in (("psds1", 1.0), ("psds1_macro", 0.0))
    }
    segments = {"deltas": pooled[2], "segment_length": SEGMENT, "max_fpr": MAX_FPR}
    auroc = library.segment_based.auroc(None, truth, None, **segments)[0]
    collars = COLLARS | {"deltas": pooled[1]}
    f1 = library.collar_based.fscore(None, truth, THRESHOLD, **collars)[0]
    best = library.collar_based.best_fscore(None, truth, **collars)[0]
    # Of a class that is heard in all segments there is no AUROC.
    of_class = [np.nanmean([one[c] for c in found.classes]) for one in (auroc, f1, best)]
    return {name: float(value) for name, value in zip(MEASURES, (*psds.values(), *of_class), strict=True)}

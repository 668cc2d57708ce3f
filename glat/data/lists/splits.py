"""Splits for a table that has none: whole recordings, drawn with a seed so that each class is in all by its share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

TRAIN, EVALUATION, VALIDATION = "train", "eval", "val"


def recordings(files: Sequence[str], groups: Sequence[str]) -> list[int]:
    """The number of the recording that each clip is of: clips of one file are of one, and so are those of one group ("": of
    none), and all that hang together by either.

    >>> recordings(["x", "x", "y", "z"], ["A", "B", "B", ""])
    [0, 0, 0, 1]
    """
    nodes: dict[tuple[str, str], int] = {}
    keys = [("file", file) for file in files] + [("group", group) for group in groups if group]
    for key in keys:
        nodes.setdefault(key, len(nodes))
    pairs = [(nodes["file", f], nodes["group", g]) for f, g in zip(files, groups, strict=True) if g]
    rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(nodes), len(nodes)))
    _, component = connected_components(graph, directed=False)
    number = {one: i for i, one in enumerate(dict.fromkeys(component[nodes["file", file]] for file in files))}
    return [number[component[nodes["file", file]]] for file in files]


def draw(
    labels: Sequence[tuple[str, ...]], of: Sequence[int], evaluation: float, validation: float, seed: int
) -> list[str]:
    """A split for each clip, "train", "eval" or "val": first those of the evaluation, as `propose` has it, and then of the
    others those of the validation, so that the evaluation is the same with and without. evaluation, validation: shares of all
    clips.

    >>> draw([("a",)] * 10, list(range(10)), 0.2, 0.1, seed=0).count("val")
    1
    """
    split = propose(labels, of, evaluation, seed)
    if validation:
        rest = [i for i, name in enumerate(split) if name == TRAIN]
        number = {recording: i for i, recording in enumerate(dict.fromkeys(of[i] for i in rest))}
        inner = propose([labels[i] for i in rest], [number[of[i]] for i in rest], validation / (1 - evaluation), seed)
        for i, name in zip(rest, inner, strict=True):
            split[i] = VALIDATION if name == EVALUATION else TRAIN
    return split


def propose(labels: Sequence[tuple[str, ...]], of: Sequence[int], share: float, seed: int) -> list[str]:
    """A split for each clip, "train" or "eval". labels: of each clip; of: the recording that it is of (`recordings`), which is
    in one split alone; share: of clips in "eval".

    Recordings are given out one after the other, those of the rarest class first and of these the largest, each to the split
    that lacks most clips of the class (Sechidis et al., "On the stratification of multi-label data", 2011). Then recordings
    are moved, the smallest first, until each class that two recordings have is in both splits, as far as that can be had.

    >>> propose([("a",), ("a",), ("b",), ("b",)], [0, 1, 2, 3], 0.5, seed=0).count("eval")
    2
    """
    held: list[Counter[str]] = [Counter() for _ in range(max(of, default=-1) + 1)]
    for recording, clip in zip(of, labels, strict=True):
        held[recording].update(clip or ("",))
    total = sum(held, Counter())
    lacking = {
        split: {label: part * total[label] for label in total}
        for split, part in ((TRAIN, 1 - share), (EVALUATION, share))
    }
    chance = np.random.default_rng(seed).random(len(held)).tolist()
    split_of = [""] * len(held)
    for label in sorted(total, key=lambda one: (total[one], one)):
        unassigned = [i for i in range(len(held)) if held[i][label] and not split_of[i]]
        for i in sorted(unassigned, key=lambda i: (-sum(held[i].values()), chance[i])):
            split_of[i] = max(lacking, key=lambda split: lacking[split][label])
            for other, count in held[i].items():
                lacking[split_of[i]][other] -= count
    _fill(held, split_of)
    return [split_of[i] for i in of]


def _fill(held: list[Counter[str]], split_of: list[str]) -> None:
    """Move recordings to splits that lack one of their classes, none that would leave another class without a clip."""
    has: dict[str, Counter[str]] = {split: Counter() for split in (TRAIN, EVALUATION)}
    for classes, split in zip(held, split_of, strict=True):
        has[split].update(dict.fromkeys(classes, 1))
    for label in sorted(has[TRAIN] | has[EVALUATION]):
        for lacks, gives in ((TRAIN, EVALUATION), (EVALUATION, TRAIN)):
            if has[lacks][label] or has[gives][label] < 2:
                continue
            movable = [
                i
                for i, classes in enumerate(held)
                if split_of[i] == gives and classes[label] and all(has[gives][one] > 1 for one in classes)
            ]
            for i in sorted(movable, key=lambda i: sum(held[i].values()))[:1]:
                split_of[i] = lacks
                has[gives].subtract(dict.fromkeys(held[i], 1))
                has[lacks].update(dict.fromkeys(held[i], 1))

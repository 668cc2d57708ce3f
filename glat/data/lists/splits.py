"""Splits for a table that has none: whole recordings, drawn with a seed so that each class is in both by its share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

TRAIN, EVALUATION = "train", "eval"


def propose(labels: Sequence[tuple[str, ...]], groups: Sequence[str], share: float, seed: int) -> list[str]:
    """A split for each clip, "train" or "eval". labels: of each clip; groups: the recording that it is of, which is in one
    split alone; share: of clips in "eval".

    Groups are given out one after the other, those of the rarest class first, each to the split that lacks most of its
    classes (Sechidis et al., "On the stratification of multi-label data", 2011). Each class is in both splits if it has two
    groups.

    >>> propose([("a",), ("a",), ("b",), ("b",)], ["1", "2", "3", "4"], 0.5, seed=0).count("eval")
    2
    """
    names = list(dict.fromkeys(groups))
    number = {name: i for i, name in enumerate(names)}
    held: list[Counter[str]] = [Counter() for _ in names]
    for group, clip in zip(groups, labels, strict=True):
        held[number[group]].update(clip or ("",))
    total = sum(held, Counter())
    shares = {TRAIN: 1 - share, EVALUATION: share}
    lacking = {split: Counter({label: part * total[label] for label in total}) for split, part in shares.items()}
    # At least one clip of each class on both sides, first on the side that is trained on.
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    split_of = [""] * len(names)
    for label in sorted(total, key=lambda one: (total[one], one)):
        given = Counter(split_of[i] for i in range(len(names)) if held[i][label])
        for group in order:
            if split_of[group] or not held[group][label]:
                continue
            missing = [split for split in (TRAIN, EVALUATION) if not given[split]]
            best = missing[0] if missing else max(shares, key=lambda split: lacking[split][label] / shares[split])
            split_of[group] = best
            given[best] += 1
            for other, count in held[group].items():
                lacking[best][other] -= count
    return [split_of[number[group]] for group in groups]

"""Is a corpus fit for training? What came of its lists, how its clips look and sound, and what its splits share.

`audit` looks at every clip by the statistics that the packs hold, and listens to a few. It yields `Row`s: audit.csv and
audit.html are made of them, and `verdict` sums them up. What makes a corpus unfit, by split:

- more than half of the clips lost, or more than half of the classes without a training or an evaluation clip;
- a sign of damage in so many clips that it was done by the preparation (`signs`, `sound`);
- audio that does not belong to its name: many clips with the same samples, many notes that labels differ;
- one in a hundred evaluation or validation clips that training has seen, or evaluation clips that are validation clips.

All else that is odd is a warning, with its likely cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..config.params import Params
from . import contents, signs, sound
from .gather import Split, read_split
from .rows import FINE, NOT_FIT, WARNING, Row, Verdict, verdict

__all__ = ["FINE", "NOT_FIT", "WARNING", "Audit", "Row", "audit", "verdict"]


class Audit(NamedTuple):
    """The rows of an audit, the verdict on all of them, and what its figures are drawn from, by split."""

    rows: list[Row]
    verdict: Verdict
    splits: dict[str, Split]
    sounds: dict[str, sound.Sound]

    @property
    def fit(self) -> bool:
        return all(row.verdict.grade != NOT_FIT for row in self.rows)


def audit(params: Params, root: Path = Path()) -> Audit:
    """Audit all splits of the chosen dataset in data/<dataset> below `root`.

    Raises GlatError, naming the file, if a list, listing, ledger or pack is missing, damaged or of another list.
    """
    entry = params.corpus
    splits = {name: read_split(params.dataset, name, entry, root) for name in entry.splits}
    sounds = {name: sound.listen(split, params.audit.clips, params.audit.seed) for name, split in splits.items()}
    rows = list(_rows(params, list(splits.values()), sounds))
    total = verdict(rows)
    return Audit([Row("all", "verdict", params.dataset, str(total)), *rows], total, splits, sounds)


def _rows(params: Params, splits: list[Split], sounds: dict[str, sound.Sound]) -> Iterator[Row]:
    train, evaluate = params.corpus.training_splits(), params.corpus.evaluation_splits()
    validate = params.corpus.validation
    for split in splits:
        yield from contents.losses(split)
        yield from signs.signs(split)
        yield from signs.lengths(split)
        yield from signs.rates(split)
        yield from signs.levels(split)
        yield from sound.measures(split, sounds[split.name])
    parts = ([(split, sounds[split.name]) for split in splits if split.name in role] for role in (train, evaluate))
    yield from sound.compare(*parts)
    yield from contents.duplicates(splits)
    yield from contents.overlap(splits, train, evaluate, validate)
    yield from contents.classes(splits, train, evaluate)

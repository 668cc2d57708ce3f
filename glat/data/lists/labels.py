"""Weak labels: how a list writes them; and those of many clips, kept sparse: 2 million clips carry 4 million labels, not
a billion booleans."""

from __future__ import annotations

import ast
from typing import NamedTuple

import numpy as np
import pandas as pd

from ...lib.errors import GlatError


class Labels(NamedTuple):
    """Compressed sparse rows: the classes of clip i are `indices[indptr[i]:indptr[i + 1]]`, ascending.

    indptr: (clips + 1,) int64; indices: (labels,) int32 class indices; classes: number of classes.
    """

    indptr: np.ndarray
    indices: np.ndarray
    classes: int

    @property
    def clips(self) -> int:
        return len(self.indptr) - 1

    @classmethod
    def from_dense(cls, target: np.ndarray) -> Labels:
        """From (clips, classes) bool or 0/1."""
        clip, indices = np.nonzero(target)
        counts = np.bincount(clip, minlength=len(target))
        return cls(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), indices.astype(np.int32), target.shape[1])

    @classmethod
    def joined(cls, parts: list[Labels]) -> Labels:
        """The clips of several parts, one after the other."""
        counts = np.concatenate([np.diff(part.indptr) for part in parts])
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(indptr, np.concatenate([part.indices for part in parts]), parts[0].classes)

    def without(self, clips: np.ndarray) -> Labels:
        """The same, but the clips at these indices have no class."""
        counts = np.diff(self.indptr)
        held = np.zeros(self.clips, bool)
        held[clips] = True
        indptr = np.concatenate([[0], np.cumsum(np.where(held, 0, counts))]).astype(np.int64)
        return Labels(indptr, self.indices[~np.repeat(held, counts)], self.classes)

    def dense(self, clips: np.ndarray | None = None, dtype: type = bool) -> np.ndarray:
        """(clips, classes) 0/1 array, of all clips or of those at the given indices."""
        clips = np.arange(self.clips) if clips is None else np.asarray(clips)
        counts = self.indptr[clips + 1] - self.indptr[clips]
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        columns = self.indices[np.repeat(self.indptr[clips], counts) + offsets]
        target = np.zeros((len(clips), self.classes), dtype)
        target[np.repeat(np.arange(len(clips)), counts), columns] = 1
        return target

    def by_class(self) -> tuple[np.ndarray, np.ndarray]:
        """Transposed: (clip, start), the clips of class c being `clip[start[c]:start[c + 1]]`, int32, ascending."""
        clip = np.repeat(np.arange(self.clips, dtype=np.int32), np.diff(self.indptr))
        # Classes fit 16 bits, where numpy's stable sort is a radix sort, an order of magnitude faster.
        narrow = self.indices.astype(np.uint16) if self.classes < 2**16 else self.indices
        start = np.concatenate([[0], np.cumsum(np.bincount(self.indices, minlength=self.classes))])
        return clip[np.argsort(narrow, kind="stable")], start


LONGEST = 80  # characters of a list's text in an error


class LabelNames:
    """The classes that a text of a list names. classes: the class list; None: whatever stands there is a mid."""

    def __init__(self, classes: pd.DataFrame | None):
        self.mids, self.mid_of = None, {}
        if classes is not None:
            self.mids = frozenset(classes["mid"])
            # Where a mid is the display name of another class, it is the mid.
            self.mid_of = dict(zip(classes["display_name"], classes["mid"])) | {mid: mid for mid in self.mids}

    def read(self, text: str, place: str) -> tuple[str, ...]:
        """The mids that a text names: separated by commas as in AudioSet's lists; else display names, or separated by
        semicolons or bars, or as Python writes a list, where exactly one reading has none but classes. No text, no class.

        Raises GlatError, at `place`, for a name of no class, an empty one, and a text with two meanings.
        """
        if text in ("", "[]", "()"):
            return ()
        mids = _parts(text, ",")
        if self.mids is None or self.mids.issuperset(mids):
            if "" in mids:
                raise GlatError(f"{place}: {_cut(text)} has an empty label")
            return mids
        readings = [
            mids,
            (text,),
            _parts(text, ";"),
            _parts(text, "|"),
            _literal(text),
            _parts(text.replace("\\", ""), ","),
        ]
        found = {tuple(self.mid_of[part] for part in parts) for parts in readings if self.mid_of.keys() >= set(parts)}
        if len(found) > 1:
            both = " or ".join(" and ".join(map(_cut, parts[:5])) for parts in sorted(found)[:2])
            raise GlatError(f"{place}: {_cut(text)} may be {both}; write mids, separated by commas")
        if not found:
            parts = min(readings[:4], key=lambda parts: (sum(part not in self.mid_of for part in parts), -len(parts)))
            unknown = next(part for part in parts if part not in self.mid_of)
            if not unknown:
                raise GlatError(f"{place}: {_cut(text)} has an empty label")
            raise GlatError(
                f"{place}: label {_cut(unknown)} is not in the class list; expected its mids, or its display names, separated "
                "by commas"
            )
        return found.pop()


def _cut(text: str) -> str:
    """A text of a list in quotes, as an error may hold it."""
    return repr(text if len(text) <= LONGEST else f"{text[:LONGEST]}...")


def _parts(text: str, separator: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(separator))


def _literal(text: str) -> tuple[str, ...]:
    """What Python writes of a list of texts; the text itself where it is none."""
    try:
        found = ast.literal_eval(text) if text[0] in "[(" else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # brackets in thousands of brackets
        found = None
    return tuple(map(str, found)) if isinstance(found, list | tuple) else (text,)

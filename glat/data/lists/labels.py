"""Weak labels: how a list writes them; and those of many clips, kept sparse: 2 million clips carry 4 million labels, not
a billion booleans."""

from __future__ import annotations

import ast

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, vstack

from ...lib.errors import GlatError


class Labels:
    """The classes of each clip, as a sparse matrix. matrix: (clips, classes) bool, each row's classes ascending."""

    def __init__(self, matrix: csr_array):
        self.matrix = matrix
        self.clips, self.classes = matrix.shape

    @property
    def indptr(self) -> np.ndarray:
        """(clips + 1,) int64: the classes of clip i are `indices[indptr[i]:indptr[i + 1]]`."""
        return self.matrix.indptr.astype(np.int64, copy=False)

    @property
    def indices(self) -> np.ndarray:
        """(labels,) int32 classes."""
        return self.matrix.indices.astype(np.int32, copy=False)

    @classmethod
    def from_dense(cls, target: np.ndarray) -> Labels:
        """From (clips, classes) bool or 0/1."""
        return cls(csr_array(target, dtype=bool))

    @classmethod
    def from_pairs(cls, clips: np.ndarray, classes: np.ndarray, shape: tuple[int, int]) -> Labels:
        """From the clip and the class of each label; one that occurs twice counts once."""
        return cls(csr_array((np.ones(len(clips), bool), (clips, classes)), shape=shape))

    @classmethod
    def concatenate(cls, parts: list[Labels]) -> Labels:
        """The clips of several parts, one after the other."""
        return cls(vstack([part.matrix for part in parts], format="csr"))

    def without(self, clips: np.ndarray) -> Labels:
        """The same, but the clips at these indices have no class."""
        kept = np.ones(self.clips, bool)
        kept[clips] = False
        matrix = self.matrix.copy()
        matrix.data = np.repeat(kept, np.diff(matrix.indptr))
        matrix.eliminate_zeros()
        return Labels(matrix)

    def dense(self, clips: np.ndarray | None = None, dtype: type = bool) -> np.ndarray:
        """(clips, classes) 0/1 array, of all clips or of those at the given indices."""
        return (self.matrix if clips is None else self.matrix[np.asarray(clips)]).astype(dtype).toarray()

    def by_class(self) -> tuple[np.ndarray, np.ndarray]:
        """(clip, start): the clips of class c are `clip[start[c]:start[c + 1]]`, int32, ascending."""
        columns = self.matrix.tocsc()
        return columns.indices.astype(np.int32, copy=False), columns.indptr


LONGEST = 80  # characters of a list's text in an error


class LabelNames:
    """The classes that a text of a list names. classes: the class list; None: whatever stands there is a mid."""

    def __init__(self, classes: pd.DataFrame | None):
        self.mids, self.mid_of = None, {}
        if classes is not None:
            self.mids = frozenset(classes["mid"])
            # Where a mid is the display name of another class, it is the mid.
            self.mid_of = dict(classes[["display_name", "mid"]].itertuples(index=False)) | {
                mid: mid for mid in self.mids
            }

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
            literal(text),
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


def literal(text: str) -> tuple[str, ...]:
    """What Python writes of a list of texts; the text itself where it is none."""
    try:
        found = ast.literal_eval(text) if text[0] in "[(" else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # brackets in thousands of brackets
        found = None
    return tuple(map(str, found)) if isinstance(found, list | tuple) else (text,)

"""AudioSet's own file formats: the class list, the segment lists in both dialects, the strong labels.

A clip's name is AudioSet-strong's segment_id: `<YouTube id>_<start in milliseconds>`.
"""

from __future__ import annotations

import hashlib
import re
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from glat.data.labels import Labels
from glat.errors import GlatError

CLASS_COLUMNS = ["index", "mid", "display_name"]
SEGMENT_COLUMNS = ["YTID", "start_seconds", "end_seconds", "positive_labels"]
ENCODING = "utf-8-sig"  # spreadsheets put a byte order mark in front
STRONG_COLUMNS = ["segment_id", "start_time_seconds", "end_time_seconds", "label"]

_NUMBER = r"(\d+(?:\.\d*)?)"
_SEGMENT = re.compile(rf'([^,\s"#]+), ?{_NUMBER}, ?{_NUMBER}, ?("[^"]+"|[^",\s]+)\s*')
_PROMISED_ROWS = re.compile(r"num_segs\s*=\s*(\d+)")


def read_class_list(path: str | Path) -> pd.DataFrame:
    """Read `class_labels_indices.csv`: columns index (0, 1, 2, ... without a gap), mid, display_name.

    Raises GlatError if the header differs, an index is out of order, or a mid or a name occurs twice.
    """
    path = Path(path)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding=ENCODING)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise GlatError(f"{path}: cannot be read as a class list ({error}); get class_labels_indices.csv") from None
    if list(table.columns) != CLASS_COLUMNS:
        raise GlatError(f"{path}: line 1 is {','.join(table.columns)!r}; a class list starts {','.join(CLASS_COLUMNS)}")
    if table.empty:
        raise GlatError(f"{path}: holds no class")
    for row, (index, mid, name) in enumerate(table.itertuples(index=False)):
        if index != str(row):
            raise GlatError(f"{path}: line {row + 2}: index is {index!r}, expected {row}: indices run 0, 1, 2, ...")
        if not mid or not name:
            raise GlatError(f"{path}: line {row + 2}: mid or display_name is empty; the file is cut or damaged")
    for column in ("mid", "display_name"):
        twice = np.flatnonzero(table[column].duplicated())
        if len(twice):
            raise GlatError(f"{path}: line {twice[0] + 2}: {column} {table[column][twice[0]]!r} occurs twice")
    table["index"] = np.arange(len(table))
    return table


def read_segments(path: str | Path, classes: pd.DataFrame | None = None, rows: range | None = None) -> pd.DataFrame:
    """Read a segment list: columns clip, youtube_id, start, end (seconds, float), labels (tuple of mids).

    rows: of a list that was read whole before, those to read; the others are only counted.

    Two dialects: Google's original (three `#` lines, then fields separated by `, `) and the plain one (one header
    line `YTID,start_seconds,end_seconds,positive_labels`). With `classes`, every label must be in the class list.

    Raises GlatError, naming file and line, for a line that is not a segment (a file cut in mid-line), a label that
    the class list lacks, start >= end, the same clip twice, and fewer or more rows than Google's header promises.
    """
    path = Path(path)
    known = None if classes is None else set(classes["mid"])
    promised, count = None, 0
    names, ids, starts, ends, labels, numbers = [], [], [], [], [], []
    seen: dict[str, tuple[str, ...]] = {}
    try:
        with open(path, encoding=ENCODING) as lines:
            for number, line in enumerate(lines, 1):
                if line.startswith("#"):
                    found = _PROMISED_ROWS.search(line)
                    promised = int(found[1]) if found else promised
                    continue
                if line.isspace() or (number == 1 and line.strip().split(",") == SEGMENT_COLUMNS):
                    continue
                count += 1
                if rows is not None and count - 1 not in rows:
                    continue
                match = _SEGMENT.fullmatch(line)
                if match is None:
                    raise GlatError(
                        f'{path}: line {number}: {line.strip()[:80]!r} is not YTID,start,end,"labels": '
                        "the file is cut or damaged; fetch it again"
                    )
                youtube_id, start, end, text = match.groups()
                mids = seen.get(text)
                if mids is None:
                    mids = seen[text] = _mids(text, known, path, number)
                start, end = float(start), float(end)
                if start >= end:
                    raise GlatError(f"{path}: line {number}: start {start:g} s is not before end {end:g} s")
                names.append(f"{youtube_id}_{round(start * 1000)}")
                ids.append(youtube_id)
                starts.append(start)
                ends.append(end)
                labels.append(mids)
                numbers.append(number)
    except (OSError, UnicodeDecodeError) as error:
        raise GlatError(f"{path}: cannot be read as a segment list: {error}") from None
    if not count:
        raise GlatError(f"{path}: holds no segment")
    if len(set(names)) < len(names):
        first = int(np.flatnonzero(pd.Series(names).duplicated())[0])
        raise GlatError(f"{path}: line {numbers[first]}: clip {names[first]} occurs twice; remove one of the lines")
    if promised is not None and promised != count:
        raise GlatError(
            f"{path}: line {number} is the last, but the header promises num_segs={promised} and "
            f"{count} are there: the file is cut or edited; fetch it again"
        )
    columns = {"clip": names, "youtube_id": ids, "start": starts, "end": ends}
    return pd.DataFrame(columns | {"labels": pd.Series(labels, dtype=object)})


def _mids(text: str, known: set[str] | None, path: Path, number: int) -> tuple[str, ...]:
    mids = tuple(mid.strip() for mid in text.strip('"').split(","))
    for mid in mids:
        if not mid:
            raise GlatError(f"{path}: line {number}: {text} has an empty label; the file is damaged")
        if known is not None and mid not in known:
            raise GlatError(f"{path}: line {number}: label {mid!r} is not in the class list; use the list that fits")
    return mids


def read_strong(path: str | Path) -> pd.DataFrame:
    """Read strong labels (TSV segment_id, start_time_seconds, end_time_seconds, label): one row an event.

    Columns clip, start, end (seconds from the clip's beginning), label (mid). Raises GlatError, naming file and
    line, for another header, a row cut short, and start >= end.
    """
    path = Path(path)
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=3, encoding=ENCODING)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise GlatError(f"{path}: cannot be read as strong labels: {error}") from None
    if list(table.columns) != STRONG_COLUMNS:
        raise GlatError(f"{path}: line 1 is not the header {' '.join(STRONG_COLUMNS)} (tab-separated)")
    if table.empty:
        raise GlatError(f"{path}: holds no label")
    table.columns = ["clip", "start", "end", "label"]
    for column in ("start", "end"):
        table[column] = pd.to_numeric(table[column], errors="coerce")
    bad = ~(table["start"] < table["end"]) | (table["label"] == "")
    if bad.any():
        line = int(np.flatnonzero(bad)[0]) + 2
        raise GlatError(f"{path}: line {line}: not segment_id, start < end, label: the file is cut or damaged")
    return table


def labels(segments: pd.DataFrame, classes: pd.DataFrame) -> Labels:
    """Weak labels of the segments, sparse. Raises GlatError if a label is not in the class list."""
    counts = np.fromiter(map(len, segments["labels"]), np.int64, len(segments))
    flat = list(chain.from_iterable(segments["labels"]))
    column = {mid: index for index, mid in enumerate(classes["mid"])}
    try:
        indices = np.fromiter(map(column.__getitem__, flat), np.int32, len(flat))
    except KeyError as error:
        raise GlatError(f"label {error.args[0]!r} of the segments is not in the class list") from None
    clip = np.repeat(np.arange(len(segments)), counts)
    # A label named twice on one line counts once, and a clip's classes are ascending.
    pairs = np.unique(clip * len(classes) + indices)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(pairs // len(classes), minlength=len(segments)))])
    return Labels(indptr.astype(np.int64), (pairs % len(classes)).astype(np.int32), len(classes))


def targets(segments: pd.DataFrame, classes: pd.DataFrame) -> np.ndarray:
    """(clips, classes) bool: the weak labels. For millions of segments take `labels`, which is sparse."""
    return labels(segments, classes).dense()


def shard_count(segments: int, shard_size: int) -> int:
    """Number of shards of up to `shard_size` segments."""
    return -(-segments // shard_size)


def shard_range(segments: int, shard: int, shard_size: int) -> range:
    """Numbers of the rows of shard number `shard` (from 0). Raises GlatError if there is no such shard."""
    shards = shard_count(segments, shard_size)
    if not 0 <= shard < shards:
        raise GlatError(f"shard {shard} does not exist: {segments} segments make {shards} shards of {shard_size}")
    return range(shard * shard_size, min(segments, (shard + 1) * shard_size))


def shard_rows(segments: pd.DataFrame, shard: int, shard_size: int) -> pd.DataFrame:
    """Rows of shard number `shard` (from 0), in the list's order. Raises GlatError if there is no such shard."""
    rows = shard_range(len(segments), shard, shard_size)
    return segments.iloc[rows.start : rows.stop].reset_index(drop=True)


def segments_hash(segments: pd.DataFrame) -> str:
    """SHA-256 over clip, start, end and labels of every row, in order."""
    digest = hashlib.sha256()
    for clip, start, end, mids in zip(segments["clip"], segments["start"], segments["end"], segments["labels"]):
        digest.update(f"{clip},{start},{end},{'|'.join(mids)}\n".encode())
    return digest.hexdigest()

"""AudioSet's own file formats: the class list, the segment lists in both dialects, the strong labels.

A clip's name is AudioSet-strong's segment_id: `<YouTube id>_<start in milliseconds>`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from ...lib.errors import GlatError
from ...lib.layout import shard_count
from ..audio.formats import extension
from .labels import LabelNames, Labels
from .rows import Column, Rows, is_number

CLASS_COLUMNS = [
    Column("index", ("id", "class_id"), number=True, optional=True),
    Column("mid", ("label", "label_id")),
    Column("display_name", ("name", "class_name")),
]
SEGMENT_COLUMNS = [
    Column("YTID", ("youtube_id", "video_id", "id", "clip", "clip_id", "file", "filename", "file_name", "fname", "name",
                    "path", "audio", "audio_name")),
    Column("start_seconds", ("start", "start_time", "start_time_seconds", "onset", "begin"), number=True,
           lacking="add them; for a file that is the clip, 0 and its length in seconds"),
    Column("end_seconds", ("end", "end_time", "end_time_seconds", "offset"), number=True),
    Column("positive_labels", ("labels", "label", "mids", "mid", "classes", "class", "tags", "tag", "category",
                               "categories")),
]  # fmt: skip
STRONG_COLUMNS = [
    Column("segment_id", ("clip", "clip_id", "filename", "file")),
    Column("start_time_seconds", ("start_seconds", "start", "start_time", "onset"), number=True),
    Column("end_time_seconds", ("end_seconds", "end", "end_time", "offset"), number=True),
    Column("label", ("mid", "event_label", "class")),
]

_PROMISED_ROWS = re.compile(r"num_segs\s*=\s*(\d+)")
_PLAIN_ID = re.compile(r"[\w-]+")
_NO_ID = re.compile(r'[,"\x00-\x1f\x7f]')


def read_class_list(path: str | Path, named: str | None = None) -> pd.DataFrame:
    """Read `class_labels_indices.csv`: columns index (0, 1, 2, ... without a gap), mid, display_name.

    Any CSV with these columns (`rows.Rows`); without the column index, the rows count. named: what errors call the file,
    if not by its path.

    Raises GlatError, by name and line, if there is none, an index is out of order, or a mid or a name is empty or occurs
    twice.
    """
    rows = Rows(path, CLASS_COLUMNS, "a class list", named)
    at, mid, name = rows.place
    found: dict[str, list[str]] = {"mid": [], "display_name": []}
    lines: dict[tuple[str, str], int] = {}
    for line, fields in rows:
        expected = str(len(found["mid"]))
        if at >= 0 and fields[at].strip() != expected:
            raise rows.fault(line, f"index {expected}, as indices run 0, 1, 2, ...", fields[at].strip())
        for column, place in (("mid", mid), ("display_name", name)):
            text = fields[place].strip()
            if not text:
                raise rows.fault(line, f"a {column}", ",".join(fields))
            if (before := lines.setdefault((column, text), line)) != line:
                raise GlatError(f"{rows.named}: line {line}: {column} {text!r} occurs twice, first in line {before}")
            found[column].append(text)
    if not lines:
        raise GlatError(f"{rows.named}: holds no class")
    return pd.DataFrame({"index": np.arange(len(found["mid"]))} | found)


def read_segments(
    path: str | Path,
    classes: pd.DataFrame | None = None,
    named: str | None = None,
    tell: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Read a segment list: columns clip, youtube_id, start, end (seconds, float), labels (tuple of mids, empty for a clip
    that none of the classes is heard in), written (the id as the list has it).

    named: what errors call the file, if not by its path. tell: called with a sentence on each thing that was read and may
    be meant otherwise.

    Both of AudioSet's dialects, Google's original (three `#` lines, then fields separated by `, `) and the plain one (a
    header line `YTID,start_seconds,end_seconds,positive_labels`), and any CSV with these columns (`rows.Rows`). Of an id
    with a folder or an audio file's extension, the name without them is the clip's; a source that finds files goes by all
    of it. A row after the first that begins with `#` is a row. With `classes`, every label must be a class's mid or, where
    that can mean nothing else, its display name, separated by commas, semicolons or bars.

    Raises GlatError, by name and line, for a row that is not a segment (a file cut in mid-line), a label that the class
    list lacks, 0 <= start < end untrue, the same clip twice, and fewer or more rows than Google's header promises.
    """
    table, names, tell = (
        Rows(path, SEGMENT_COLUMNS, "a segment list", named),
        LabelNames(classes),
        tell or (lambda _: None),
    )
    at, from_, to, of = table.place
    count = 0
    clips, ids, starts, ends, labels, numbers = [], list[str](), [], [], [], []
    seen: dict[str, tuple[str, ...]] = {}
    written: dict[int, str] = {}
    for line, fields in table:
        count += 1
        youtube_id, text = fields[at].strip(), fields[of].strip()
        if not _PLAIN_ID.fullmatch(youtube_id):
            written[len(ids)] = youtube_id
            if youtube_id.startswith("#"):
                tell(f"{table.named}: line {line} begins with # and is read as a clip; remove it if it is a comment")
            youtube_id = _id(table, line, fields, youtube_id)
        try:
            start, end = float(fields[from_]), float(fields[to])
        except ValueError:
            start = end = math.nan
        if not 0 <= start < end < math.inf:
            raise _times(table, line, fields)
        mids = seen.get(text)
        if mids is None:
            mids = seen[text] = names.read(text, f"{table.named}: line {line}")
        clips.append(f"{youtube_id}_{round(start * 1000)}")
        ids.append(youtube_id)
        starts.append(start)
        ends.append(end)
        labels.append(mids)
        numbers.append(line)
    if not count:
        raise GlatError(f"{table.named}: holds no segment")
    if len(set(clips)) < len(clips):
        _refuse_twice(table, clips, numbers, written)
    for comment in table.comments:
        promised = _PROMISED_ROWS.search(comment)
        if promised and int(promised[1]) != count:
            raise GlatError(
                f"{table.named}: its header promises num_segs={promised[1]}, and {count} are there: the file is cut or "
                "edited"
            )
    if table.unread:
        tell(f"{table.named}: {', '.join(map(repr, table.unread))} of its columns not read")
    columns = {"clip": clips, "youtube_id": ids, "start": starts, "end": ends}
    columns |= {"labels": pd.Series(labels, dtype=object)}
    return pd.DataFrame(columns | {"written": [written.get(row, plain) for row, plain in enumerate(ids)]})


def count_lines(path: str | Path) -> int:
    """The lines of a segment list from its first row on: its segments, where each is one line."""
    above = Rows(path, SEGMENT_COLUMNS, "a segment list").above
    with open(path, "rb") as file:
        count, last = 0, b""
        while block := file.read(1 << 20):
            count, last = count + block.count(b"\n"), block
    return count + (not last.endswith(b"\n")) - above


def _id(table: Rows, line: int, fields: list[str], text: str) -> str:
    """A clip's id of the name that a list gives it: without a folder and an audio file's extension."""
    name = re.split(r"[/\\]", text)[-1]
    found = name.removesuffix(extension(name))
    if not found or _NO_ID.search(found):
        message = text or ",".join(fields)
        raise table.fault(line, f"{table.header[table.place[0]].strip()}, a name without comma and quote", message)
    return found


def _times(table: Rows, line: int, fields: list[str]) -> GlatError:
    texts = [fields[place].strip() for place in table.place[1:3]]
    start, end = (table.header[place].strip() for place in table.place[1:3])
    if wrong := [(name, text) for name, text in zip((start, end), texts, strict=True) if not is_number(text)]:
        header = "; a header names the columns YTID,start_seconds,end_seconds,positive_labels" if line == 1 else ""
        found = ",".join(fields) if not wrong[0][1] or line == 1 else wrong[0][1]
        fault = table.fault(line, f"{wrong[0][0]} in seconds", found)
        return GlatError(f"{fault}{header}")
    return table.fault(line, f"0 <= {start} < {end} in seconds", ",".join(texts))


def _refuse_twice(table: Rows, clips: list[str], numbers: list[int], written: dict[int, str]) -> None:
    second = int(np.flatnonzero(pd.Series(clips).duplicated())[0])
    first = clips.index(clips[second])
    message = (
        f"{table.named}: line {numbers[second]}: clip {clips[second]} occurs twice, first in line {numbers[first]}"
    )
    if written.get(first) != written.get(second):
        names = " and ".join(repr(written[row]) for row in (first, second) if row in written)
        raise GlatError(
            f"{message}: {names} differ by folder or extension alone, which no clip is named by; rename one of the files"
        )
    raise GlatError(f"{message}; remove one of the lines")


def read_strong(
    path: str | Path,
    classes: pd.DataFrame | None = None,
    named: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """Read strong labels (TSV segment_id, start_time_seconds, end_time_seconds, label): one row an event.

    Columns clip, start, end (seconds from the clip's beginning), label: the mid of a class. With `classes`, a class's display
    name is replaced by its mid; a label that is neither stays as it is. named: the name of the file in errors. tell: is called
    with a sentence if display names were replaced.

    Raises GlatError, by name and line, for a header without these columns, a row cut short, and start >= end.
    """
    table = Rows(path, STRONG_COLUMNS, "strong labels", named)
    mid_of = LabelNames(classes).mid_of
    at, from_, to, of = table.place
    found, names = [], []
    for line, fields in table:
        clip, label = fields[at].strip(), fields[of].strip()
        try:
            start, end = float(fields[from_]), float(fields[to])
        except ValueError:
            start = end = math.nan
        if not (clip and label and start < end):
            raise table.fault(line, "segment_id, start < end in seconds, label", " ".join(fields))
        found.append((clip, start, end, mid_of.get(label, label)))
        if found[-1][-1] != label:
            names.append(label)
    if not found:
        raise GlatError(f"{table.named}: holds no label")
    if names:
        tell(
            f"{table.named}: {len(names)} of {len(found)} labels are display names where ids belong, {names[0]!r} the first; "
            "they are read as these classes"
        )
    return pd.DataFrame(found, columns=["clip", "start", "end", "label"])


def labels(segments: pd.DataFrame, classes: pd.DataFrame) -> Labels:
    """Weak labels of the segments, sparse. Raises GlatError if a label is not in the class list."""
    counts = np.fromiter(map(len, segments["labels"]), np.int64, len(segments))
    flat = list(chain.from_iterable(segments["labels"]))
    column = {mid: index for index, mid in enumerate(classes["mid"])}
    try:
        indices = np.fromiter(map(column.__getitem__, flat), np.int32, len(flat))
    except KeyError as error:
        raise GlatError(f"label {error.args[0]!r} of the segments is not in the class list") from None
    clips = np.repeat(np.arange(len(segments)), counts)
    return Labels.from_pairs(clips, indices, (len(segments), len(classes)))


def targets(segments: pd.DataFrame, classes: pd.DataFrame) -> np.ndarray:
    """(clips, classes) bool: the weak labels. For millions of segments take `labels`, which is sparse."""
    return labels(segments, classes).dense()


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
    for clip, start, end, mids in segments[["clip", "start", "end", "labels"]].itertuples(index=False):
        digest.update(f"{clip},{start},{end},{'|'.join(mids)}\n".encode())
    return digest.hexdigest()

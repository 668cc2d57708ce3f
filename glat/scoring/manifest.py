"""The clips behind a score: the manifest of an evaluation, lists that restrict an evaluation, and what lists share.

A manifest (`clips.txt` beside metrics.json) holds one clip name a line, `<id>_<start in ms>`, in the order of
`LC_ALL=C sort`, and nothing else. So its hash is the same wherever the same clips were scored: `sha256sum clips.txt`.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..lib.errors import GlatError
from ..lib.files import whole

MANIFEST = "clips.txt"
DIGITS = 12  # of the hash in tables

_ENTRY = re.compile(r"[\w.+-]+")
_NAME = re.compile(r"(.+)_\d+")
_HEADERS = {"clip", "clips", "name", "audio_name", "ytid", "youtube_id", "id", "segment_id"}
_AS_PANNS = re.compile(r"Y(.{11})\.\w+")  # PANNs' name of a clip's file
_NUMBER = re.compile(r"\d+(\.\d*)?")


class Selection(NamedTuple):
    """The clips of the packs that a list names: their indices, ascending, and a summary of the list."""

    indices: np.ndarray
    facts: dict[str, Any]  # path, sha256, and the numbers of entries listed, found and missing
    sentence: str


def manifest(clips: Iterable[str]) -> str:
    """The text of a manifest."""
    return "".join(f"{clip}\n" for clip in sorted(map(str, clips)))


def write_manifest(path: Path, clips: Iterable[str]) -> str:
    """Write a manifest; returns its SHA-256."""
    content = manifest(clips).encode()
    with whole(path) as part:
        part.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def read_list(path: str | Path) -> list[str]:
    """The entries of a list of clips, each once: names `<id>_<start in ms>` or bare YouTube ids.

    One entry a line; `#` begins a comment. In a CSV the first column is read, and start and end in seconds if they
    follow, as in AudioSet's segment lists. PANNs' file names, `Y<id>.wav`, stand for the id.

    Raises:
        GlatError: a file that can't be read, a line without a clip, or no clip at all.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise GlatError(f"{path}: no such list of clips") from None
    except UnicodeDecodeError:
        raise GlatError(f"{path}: not a text file; a list of clips has one name or YouTube id a line") from None
    except OSError as error:
        raise GlatError(f"{path}: cannot be read as a list of clips ({error.strerror})") from None
    entries: dict[str, None] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.split("#")[0].strip():
            continue
        first, *times = _fields(line.split("#")[0])
        if first.lower() in _HEADERS and not entries:
            continue
        if not _ENTRY.fullmatch(first):
            neither = "is neither a clip's name, <id>_<start in ms>, nor an id"
            raise GlatError(f"{path}: line {number}: {first[:40]!r} {neither}")
        if (known := as_id(first)) != first:
            first = known
        elif len(times) > 1 and all(_NUMBER.fullmatch(time) for time in times[:2]):
            first = f"{first}_{round(float(times[0]) * 1000)}"
        entries[first] = None
    if not entries:
        raise GlatError(f"{path}: lists no clip; it needs one name or YouTube id a line")
    return list(entries)


def choose(clips: Sequence[str] | np.ndarray, path: str | Path) -> Selection:
    """The clips (names, as in the packs) that the list at `path` names, and how many of its entries are not among them.

    Raises:
        GlatError: a list that `read_list` refuses, or of which no entry is among the clips.
    """
    entries = read_list(path)
    places: dict[str, list[int]] = {}
    for index, clip in enumerate(map(str, clips)):
        for key in (clip, youtube_id(clip)):
            places.setdefault(key, []).append(index)
    missing = [entry for entry in entries if entry not in places]
    found = len(entries) - len(missing)
    sentence = f"{path}: {len(entries)} clips listed, {found} found, {len(missing)} not in the packs"
    if missing:
        sentence += f" (first {missing[0]})"
    if not found:
        raise GlatError(f"{sentence}; evaluation.only takes names or ids of this dataset's evaluation clips")
    indices = sorted({index for entry in entries for index in places.get(entry, [])})
    facts: dict[str, Any] = {"path": str(path), "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}
    facts |= {"listed": len(entries), "found": found, "missing": len(missing)}
    return Selection(np.array(indices), facts, sentence)


def common_clips(lists: Sequence[str | Path]) -> list[str]:
    """The clips that several lists share, sorted. A run's folder stands for its manifest.

    A bare id in one list matches a name with that id in another; the result has the name if any list does.

    Raises:
        GlatError: a list that can't be read, or no clip in common.
    """
    paths = _paths(lists)
    entries = [read_list(path) for path in paths]
    known = [set(one) for one in entries]
    ids = [{youtube_id(entry) for entry in one} for one in entries]
    base = max(entries, key=lambda one: all(youtube_id(entry) != entry for entry in one))  # the first that has names
    shared = [
        entry
        for entry in base
        if all(
            entry in names or youtube_id(entry) in names or entry in those
            for names, those in zip(known, ids, strict=True)
        )
    ]
    if not shared:
        raise GlatError(f"{', '.join(map(str, paths))}: no clip is in all of them")
    return sorted(shared)


def clip_counts(lists: Sequence[str | Path]) -> list[int]:
    """The number of clips in each list."""
    return [len(read_list(path)) for path in _paths(lists)]


def _paths(lists: Sequence[str | Path]) -> list[Path]:
    return [path / MANIFEST if (path := Path(given)).is_dir() else path for given in lists]


def _fields(line: str) -> list[str]:
    try:
        return [field.strip() for field in next(csv.reader([line]))]
    except csv.Error:  # not a line of a CSV: too long, or with NUL
        return [f"{line[:39]}…"]


def youtube_id(clip: str) -> str:
    """The YouTube id in a clip's name; a bare id, which has eleven characters, is returned as it is."""
    found = _NAME.fullmatch(clip)
    return clip if found is None or len(clip) == 11 else found[1]


def as_id(name: str) -> str:
    """PANNs' name of a clip's file, `Y<id>.wav`, as the id; any other name as it is."""
    found = _AS_PANNS.fullmatch(name)
    return found[1] if found else name

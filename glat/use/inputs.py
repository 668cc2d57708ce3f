"""Which recordings a command line names: files, folders, patterns, standard input."""

from __future__ import annotations

import glob
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..data.audio.formats import extension
from ..data.audio.pieces import Limits
from ..data.lists.matching import walk
from ..lib.errors import GlatError

STDIN = Path("-")
OFTEN_NO_SOUND = (".mat", ".ts", ".iff", ".xi", ".sf", ".htk")  # whose files are mostly something else


class Input(NamedTuple):
    """A recording: how it is named in what is written, and where it is read from."""

    name: Path
    source: Path | BinaryIO


def expand(given: Iterable[Path], limits: Limits) -> list[Input]:
    """The recordings that arguments name, each once, in order; a name of nothing stands for itself, and fails when it is read.

    A folder stands for all audio files in it and below, by their suffixes, but for `OFTEN_NO_SOUND` and hidden folders; a
    pattern (`**` too) for the files that match; both sorted. `-` is standard input, which is kept in a temporary file: its
    container may be read twice.

    Raises:
        GlatError: a folder without such a file, a pattern that none matches, or more on standard input than `limits.bytes`.
    """
    found: dict[Path, Input] = {}
    for one in given:
        for path in _paths(one):
            if path not in found:
                found[path] = Input(path, _standard_input(limits) if path == STDIN else path)
    return list(found.values())


def _paths(given: Path) -> list[Path]:
    if given == STDIN or (os.path.lexists(given) and not given.is_dir()):
        return [given]
    if given.is_dir():
        unreadable: list[str] = []
        below = [
            given / folder / name
            for folder, name in walk(str(given), unreadable)
            if extension(name).lower() not in ("", *OFTEN_NO_SOUND)
        ]
        if unreadable:
            raise GlatError(f"{given / unreadable[0]}: its files would be left out, so name those that can be read")
        if not below:
            raise GlatError(f"{given}: a folder without an audio file, by their suffixes; name the files")
        return sorted(below)
    if glob.has_magic(str(given)):
        matching = sorted(path for path in map(Path, glob.glob(str(given), recursive=True)) if not path.is_dir())
        if not matching:
            raise GlatError(f"{given}: no file matches this pattern")
        return matching
    return [given]


def _standard_input(limits: Limits) -> BinaryIO:
    kept = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as it is read
    left = limits.bytes
    while chunk := sys.stdin.buffer.read(2**20):
        left -= len(chunk)
        if left < 0:
            raise GlatError(f"-: over {limits.bytes:.0f} bytes on standard input, the limit ({limits.names[0]})")
        kept.write(chunk)
    kept.seek(0)
    return kept

"""Audio that is there already: a tree of cut clips, used in place and never copied."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from ...errors import GlatError

EXTENSIONS = {".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".webm", ".mp4"}


def fetch(
    segments: pd.DataFrame, folder: Path, split: str, first: int, workers: int = 1, *, audio: str
) -> pd.DataFrame:
    """Find the cut clip of each segment in the tree `audio`, by name: `<id>`, `Y<id>`, `<id>_<start>` with the start in
    milliseconds or seconds, also with the end behind it, with any of the usual extensions, in any folder.

    Returns a table clip, file (absolute path), reason ("no file" where none has the name).

    Raises:
        GlatError: there is no such folder.
    """
    if not Path(audio).is_dir():
        raise GlatError(f"{audio}: no such folder of audio files; set datasets.*.source.audio")
    found: dict[str, str] = {}
    for parent, _, names in sorted(os.walk(os.path.abspath(audio))):
        for name in sorted(names):
            stem, extension = os.path.splitext(name)
            if extension.lower() in EXTENSIONS:
                found.setdefault(stem, os.path.join(parent, name))
    rows = []
    for row in segments.itertuples():
        file = next((found[name] for name in _names(row.youtube_id, row.start, row.end) if name in found), "")
        rows.append((row.clip, file, "" if file else "no file"))
    return pd.DataFrame(rows, columns=["clip", "file", "reason"])


def _names(youtube_id: str, start: float, end: float) -> list[str]:
    """Stems that a downloader may have given the clip, the most specific first."""
    stems = []
    for a, b in (
        (f"{start * 1000:.0f}", f"{end * 1000:.0f}"),
        (f"{start:.0f}", f"{end:.0f}"),
        (f"{start:.3f}", f"{end:.3f}"),
    ):
        stems += [f"{youtube_id}_{a}_{b}", f"{youtube_id}_{a}"]
    return [*stems, youtube_id] + [f"Y{stem}" for stem in (*stems, youtube_id)]

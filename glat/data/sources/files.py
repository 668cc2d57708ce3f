"""Audio that is there already: a tree of files, used in place and never copied or written to.

A clip's file is found by its name, in any folder, with any of the usual extensions (`audio.formats.SUFFIXES`, in upper or
lower case): `<id>`, `Y<id>`, `<id>_<start>`, `<id>_<start>_<end>`, times in seconds or milliseconds; other names and
layouts by a `pattern` (`layout.Pattern`). Where the list writes an id as a path, the file must not lie in another folder
(`matching`). Of several files of one clip, that is taken which is not empty, then by this order: start and end in its name,
a start, no time; more of the folder, then the extension, that the list writes; a folder with the split's name above it;
the extension, in the order of `glat.data.audio.formats.SUFFIXES`; the shorter path, then the alphabet.
"""

from __future__ import annotations

import os
import stat
from typing import Annotated, Literal

import pandas as pd
from pydantic import AfterValidator, BeforeValidator, Field

from ...lib.errors import GlatError
from ...lib.escaping import is_text
from ..audio.formats import SUFFIXES, extension
from ..kinds import Kind, Loss
from ..lists.matching import UNTIMED, SplitFolders, Wanted, walk
from . import Shard, Source
from .layout import Pattern


def _folder(audio: object) -> str:
    if not isinstance(audio, str) or not audio:
        raise ValueError(f"{audio!r} is not the path of a folder")
    return audio


def _pattern(text: str | None) -> str | None:
    if text is not None:
        Pattern(text, "split")
    return text


PathPattern = Annotated[str | None, AfterValidator(_pattern)]


class Files(Source):
    """audio: the folder that the tree of files is in. pattern: a `layout.Pattern`, in place of the usual names.
    split_folders: folders of splits that are not named as the split.

    full_videos: of a file whose name has no time, true: it is the whole video, and the clip is cut from it; false: it is
    the clip; auto: it is the clip if it is no longer than one, else the video. Where the list has several segments of an
    id, auto takes a file that is longer than one, or holds all of them, for the video; a shorter one is ambiguous. A file
    with a time in its name is always the clip.
    """

    audio: Annotated[str, BeforeValidator(_folder)]
    pattern: PathPattern = None
    full_videos: Literal["auto", True, False] = "auto"
    split_folders: SplitFolders = Field(default_factory=dict)

    def fetch(self, shard: Shard) -> pd.DataFrame:
        """Find the file of each segment in the tree `audio`.

        Returns a table clip, file (absolute path), part (`<start>+<seconds>` of a video, `auto:...` where its length is to
        decide, `many:<last>:...` where it is one of several segments that end by `last` seconds), kind and reason: "no file",
        "ambiguous" (several segments of its id, no time in the name, and `full_videos` is false).

        Raises:
            GlatError: no such folder, one that cannot be read, no audio in it, or none of it of this shard.
        """
        segments, split, audio, pattern = shard.segments, shard.split, self.audio, self.pattern
        root = os.path.abspath(audio)
        if not os.path.isdir(root):
            raise GlatError(f"{audio}: no such folder of audio files; set datasets.*.source.audio")
        own_folder = self.split_folders.get(split, split)
        template = Pattern(pattern, own_folder) if pattern is not None else None
        order = {end: place for place, end in enumerate(SUFFIXES)}
        wanted = Wanted(segments, shard.whole)
        seen, example, unreadable = 0, "", list[str]()
        for below, name in walk(root, unreadable):
            if not (end := extension(name)):
                continue
            seen, example = seen + 1, example or f"{below}{name}"
            stem = name[: -len(end)]
            for named in template.read(below + stem, end) if template else wanted.read(stem):
                path = below + name
                preference = (own_folder not in below.split("/"), order[end.lower()], len(path), path)
                # A pattern may leave any bytes beside the id, and the table of reasons is UTF-8.
                wanted.offer(named, preference, path, stem if is_text(stem) else ascii(stem), below, end)
        if not seen:
            raise GlatError(f"{audio}: holds no audio file ({', '.join(SUFFIXES)}); set datasets.*.source.audio")
        if not wanted.candidates:
            fit = f"the pattern {pattern!r}" if pattern is not None else "the names <id>, Y<id>, <id>_<start>_<end>"
            fit += " in the folders that the list names" if wanted.elsewhere else ""
            raise GlatError(
                f"{audio}: none of its {seen} audio files is of the {len(segments)} segments asked for ({split}, from "
                f"{segments['clip'].iloc[0]} on) by {fit}; a file there is {example!r}; set datasets.*.source.pattern"
            )
        return _listing(segments, wanted, root, self.full_videos, unreadable)


def _listing(
    segments: pd.DataFrame, wanted: Wanted, root: str, full_videos: bool | str, unreadable: list[str]
) -> pd.DataFrame:
    """unreadable: folders, with the reason."""
    table = []
    for row, segment in enumerate(segments.itertuples()):
        best = wanted.choose(row, Kind.NO_FILE, full_videos is not False, lambda c: _useless(f"{root}/{c.place}"))
        file, part, loss = "", "", ("", "")
        if not isinstance(best, Loss):
            file = os.path.join(root, best.place)
            if not is_text(file):
                file, loss = "", Loss.of(Kind.UNREADABLE, "the name of its file is not UTF-8; rename it")
            elif best.fit == UNTIMED and full_videos is not False:
                part = f"{segment.start:.10g}+{segment.end - segment.start:.10g}"
                if full_videos == "auto":
                    last = wanted.repeated.get(wanted.written[row])
                    part = f"auto:{part}" if last is None else f"many:{last:.10g}:{part}"
        else:
            hint = f"; not looked into: {', '.join(map(_printable_name, unreadable[:3]))}" if unreadable else ""
            if best.kind == Kind.AMBIGUOUS:
                hint = "; if it is all of the recording, set source.full_videos to auto"
            loss = best._replace(reason=best.reason + hint)
        table.append((segment.clip, file, part, *loss))
    return pd.DataFrame(table, columns=["clip", "file", "part", "kind", "reason"])


def _printable_name(path: str) -> str:
    return path if is_text(path) else ascii(path)


def _useless(path: str) -> bool:
    """Whether a file is empty, gone, or none."""
    try:
        status = os.stat(path)
    except OSError:
        return True
    return not (stat.S_ISREG(status.st_mode) and status.st_size)

"""Any archives of audio, fetched and unpacked: their files are found as those of the source `files` are."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import pandas as pd
from pydantic import AfterValidator, Field

from ...lib.errors import GlatError
from ..archives import Archive, Parts, group
from ..archives.store import FILES
from ..lists.matching import SplitFolders
from . import Shard
from .archived import Archived
from .files import Files, PathPattern


def _inside(folder: str | None) -> str | None:
    if folder is not None and (PurePosixPath(folder).is_absolute() or ".." in PurePosixPath(folder).parts):
        raise ValueError(f"{folder!r} is not a folder inside the archives")
    return folder


class Archives(Archived):
    """parts: the archives, each an address or a path, with its checksums; a split zip is all of its parts. audio: the folder
    in an archive, or `<archive>/<folder>`, that the audio is in; null: anywhere in them. The others are those of `files`."""

    parts: Parts
    audio: Annotated[str | None, AfterValidator(_inside)] = None
    pattern: PathPattern = None
    full_videos: Literal["auto", True, False] = "auto"
    split_folders: SplitFolders = Field(default_factory=dict)

    def archives(self) -> list[Archive]:
        return group(self.parts)

    def fetch(self, shard: Shard) -> pd.DataFrame:
        """Find the file of each segment in what was unpacked: `Files.fetch`.

        Raises:
            GlatError: nothing unpacked, no such folder in it, and what `Files.fetch` raises.
        """
        files = Files(
            audio=str(self._folder(shard.store / FILES)),
            pattern=self.pattern,
            full_videos=self.full_videos,
            split_folders=self.split_folders,
        )
        return files.fetch(shard)

    def _folder(self, root: Path) -> Path:
        if not root.is_dir():
            raise GlatError(f"{root}: nothing is unpacked there; run `glat fetch` first")
        if self.audio is None:
            return root
        places = [root, *(root / archive.name for archive in self.archives())]
        found = [place / self.audio for place in places if (place / self.audio).is_dir()]
        if len(found) == 1:
            return found[0]
        names = ", ".join(archive.name for archive in self.archives())
        what = "is in several of" if found else "is in none of"
        raise GlatError(
            f"datasets.*.source.audio: the folder {self.audio!r} {what} the archives {names}, unpacked to {root}; write "
            "<archive>/<folder>, or leave it out"
        )

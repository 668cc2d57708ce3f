"""What the sources have in common whose audio comes as archives: fetched once for all shards, and unpacked."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pandas as pd
from pydantic import Field

from ...config.types import Positive
from ...lib.addresses import LIMITS, Limits
from ...lib.errors import GlatError, warn
from ..archives import Archive
from ..archives.store import FILES, Store
from ..audio.formats import SUFFIXES, extension
from ..kinds import Kind, Loss
from . import ListedSource, Shard, Source


class Archived(Source):
    """keep_archives: whether what was fetched stays when it is unpacked. max_unpacked_gigabytes: a larger archive is
    refused."""

    keep_archives: bool = False
    max_unpacked_gigabytes: Positive = 100.0
    ways: ClassVar[tuple[str, ...]] = ("keep_archives", "max_unpacked_gigabytes")
    setting: ClassVar[str] = "datasets.*.source.parts"  # the key that names the archives

    @abstractmethod
    def archives(self) -> list[Archive]:
        """The archives to fetch and unpack; none where the audio is there already."""

    @property
    def own_files(self) -> list[str]:
        return [part.file for archive in self.archives() for part in archive.parts if part.path]

    @property
    def fetches(self) -> bool:
        return bool(self.archives())

    def fetch_all(self, store: Path, limits: Limits = LIMITS, splits: Sequence[str] = ()) -> dict[str, Any]:
        """Fetch and unpack the archives that are not there yet (`archives.store.Store`)."""
        most = 1e9 * self.max_unpacked_gigabytes
        return {"archives": Store(store, limits, most, self.keep_archives, self.setting).fetch(self.archives())}


class Corpus(Archived, ListedSource):
    """A published corpus of recordings with lists of its own.

    folder: where it is unpacked already, in its own layout; null: it is fetched. Audio may have any format there.
    """

    folder: Annotated[str, Field(min_length=1)] | None = None

    lists: ClassVar[tuple[str, ...]]  # the files of the corpus that lists are made from

    @property
    def recordings(self) -> bool:
        return True

    @property
    def inputs(self) -> list[str]:
        return [str(self.find(Path(), name)) for name in self.lists] if self.folder is not None else []

    @abstractmethod
    def audio(self, store: Path, split: str) -> Path:
        """The folder of a split's recordings."""

    def fetch(self, shard: Shard) -> pd.DataFrame:
        """Find the recording of each clip, by the clip's id and any suffix of audio.

        Returns a table clip, file (absolute path), part (empty: all of the file), kind and reason: "no file".

        Raises:
            GlatError: no folder of recordings, or none of this shard's in it.
        """
        folder = self.audio(shard.store, shard.split)
        names, place = files_by_stem(folder), os.path.abspath(folder)
        table = []
        for clip, name in zip(shard.segments["clip"], shard.segments["youtube_id"], strict=True):
            loss = ("", "") if name in names else Loss.of(Kind.NO_FILE, f"{name} is not in {folder}")
            table.append((clip, os.path.join(place, names[name]) if name in names else "", "", *loss))
        if not any(file for _, file, *_ in table):
            raise GlatError(
                f"{folder}: none of its {len(names)} audio files is of the {len(table)} clips asked for ({shard.split}, from "
                f"{table[0][0]} on); {self.advice()}"
            )
        return pd.DataFrame(table, columns=["clip", "file", "part", "kind", "reason"])

    def find(self, store: Path, inside: str) -> Path:
        """The file that the corpus calls `inside`, or the folder with audio, in `folder` or what was unpacked, or up to two
        folders below.

        Raises:
            GlatError: it is not there.
        """
        root = Path(self.folder) if self.folder is not None else store / FILES
        for above in ("", "*/", "*/*/"):
            for path in sorted(root.glob(above + inside)):
                # An archive's own folder may have the name of the folder in it.
                if path.is_file() or files_by_stem(path):
                    return path
        raise GlatError(f"{root}: holds no {inside}; {self.advice()}")

    def advice(self) -> str:
        """What to do where something of the corpus is not there."""
        if self.folder is not None:
            return "set datasets.*.source.folder to the folder that the corpus is unpacked to"
        return "run `glat fetch` first; if that has been done, remove data/<dataset>/source and fetch it again"

    def tell_absent(self, rows: Iterable[tuple[str, int, str]], folder: Path) -> None:
        """Warn of rows of a list, of which each has the list's name, its line and an id, whose recording is not in
        `folder`."""
        names, asked = files_by_stem(folder), list(rows)
        absent = [row for row in asked if row[2] not in names]
        if absent:
            named, line, name = absent[0]
            warn(
                f"{named}: line {line}: {name} is not in {folder}; of {len(asked)} clips, {len(absent)} will be lost, as they "
                "have no file"
            )


def files_by_stem(folder: Path) -> dict[str, str]:
    """The audio files of a folder by their names without a suffix; of two, the first in the order of `SUFFIXES`.

    Raises:
        GlatError: a folder that cannot be read.
    """
    try:
        names = [name for name in os.listdir(folder) if extension(name)]
    except OSError as error:
        raise GlatError(f"{folder}: cannot be read ({error.strerror}); make it readable") from None
    order = {end: place for place, end in enumerate(SUFFIXES)}
    names.sort(key=lambda name: (-order[extension(name).lower()], name))
    return {name.removesuffix(extension(name)): name for name in names}


def check_splits(kind: str, splits: Iterable[str], known: Iterable[str]) -> None:
    """Raise GlatError for a split that a corpus does not have."""
    known = list(known)
    if unknown := [split for split in splits if split not in known]:
        raise GlatError(f"datasets.*.splits: {unknown[0]!r} is not a split of {kind}, which has {', '.join(known)}")

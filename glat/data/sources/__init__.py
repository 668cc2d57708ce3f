"""Where a dataset's audio comes from: one module a source, one class in it, one line in `registry`.

A source is a subclass of `Source`: its fields are the keys of `datasets.*.source` in params.yaml beside `kind`, and
`fetch` brings or finds the audio of a shard.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...config.types import Settings
from ...lib.addresses import LIMITS, Limits
from ...lib.errors import GlatError
from ..audio.pieces import Cut

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Shard:
    """What a source is asked for: rows `first`, `first` + 1, ... of a split (`audioset.read_segments`).

    folder: for files that the source makes; workers: processes to work with; classes: the class list; whole: the rows
    of the whole split, where `segments` are not all; store: where `Source.fetch_all` put its files.
    """

    segments: pd.DataFrame
    folder: Path
    split: str
    first: int = 0
    workers: int = 1
    classes: pd.DataFrame | None = None
    whole: pd.DataFrame | None = None
    store: Path = Path()


def read_files(listing: pd.DataFrame, folder: Path, _longest: float = math.inf) -> Iterator[Path | Cut]:
    """The audio files of a listing: all of a file, or a piece of a longer one, by `part`.

    `<start>+<seconds>`: these seconds of it; `auto:<start>+<seconds>`: the same, or all of it if it is no longer;
    `many:<last>:<start>+<seconds>`: the same, or nothing if it is no longer and does not reach to `last`.
    """
    for clip, file, part in zip(listing["clip"], listing["file"], listing["part"], strict=True):
        path = folder / file
        how, _, times = part.rpartition(":")
        try:
            start, seconds = map(float, times.split("+")) if part else (0.0, 0.0)
            last = float(how.removeprefix("many:")) if how.startswith("many:") else None
        except ValueError:
            raise GlatError(f"clip {clip}: part {part!r} of {file} is not <start>+<seconds>; download again") from None
        yield Cut(path, start, seconds, how == "auto", last) if part else path


class Source(Settings):
    """A source and its settings.

    ways: names of settings that say how audio
    is got (a pace, a proxy) and not which: no file depends on them, and no pack holds them.
    """

    ways: ClassVar[tuple[str, ...]] = ()

    @property
    def recordings(self) -> bool:
        """Whether a file without a part is a recording that is kept whole, however long it is."""
        return False

    @property
    def inputs(self) -> list[str]:
        """The user's own files that the lists are made from: one that changes has them made again."""
        return []

    @property
    def own_files(self) -> list[str]:
        """The user's own files that `fetch_all` reads: one that changes has it done again."""
        return []

    @property
    def has_strong_labels(self) -> bool:
        """Whether the lists that the source makes say when each sound is heard."""
        return False

    def check_clips(self, seconds: float) -> None:
        """Raise GlatError if the source makes clips that are not of `audio.clip_seconds`."""

    @property
    def fetches(self) -> bool:
        """Whether there is something to fetch for all shards at once: `fetch_all`."""
        return False

    def fetch_all(self, store: Path, limits: Limits = LIMITS, splits: Sequence[str] = ()) -> dict[str, Any]:
        """Fetch into the folder `store` what all shards, and the lists, are made from, such as archives. What is there
        already and whole is kept. splits: those of the dataset, for a source that has files of each. Returns what was
        fetched, as JSON: file and checksum, for a record.

        Raises:
            GlatError: what cannot be fetched, is damaged, or does not fit on the disk.
        """
        return {}

    @property
    def used_in_place(self) -> bool:
        """Whether packs refer to the source's files instead of copying their waveforms."""
        return False

    @abstractmethod
    def fetch(self, shard: Shard) -> pd.DataFrame:
        """Bring or find the audio of a shard.

        Returns a table clip, file, part, kind (`glat.data.kinds.Kind`), reason as `glat.data.resample` describes it, in
        the order in which the audio is best read. `file` lies in `shard.folder` or is an absolute path; an optional column
        `note` is for the audit ("labels differ").
        """

    def read(self, listing: pd.DataFrame, folder: Path, seconds: float = math.inf) -> Iterator[Any]:
        """The audio of each row of `fetch`'s table that has any, as `glat.data.audio.clips.prepare` takes it: a path, a
        `Cut`, bytes of an audio file, `Samples`, or an `AudioError` that says why there is none.

        A sound of over `seconds` is lost anyway, and need not be read further than that.
        """
        return read_files(listing, folder, seconds)


class ListedSource(Source):
    """A source that makes the dataset's lists, too."""

    @abstractmethod
    def write_lists(self, folder: Path, splits: dict[str, int], store: Path = Path()) -> None:
        """Write into `folder` the class list and the lists of splits (name: number of clips), from what `fetch_all` put into
        `store`, if anything."""

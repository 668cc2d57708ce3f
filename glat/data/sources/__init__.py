"""Where a dataset's audio comes from: one module a source, named by `source.kind` in params.yaml.

A source is a module with

- `Settings`: its settings in params.yaml, a `glat.config.settings.Settings`;
- `fetch(shard, settings)`: bring or find the audio of a `Shard`, and return a table clip, file, part, reason as
  `glat.data.resample` describes it, in the order in which the audio is best read. `file` lies in `shard.folder` or is
  an absolute path; an optional column `note` is for the audit ("labels differ");

and, where it needs them,

- `write_metadata(folder, splits, settings)`: make the lists, for a source that has its own;
- `read(listing, folder, seconds)`: an iterator over the rows of the table that have audio, each as
  `glat.data.audio.clips.prepare` takes it: a path, a `Cut`, bytes of an audio file, `Samples`, or an `AudioError` that says why
  there is none; a sound of over `seconds` is lost anyway, and need not be read further than that;
- `WAYS`: names of settings that say how audio is got (a pace, a proxy) and not which: no file depends on them, and no
  pack tells them.

With the setting `in_place: true` (where a source has it), the packs refer to the source's files instead of copying.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Shard:
    """What a source is asked for: rows `first`, `first` + 1, ... of a split (`audioset.read_segments`).

    folder: for files that the source makes; workers: processes to work with; classes: the class list; whole: the rows
    of the whole split, where `segments` are not all.
    """

    segments: pd.DataFrame
    folder: Path
    split: str
    first: int = 0
    workers: int = 1
    classes: pd.DataFrame | None = None
    whole: pd.DataFrame | None = None

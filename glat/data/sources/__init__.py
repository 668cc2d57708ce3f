"""Where a dataset's audio comes from: one module a source, named by `source.kind` in params.yaml.

A source is a module with

- `Settings`: its settings in params.yaml, a `glat.settings.Settings`;
- `fetch(shard, settings)`: bring or find the audio of a `Shard`, and return a table clip, file, part, reason as
  `glat.data.resample` describes it, in the order in which the audio is best read. `file` lies in `shard.folder` or is
  an absolute path; an optional column `note` is for the audit ("labels differ");

and, where it needs them,

- `write_metadata(folder, splits, settings)`: make the lists, for a source that has its own;
- `read(listing, folder, seconds)`: an iterator over the rows of the table that have audio, each as
  `glat.data.audio.prepare` takes it: a path, a `Cut`, bytes of an audio file, `Samples`, or an `AudioError` that says why
  there is none; a sound of over `seconds` is lost anyway, and need not be read further than that;
- `WAYS`: names of settings that say how audio is got (a pace, a proxy) and not which: no file depends on them, and no
  pack tells them;
- `CODE`: names of further modules, by their paths from it, that its audio depends on.

With the setting `in_place: true` (where a source has it), the packs refer to the source's files instead of copying.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from os.path import normpath
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ... import settings
from ...documents import sentence
from ...errors import GlatError
from ...redaction import redact

if TYPE_CHECKING:
    import pandas as pd

SOURCES = {
    "synthetic": "glat.data.sources.synthetic",
    "youtube": "glat.data.sources.youtube",
    "files": "glat.data.sources.files",
    "panns_hdf5": "glat.data.sources.panns_hdf5",
    "passt_hdf5": "glat.data.sources.passt_hdf5",
    "parquet": "glat.data.sources.parquet",
}


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


def open_source(given: dict[str, Any], dataset: str) -> tuple[ModuleType, settings.Settings]:
    """The module of a source and its settings, checked: `datasets.<dataset>.source` of params.yaml.

    Raises:
        GlatError: an unknown kind, a setting that the source does not have or lacks, or a value that is not allowed.
    """
    place, kind = f"datasets.{dataset}.source", given.get("kind")
    if kind not in SOURCES:
        raise GlatError(f"{place}.kind: {kind!r} is not known; allowed are {', '.join(SOURCES)}")
    module = import_module(SOURCES[kind])
    fields = module.Settings.model_fields
    rest = {key: value for key, value in given.items() if key != "kind"}
    if extra := [key for key in rest if key not in fields]:
        raise GlatError(f"{place}: unknown key {extra[0]}; source {kind} has {', '.join(sorted(fields))}")
    if lost := [key for key, field in fields.items() if field.is_required() and key not in rest]:
        raise GlatError(f"{place}.{lost[0]}: missing; source {kind} needs it")
    try:
        return module, module.Settings(**rest)
    except ValidationError as error:
        raise GlatError(sentence(error, f"{place}.")) from None


def identity(settings: dict[str, Any]) -> dict[str, Any]:
    """What of a source's settings says which audio it gives: all but its `WAYS`, and no password in an address."""
    ways = getattr(import_module(SOURCES[settings["kind"]]), "WAYS", ())
    return redact({key: value for key, value in settings.items() if key not in ways})


def modules(kind: str) -> list[str]:
    """The source files, relative to the package, whose edit asks for the audio to be got or made again."""
    names = ["__init__.py", f"{kind}.py", *getattr(import_module(SOURCES[kind]), "CODE", ())]
    return [normpath(Path("data/sources") / name) for name in dict.fromkeys(names)]

"""Where a dataset's audio comes from: one module a source, named by `source.kind` in params.yaml.

A source is a module with

- `fetch(segments, folder, split, first, workers, **settings)`: bring or find the audio of rows `first`, ... of a split,
  and return a table clip, file, part, reason as `glat.data.resample` describes it, in the order in which the audio is
  best read. `file` lies in `folder` or is an absolute path; an optional column `note` is for the audit ("labels
  differ"). The keyword arguments behind `workers`, with their defaults, are the source's settings in params.yaml;
  but `classes` (the class list) and `repeated` (ids of which the split's list has several segments) are given to a
  source that asks for them.

and, where it needs them,

- `write_metadata(folder, splits, **settings)`: make the lists, for a source that has its own;
- `read(listing, folder)`: an iterator over the rows of the table that have audio, each as `glat.data.audio.prepare`
  takes it: a path, a `Cut`, bytes of an audio file, `Samples`, or an `AudioError` that says why there is none;
- `Settings`: a class whose parameters are settings too;
- `check(**settings)`: raises ValueError, in one sentence, for a value that is not allowed;
- `WAYS`: names of settings that say how audio is got (a pace, a proxy) and not which: no file depends on them, and no
  pack tells them;
- `CODE`: names of further modules beside it that its audio depends on.

With the setting `in_place: true` (where a source has it), the packs refer to the source's files instead of copying.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ...errors import GlatError

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


def open_source(settings: dict[str, Any], dataset: str) -> tuple[ModuleType, dict[str, Any]]:
    """The module of a source and its settings, checked: `datasets.<dataset>.source` of params.yaml.

    Raises:
        GlatError: an unknown kind, or a setting that the source does not have or lacks.
    """
    rest = dict(settings)
    kind = rest.pop("kind", None)
    if kind not in SOURCES:
        raise GlatError(f"datasets.{dataset}.source.kind: {kind!r} is not known; allowed are {', '.join(SOURCES)}")
    module = import_module(SOURCES[kind])
    required, optional = _settings(module)
    if extra := [key for key in rest if key not in required | optional]:
        allowed = ", ".join(sorted(required | optional))
        raise GlatError(f"datasets.{dataset}.source: unknown key {extra[0]}; source {kind} has {allowed}")
    if lost := sorted(required - rest.keys()):
        raise GlatError(f"datasets.{dataset}.source.{lost[0]}: missing; source {kind} needs it")
    if hasattr(module, "check"):
        try:
            module.check(**rest)
        except ValueError as error:
            raise GlatError(f"datasets.{dataset}.source.{error}") from None
    return module, rest


def identity(settings: dict[str, Any]) -> dict[str, Any]:
    """What of a source's settings says which audio it gives: all but its `WAYS`."""
    ways = getattr(import_module(SOURCES[settings["kind"]]), "WAYS", ())
    return {key: value for key, value in settings.items() if key not in ways}


def context(fetch: Callable, segments: pd.DataFrame, classes: pd.DataFrame) -> dict[str, Any]:
    """What a source's `fetch` asks for beside the shard, by its signature. segments: of the whole split."""
    asked, given = inspect.signature(fetch).parameters, {}
    if "classes" in asked:
        given["classes"] = classes
    if "repeated" in asked:
        given["repeated"] = set(segments["youtube_id"][segments["youtube_id"].duplicated()])
    return given


def modules(kind: str) -> list[str]:
    """The source files, relative to the package, whose edit asks for the audio to be got or made again."""
    names = ["__init__.py", f"{kind}.py", *getattr(import_module(SOURCES[kind]), "CODE", ())]
    return [str(Path("data/sources") / name) for name in dict.fromkeys(names)]


def _settings(module: ModuleType) -> tuple[set[str], set[str]]:
    """Names of the settings that a source needs, and of those it has defaults for."""
    required, optional = set(), set()
    for function in (module.fetch, getattr(module, "Settings", None)):
        for name, parameter in inspect.signature(function).parameters.items() if function else ():
            plain = parameter.kind is not inspect.Parameter.VAR_KEYWORD
            if plain and name not in {"segments", "folder", "split", "first", "workers", "classes", "repeated"}:
                (required if parameter.default is inspect.Parameter.empty else optional).add(name)
    return required, optional

"""Where a dataset's metadata and audio come from: one module a source, named by `source.kind` in params.yaml.

A source is a module with

- `write_metadata(folder, splits, **settings)`: write AudioSet's own files into `folder`: `class_labels_indices.csv`,
  for each split `<split>_segments.csv`, and `<split>_strong.tsv` where strong labels are known;
- `fetch(segments, folder, split, first, workers, **settings)`: bring the audio of rows `first`, ... of a split, and
  return a table (clip, file, reason): `file` lies in `folder` or is an absolute path, `reason` says why there is none.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from types import ModuleType
from typing import Any

from ...errors import GlatError

SOURCES = {"synthetic": "glat.data.sources.synthetic", "files": "glat.data.sources.files"}


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
    return module, rest


def _settings(module: ModuleType) -> tuple[set[str], set[str]]:
    """Names of the settings that a source needs, and of those it has defaults for."""
    required, optional = set(), set()
    for function in (module.fetch, getattr(module, "Settings", None)):
        for name, parameter in inspect.signature(function).parameters.items() if function else ():
            plain = parameter.kind is not inspect.Parameter.VAR_KEYWORD
            if plain and name not in {"segments", "folder", "split", "first", "workers"}:
                (required if parameter.default is inspect.Parameter.empty else optional).add(name)
    return required, optional

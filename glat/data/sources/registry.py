"""The sources by name: a new one is one module and one line here."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from ...config import settings
from ...lib.documents import sentence
from ...lib.errors import GlatError
from ...lib.redaction import redact

SOURCES = {
    "synthetic": "glat.data.sources.synthetic",
    "youtube": "glat.data.sources.youtube",
    "files": "glat.data.sources.files",
    "panns_hdf5": "glat.data.sources.panns_hdf5",
    "passt_hdf5": "glat.data.sources.passt_hdf5",
    "parquet": "glat.data.sources.parquet",
}


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

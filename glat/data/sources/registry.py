"""The sources by name. A new one is one module under `glat/data/sources/` and one line here."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

from pydantic import ValidationError

from ...lib.documents import sentence
from ...lib.errors import GlatError
from ...lib.redaction import redact
from . import ListedSource, Source

SOURCES = {
    "synthetic": "glat.data.sources.synthetic:Synthetic",
    "table": "glat.data.sources.table:RecordingTable",
    "youtube": "glat.data.sources.youtube:YouTube",
    "files": "glat.data.sources.files:Files",
    "panns_hdf5": "glat.data.sources.panns_hdf5:PannsHdf5",
    "passt_hdf5": "glat.data.sources.passt_hdf5:PasstHdf5",
    "parquet": "glat.data.sources.parquet:Parquet",
    "webdataset": "glat.data.sources.webdataset:WebDataset",
    "huggingface": "glat.data.sources.huggingface:HuggingFace",
    "archive": "glat.data.sources.archive:Archives",
    "esc50": "glat.data.sources.esc50:ESC50",
    "fsd50k": "glat.data.sources.fsd50k:FSD50K",
    "soundscapes": "glat.data.sources.soundscapes:Soundscapes",
}


def module(kind: str) -> str:
    """The module of a source, as "glat.data.sources.files"."""
    return SOURCES[kind].partition(":")[0]


def modules(settings: dict[str, Any]) -> list[str]:
    """The modules of a source, and of those inside it."""
    inside = [name for value in settings.values() if is_source(value) for name in modules(value)]
    return [module(settings["kind"]), *inside]


def is_source(value: Any) -> bool:
    """Whether a setting is a source itself, as the recordings of soundscapes are."""
    return isinstance(value, dict) and value.get("kind") in SOURCES


def source_class(kind: str) -> type[Source]:
    """The class of a source."""
    return resolve_name(SOURCES[kind])


def makes_lists(kind: str) -> bool:
    """Whether a source makes the dataset's lists, too."""
    return issubclass(source_class(kind), ListedSource)


def open_source(given: dict[str, Any], dataset: str) -> Source:
    """A source with its settings, checked: `datasets.<dataset>.source` of params.yaml.

    Raises:
        GlatError: an unknown kind, a setting that the source does not have or lacks, or a value that is not allowed.
    """
    return _open(given, f"datasets.{dataset}.source")


def _open(given: dict[str, Any], place: str) -> Source:
    kind = given.get("kind")
    if kind not in SOURCES:
        raise GlatError(f"{place}.kind: {kind!r} is not known; allowed are {', '.join(SOURCES)}")
    source = source_class(kind)
    fields = {field.alias or name: field for name, field in source.model_fields.items()}
    rest = {
        key: _open(value, f"{place}.{key}") if isinstance(value, dict) and "kind" in value else value
        for key, value in given.items()
        if key != "kind"
    }
    if extra := [key for key in rest if key not in fields]:
        raise GlatError(f"{place}: unknown key {extra[0]}; source {kind} has {', '.join(sorted(fields))}")
    if lost := [key for key, field in fields.items() if field.is_required() and key not in rest]:
        raise GlatError(f"{place}.{lost[0]}: missing; source {kind} needs it")
    try:
        return source(**rest)
    except ValidationError as error:
        raise GlatError(sentence(error, f"{place}.")) from None


def identity(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that affect the audio: all but the `ways` of the source, and of one inside it, without a password in an
    address."""
    ways = source_class(settings["kind"]).ways
    kept = {key: value for key, value in settings.items() if key not in ways}
    return redact({key: identity(value) if is_source(value) else value for key, value in kept.items()})

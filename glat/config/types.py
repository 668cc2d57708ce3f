"""The types of single settings: each carries its own bounds and its own check, and says what it allows."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, ValidationInfo, WrapValidator

from ..lib.escaping import NAME
from ..models.registry import BACKBONES, PANNS

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
HIGHEST_RATE, LONGEST = 768_000, 3600.0  # Hz, and seconds of a clip: a file that claims more is damaged
# More than any network has, and no more than one machine has the memory for: a checkpoint says these of itself.
Rate = Annotated[int, Field(ge=1, le=HIGHEST_RATE)]
Hop = Annotated[int, Field(ge=1, le=3200)]
ClipSeconds = Annotated[float, Field(gt=0, le=LONGEST)]
Width = Annotated[float, Field(gt=0, le=64)]
Dropout = Annotated[float, Field(ge=0, le=2)]
Md5 = Annotated[str, Field(pattern="^[0-9a-fA-F]{32}$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")]


class Settings(BaseModel):
    """A section: no key that it does not have, no number that is infinite or none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def off(default: Any) -> Any:
    """A setting of later than version 1.0, off at its default and then not written down: runs, and all that follows from what
    they say, are as they were before there was such a setting."""
    return Field(default=default, exclude_if=lambda value: value == default)


def check_name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError(
            f"{text!r} cannot be a name: use up to 100 letters, digits, '_', '.' and '-', and begin with a letter, a digit "
            "or '_'"
        )
    return text


# timm:NAME, transformers:FOLDER or transformers:OWNER/NAME[@REVISION] of the hub, or MODULE:CLASS
_MODEL = re.compile(r"timm:[\w.-]+|transformers:[\w./~@ -]+|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def _check_model(model: str) -> str:
    if not _MODEL.fullmatch(model):
        raise ValueError(
            f"{model!r} names no network: write timm:NAME, transformers:FOLDER or transformers:OWNER/NAME, or MODULE:CLASS"
        )
    return model


def _check_backbone(name: str, info: ValidationInfo) -> str:
    """One of the project's, one of the section `networks`, or a library's or one's own as `networks` names it."""
    if ":" in name:
        return _check_model(name)
    networks = (info.context or {}).get("networks", ())
    if name not in BACKBONES and name not in networks:
        known = ", ".join([*BACKBONES, *networks])
        raise ValueError(
            f"{name!r} is not a backbone; allowed are {known}, and those of timm and transformers as timm:NAME"
        )
    return name


def _check_published(name: str) -> str:
    if name not in PANNS:
        raise ValueError(f"PANNs published no weights of {name!r}; allowed are {', '.join(PANNS)}")
    return name


def _check_unique(entries: list) -> list:
    # As a run's name writes them: two values that it can't tell apart are one.
    if len({entry if isinstance(entry, str) else f"{entry:g}" for entry in entries}) < len(entries):
        raise ValueError(f"duplicate entry: {entries}")
    return entries


def check_path(path: str) -> str:
    """A path that becomes a rule's input, where a name in braces stands for whatever fits; or an address."""
    if set(path) & set("{}") and "://" not in path:
        raise ValueError(f"{path!r} has a brace, which Snakemake would take for a pattern; rename the file")
    return path


T = TypeVar("T")
Name = Annotated[str, AfterValidator(check_name)]  # stands in paths, and in commands of Snakemake's and DVC's
Model = Annotated[str, AfterValidator(_check_model)]
# Of a run's backbone: of the project, of `networks`, or a model. Which there are, params.yaml alone knows.
NetworkName = Annotated[str, AfterValidator(lambda name: _check_model(name) if ":" in name else check_name(name))]
BackboneName = Annotated[str, AfterValidator(_check_backbone)]
PublishedName = Annotated[str, AfterValidator(_check_published)]
InputPath = Annotated[str, AfterValidator(check_path)]
UniqueList = Annotated[list[T], AfterValidator(_check_unique)]
Backbones = Annotated[UniqueList[BackboneName], Field(min_length=1)]
Seeds = Annotated[UniqueList[Natural], Field(min_length=1)]


def _check_only(value: Any, check: Any) -> Any:
    check(value)
    return value


# A section that overrides another one: checked as that section is, and kept as it was given, since a key that is left
# out overrides nothing.
Override = Annotated[T, WrapValidator(_check_only), PlainSerializer(lambda given: given)]

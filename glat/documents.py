"""Settings as somebody wrote them in YAML, read whatever they hold: what PyYAML was not made for is one sentence too."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from .errors import GlatError
from .redaction import SECRET

LONGEST = 2**20  # characters of a file of settings
# What PyYAML raises on 2020-99-99, a number of 6 000 digits, `!!bool x`, `!!timestamp x` and `!!int ""`.
NO_VALUES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def parse_yaml(text: str) -> Any:
    """The value of a text. Raises ValueError, with what is wrong, where it has none."""
    try:
        return yaml.safe_load(text)
    except RecursionError:
        raise ValueError("nested deeper than settings are") from None
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())}") from None
    except NO_VALUES as error:
        raise ValueError(f"not valid YAML: one of its values is none ({' '.join(str(error).split())})") from None


def read_yaml(path: str | Path, what: str, absent: str) -> Any:
    """The content of a file. what: what it should be read as; absent: what to do where it is not there.

    Raises:
        GlatError: no such file, one that cannot be read, that is too long, or that is no YAML.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(LONGEST + 1)
        if len(text) > LONGEST:
            raise GlatError(f"{path}: longer than {what} can be")
        return parse_yaml(text)
    except FileNotFoundError:
        raise GlatError(f"{path}: no such file; {absent}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise GlatError(f"{path}: cannot be read as {what}: {error}") from None
    except ValueError as error:
        raise GlatError(f"{path}: {error}") from None


def sentence(error: ValidationError, prefix: str = "") -> str:
    """The first thing that pydantic found wrong, as `path: what is wrong`."""
    return sentences(error, prefix)[0]


def sentences(error: ValidationError, prefix: str = "") -> list[str]:
    """All that pydantic found wrong, each as `path: what is wrong`."""
    return list(dict.fromkeys(_sentence(found, prefix) for found in error.errors()))


def _sentence(found: ErrorDetails, prefix: str) -> str:
    parts = found["loc"][:-2] if found["loc"][-1:] == ("[key]",) else found["loc"]
    place = prefix + ".".join(str(part) for part in parts)
    if found["type"] == "extra_forbidden":
        return f"unknown key {place}; see the comments in params.yaml for the keys there are"
    if found["type"] == "missing":
        return f"key {place} is missing"
    if found["type"] == "value_error":
        return f"{place}: {found['ctx']['error']}" if parts else str(found["ctx"]["error"])
    message, place = found["msg"], f"{place}: " if place else ""
    if any(SECRET.search(str(part)) for part in found["loc"]):
        return f"{place}not allowed: {message[0].lower()}{message[1:]}"
    return f"{place}{reprlib.repr(found['input'])} is not allowed: {message[0].lower()}{message[1:]}"

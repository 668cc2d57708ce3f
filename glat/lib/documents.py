"""Settings that people write in YAML, and the project's own JSON. Whatever they hold, an error is one sentence; it never
quotes a faulty line, which may hold a password."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .errors import GlatError, refusal
from .redaction import SECRET, redact

LONGEST = 2**20  # characters of a file of settings
# What PyYAML raises on 2020-99-99, a number of 6 000 digits, `!!bool x`, `!!timestamp x` and `!!int ""`.
NO_VALUES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
# A quotation of a text in an error, not a token of YAML's.
_QUOTED = re.compile(r"""(?<![^\s(])(["'])(?=\S)(?!<|.\1|tag:yaml).*\1""")


class _Loader(yaml.SafeLoader):
    """PyYAML takes the last of several entries with the same key, so that an edit of the first would do nothing."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node, first = super().compose_mapping_node(anchor), {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                before = first.setdefault((key.tag, key.value), key.start_mark)
                if before is not key.start_mark:
                    problem = f"a key that line {before.line + 1} has already"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        return node


def parse_yaml(text: str) -> Any:
    """The value of a text. Raises ValueError, with what is wrong, where it has none."""
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise ValueError("nested deeper than settings are") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"not valid YAML: {place}{_strip_quoted(error.problem or error.context)}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {_strip_quoted(error)}") from None
    except NO_VALUES as error:
        raise ValueError(f"not valid YAML: one of its values cannot be read ({_strip_quoted(error)})") from None


def _strip_quoted(error: object) -> str:
    return _QUOTED.sub("", " ".join(str(error).split())).strip()


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
    except OSError as error:
        raise GlatError(f"{path}: cannot be read as {what} ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise GlatError(f"{path}: cannot be read as {what}: no text in UTF-8 (byte {error.start})") from None
    except ValueError as error:
        raise GlatError(f"{path}: {error}") from None


def read_json(path: str | Path, absent: str, damaged: str) -> dict[str, Any]:
    """The object in a file of the project's own. absent, damaged: what to do where it is not there, and where it is no
    whole JSON.

    Raises:
        GlatError: no such file, one that the system refuses, or one that holds no object.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GlatError(f"{path}: no such file; {absent}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise GlatError(f"{path}: {refusal(error) or f'damaged; {damaged}'}") from None
    if not isinstance(content, dict):
        raise GlatError(f"{path}: damaged; {damaged}")
    return content


def sentence(error: ValidationError, prefix: str = "", model: type[BaseModel] | None = None) -> str:
    """The first thing that pydantic found wrong, as `path: what is wrong`."""
    return sentences(error, prefix, model)[0]


def sentences(error: ValidationError, prefix: str = "", model: type[BaseModel] | None = None) -> list[str]:
    """All that pydantic found wrong, each as `path: what is wrong`. model: what was read; its keys are then listed."""
    return list(dict.fromkeys(_sentence(found, prefix, model) for found in error.errors()))


def _sentence(found: ErrorDetails, prefix: str, model: type[BaseModel] | None) -> str:
    parts, key = found["loc"], found["loc"][-1:] == ("[key]",)
    parts = parts[:-2] if key else parts
    path = "".join(f"[{part}]" if isinstance(part, int) and not key else f".{part}" for part in parts)
    place = prefix.removesuffix("" if parts else ".") + path.removeprefix(".")
    if found["type"] == "extra_forbidden":
        keys = ", ".join(_keys(model, parts[:-1])) if model else ""
        return f"unknown key {place}; {f'allowed are {keys}' if keys else 'see the comments in params.yaml'}"
    if found["type"] == "missing":
        return f"key {place} is missing"
    if found["type"] == "value_error":
        return f"{place}: {found['ctx']['error']}" if parts else str(found["ctx"]["error"])
    message, place = found["msg"], f"{place}: " if place else ""
    if any(SECRET.search(str(part)) for part in found["loc"]):
        return f"{place}not allowed: {message[0].lower()}{message[1:]}"
    return f"{place}{reprlib.repr(redact(found['input']))} is not allowed: {message[0].lower()}{message[1:]}"


def _keys(model: type[BaseModel], place: tuple[str | int, ...]) -> list[str]:
    """The keys that settings have at a place: those of the model that lies there, whatever lists and dicts are between."""
    for part in place:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if part in fields:
            model = next(_models(fields[part].annotation), model)
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)

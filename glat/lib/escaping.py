"""Text that somebody else wrote (a class's name, a file's, a server's answer) where it would be more than text."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")  # of a dataset, split, backbone or run: it becomes part of paths
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_MARKS = re.compile(r"([\\`*_\[\]<>|~$&])")
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(?=\.|$)")  # names that Windows keeps for itself


def is_text(name: str) -> bool:
    """Whether a file's name, which may be any bytes, is text that can be written as UTF-8."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """Text for a terminal or a log: characters that would steer it are written as Python escapes them."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def markdown(text: str) -> str:
    """Text for a place inside a line of Markdown: no mark in it makes a link, a picture, a formula or HTML."""
    return _MARKS.sub(r"\\\1", " ".join(printable(text).split()))


def file_name(text: str, longest: int = 150) -> str:
    """Text as the name of one file: letters, digits and `_ . = + -`, with `_` for whatever else, no path, none that is
    hidden or looks like an option. Empty where nothing is left. The suffix is kept where the name is cut."""
    kept = re.sub(r"[^\w.=+-]", "_", text, flags=re.ASCII).lstrip(".-")
    kept = _DEVICES.sub(r"_\1", kept) if _DEVICES.match(kept) else kept
    if len(kept) > longest:
        stem, dot, suffix = kept.rpartition(".")
        kept = stem[: longest - len(suffix) - 1] + dot + suffix if stem and len(suffix) < 20 else kept[:longest]
    return kept if kept.strip("_") else ""

"""What may be written down: settings, addresses and messages without a password, a token or a cookie.

Everything that leaves the memory of a process goes through `redact`: errors and tracebacks (and so logs, the notes of
attempts and MLflow), the packs' provenance, Snakemake's notes and records, what DVC tracks, the report.
"""

from __future__ import annotations

import re
import sys
import traceback
from typing import Any
from urllib.parse import unquote, urlsplit

MASK = "***"
SECRET = re.compile(  # keys of settings
    r"cookie|proxy|proxies|passw|passphrase|pwd|secret|token|credential|api_?key|(?<![a-z])key(?![a-z])|auth(?!ors?(?![a-z]))|bearer"
    r"|signature|session",
    re.IGNORECASE,
)
LONGEST = 24  # characters of a value in a query; a longer one may well be a key, whatever its name

_BEGIN = re.compile(r"(?<![\w+.-])(?:[A-Za-z][\w+.-]*:)?//")  # of an address in a text
_REST = re.compile(r"[^\s\"'<>`|]*")  # of it, where nothing is odd
_UP_TO_AT = re.compile(r"[^\n@]{0,300}@(?:[^\s@]{0,300}@)*")  # a password that splits its own address in two
_BARE = re.compile(  # name:password@ without a scheme, not C:/; the name may be an address of mail
    r"(?<![\w/@.%+-])(?![A-Za-z]:[\\/])(?:[^\s:/@'\"(]+@)?[^\s:/@'\"(]+:(?!//)[^\s'\"]{1,300}@(?=[\w\[])"
)
# Of a query: a key, its value, and what follows it up to the next key, which may be an odd value's end.
_QUERY = re.compile(r"(?<=[?&#;])([\w.~%+\[\]-]{1,80})=([^&#;\s\"'<>`)]*)([^&#\s]*)")
_END = re.compile(r"[\"'<>`)\]},;:.]*$")  # of a sentence or a quotation
_ASSIGNED = re.compile(
    r"(?i)(?<![A-Za-z0-9])((?:passw(?:or)?d|passphrase|pwd|secret|(?:auth|access|api|private)?[_-]?token|(?:api|access|secret)[_-]?key)"
    r"\s?=\s?)(?!\*{3})(\"[^\"\n]*\"|'[^'\n]*'|[^\s&]+)"
)
_QUERY_SECRET = re.compile(r"(?i)token|sig|key|auth|pass|pwd|secret|credential|session|cookie|jwt|policy|^code$")
_HEADER = re.compile(r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)(['\"]?\s*[:=]\s*)[^\n]+")


def redact(value: Any) -> Any:
    """`value`, a text or settings of nested lists and dicts, without what only its owner may know.

    Of an address in a text: the name and password before its host go, by `urlsplit`, which takes the last @ for their
    end, and so do values of its query that are named as secrets are or are as long. Of a dict: the values of keys that
    are named so (`SECRET`). All else is as it was.
    """
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {
            redact(key): MASK if isinstance(key, str) and SECRET.search(key) and inner else redact(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(map(redact, value))
    return value


def _text(text: str) -> str:
    if "@" in text:
        parts, place = [], 0
        for begin in _BEGIN.finditer(text):
            if begin.start() < place:
                continue
            parts.append(text[place : begin.end()])
            place = begin.end() + _secret(text, begin)
        text = _BARE.sub("", "".join(parts) + text[place:])
    text = _ASSIGNED.sub(lambda found: f"{found[1]}{MASK}{_end(found[2])}", _QUERY.sub(_value, text))
    return _HEADER.sub(rf"\1\2{MASK}", text)


def _secret(text: str, begin: re.Match) -> int:
    """How many characters behind the // of an address are its name and password."""
    rest = _REST.match(text, begin.end())[0]
    try:
        split = urlsplit(f"x://{rest}")
        if "@" in split.netloc:
            return split.netloc.rindex("@") + 1
        if split.port is not None or ":" not in split.netloc:
            return 0
    except ValueError:
        pass  # no port: a password with a / or #, or with a space, in it
    found = _UP_TO_AT.match(text, begin.end())
    return len(found[0]) if found else 0


def _value(found: re.Match) -> str:
    key, whole, rest = found.groups()
    value = whole.rstrip(":,.")  # of a sentence
    if _QUERY_SECRET.search(unquote(key)):
        return f"{key}={MASK}{_end(whole + rest)}"
    return f"{key}={MASK if len(value) >= LONGEST else value}{whole[len(value) :]}{_QUERY.sub(_value, rest)}"


def _end(text: str) -> str:
    return "" if text[:1] in ("'", '"') and text[-1:] == text[:1] else _END.search(text)[0]


def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """`sys.excepthook`: the traceback of what nobody expected, which libraries fill with addresses."""
    sys.stderr.write(_text("".join(traceback.format_exception(kind, error, trace))))

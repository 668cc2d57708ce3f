"""Addresses on the web, and what a file from one may be. Nothing is fetched here (`fetching`)."""

from __future__ import annotations

import hashlib
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from . import escaping
from .redaction import redact


class Limits(NamedTuple):
    """What a file may be: how large, and how long its fetching may take, all tries together."""

    max_gigabytes: float = 4.0
    max_hours: float = 12.0


LIMITS = Limits()


def is_address(text: str) -> bool:
    """Whether a text is an address on the web and not the path of a file."""
    return text.lower().startswith(("http://", "https://"))


def file_name(address: str) -> str:
    """The name of the file that an address leads to, without its query: `.../a%3Db.pth?download=1` -> `a=b.pth`. It is one
    name whatever the address holds (`escaping.file_name`), and empty where that is none."""
    try:
        path = urlsplit(address).path
    except ValueError:  # http://[bad
        return ""
    return escaping.file_name(unquote(path.rpartition("/")[2], errors="replace"))


def address_hash(address: str) -> str:
    """Eight digits that tell one address from another, for names of what was fetched; a password or a key in it is no
    part of them."""
    return hashlib.sha256(redact(address).encode()).hexdigest()[:8]

"""Where the source of a module lies: found without importing the module, which may take seconds or run anything."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def source_file(module: str) -> Path | None:
    """The file of a module; None where Python finds none. The packages that it lies in are imported.

    >>> source_file("glat.lib.sources").name, source_file("glat.nothing")
    ('sources.py', None)
    """
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None

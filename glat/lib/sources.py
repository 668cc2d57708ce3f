"""Where the source of a module lies: found without importing the module, which may take seconds or run anything."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path


def source_file(module: str) -> Path | None:
    """The file of a module; None where Python finds none. The packages that it lies in are imported. A module that is nowhere
    else may lie in the working folder, which an installed command does not search: it then does so from here on, last.

    >>> source_file("glat.lib.sources").name, source_file("glat.nothing")
    ('sources.py', None)
    """
    spec, here, top = _spec(module), Path.cwd(), module.partition(".")[0]
    is_here = (here / f"{top}.py").is_file() or (here / top / "__init__.py").is_file()
    if spec is None and is_here and str(here) not in sys.path:
        sys.path.append(str(here))
        spec = _spec(module)
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _spec(module: str) -> ModuleSpec | None:
    try:
        return find_spec(module)
    except (ImportError, ValueError):
        return None

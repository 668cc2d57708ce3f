"""The `glat` command: one thin subcommand per step, in the order in which they run."""

from __future__ import annotations

import sys
from importlib import import_module

from ..errors import GlatError
from .app import app

for commands in ("data", "training", "results", "use"):  # each adds its own, in the order of the pipeline
    import_module(f".{commands}", __name__)

__all__ = ["app", "main"]


def main() -> None:
    """Run the command; a `GlatError` becomes one line on stderr and exit status 1."""
    try:
        app()
    except GlatError as error:
        print(f"glat: {error}", file=sys.stderr)
        sys.exit(1)

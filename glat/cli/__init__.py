"""The `glat` command: one thin subcommand per step, in the order in which they run."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from importlib import import_module
from pathlib import Path

from ..errors import GlatError
from .app import app

for commands in ("data", "training", "results", "use", "track"):  # each adds its own, in the order of the pipeline
    import_module(f".{commands}", __name__)

__all__ = ["app", "main"]
FULL = os.strerror(errno.ENOSPC)


def main() -> None:
    """Run the command; a `GlatError`, or a file that the system refuses, becomes one line on stderr and exit status 1."""
    try:
        app()
    except GlatError as error:
        told = str(error)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or FULL in str(error):  # HDF5 has the number in its text alone
            told = (
                f"{error.filename or Path.cwd()}: the disk is full ({shutil.disk_usage('.').free / 1e9:.2f} GB free "
                "here); make room and run the same command again: finished files are kept, and nothing half-written "
                "stands among them"
            )
        elif error.filename:
            told = f"{error.filename}: {error.strerror}"
        else:
            raise
    else:
        return
    print(f"glat: {told}", file=sys.stderr)
    sys.exit(1)

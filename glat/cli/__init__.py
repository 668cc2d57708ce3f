"""The `glat` command: one thin subcommand per step, in the order in which they run."""

from __future__ import annotations

import errno
import gc
import logging
import os
import re
import shutil
import sys
import threading
from importlib import import_module
from pathlib import Path

from ..lib import process
from ..lib.errors import GlatError, tell
from ..lib.logs import SENDER, to_stderr
from ..lib.redaction import hook
from .app import app

for commands in (
    "data",
    "training",
    "results",
    "use",
    "tag",
    "export",
    "track",
):  # each adds its own, in the order of the pipeline
    import_module(f".{commands}", __name__)

__all__ = ["app", "main"]
FULL = os.strerror(errno.ENOSPC)


def main() -> None:
    """Run the command, and end, whether or not a thread still sends to MLflow."""
    process.tune()
    try:
        _run()
    except SystemExit as end:
        if any(thread.name == SENDER for thread in threading.enumerate()):
            # It may be in the midst of C++. The interpreter would end it there, and all with it by abort(): the failure of a
            # job whose work is done.
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))
        gc.freeze()  # else it searches for garbage once more, through all there is
        raise


def _run() -> None:
    """Run the command, and tell of nothing that only its owner may know (`glat.lib.redaction`); a `GlatError`, or a
    file that the system refuses, becomes one line on stderr and exit status 1."""
    sys.excepthook = hook
    to_stderr()
    try:
        app()
    except GlatError as error:
        tell(f"glat: {error}", logging.ERROR, error)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or FULL in str(error):  # HDF5 has the number in its text alone
            message = _full(error)
        elif error.filename:
            message = f"{error.filename}: {error.strerror}"
        else:
            raise
        tell(f"glat: {message}", logging.ERROR, error)
    else:
        return
    sys.exit(1)


def _full(error: OSError) -> str:
    named = re.search(r"filename = '([^']+)'", str(error))  # so HDF5 tells it
    path = Path(error.filename or (named[1] if named else ".")).absolute()
    disk = next(place for place in (path, *path.parents) if place.exists())  # what was half-written is removed by now
    return (
        f"{path}: the disk is full ({shutil.disk_usage(disk).free / 1e9:.2f} GB free there); make room and run the "
        "same command again: finished files are kept, and nothing half-written stands among them"
    )

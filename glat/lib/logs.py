"""Where the logger `glat` writes: sentences to stderr, and so into the log of a step."""

from __future__ import annotations

import logging
import sys

from .escaping import printable
from .redaction import redact

SENDER = "glat-mlflow"  # the thread that sends to MLflow, and tells here what it lacks


class Stderr(logging.Handler):
    """Write to stderr as it is at that moment, with as little in it as a `GlatError` has: tracebacks and libraries too."""

    def emit(self, record: logging.LogRecord) -> None:
        print(printable(redact(self.format(record))), file=sys.stderr, flush=True)  # noqa: T201


def to_stderr(quiet: bool = False, verbose: bool = False) -> None:
    """Have sentences written, or with `quiet` warnings and errors alone; with `verbose` also the time of each, what
    libraries log, and the traceback of an error."""
    handler = Stderr()
    level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    if verbose:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    glat, root = logging.getLogger("glat"), logging.getLogger()
    for logger in (glat, root):
        logger.handlers = [one for one in logger.handlers if not isinstance(one, Stderr)]
    (root if verbose else glat).addHandler(handler)
    glat.setLevel(level)
    if verbose:
        root.setLevel(logging.INFO)

"""The one exception that a user is meant to read, and the one way of telling a sentence."""

import errno
import logging
import os
import struct

from .escaping import printable
from .redaction import redact

# What readers of binary files (torch's, h5py's, numpy's) have been seen to raise on damaged bytes, and its neighbours.
DAMAGED = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def refusal(error: BaseException) -> str:
    """Why the system does not let a file be read, in its own words; empty where what the file holds is at fault."""
    # EINVAL: sought to where no file reaches. A file that is not there is made, whoever refuses nothing.
    if not isinstance(error, OSError) or error.errno in (None, errno.EINVAL, errno.ENOENT):
        return ""
    if error.errno == errno.EISDIR:
        return "a folder, not a file"
    return f"cannot be read ({os.strerror(error.errno)}); the file may be whole: see to that and run again"


class GlatError(Exception):
    """A failure told in one sentence: which file, key or value, what is wrong with it, and what to do.

    `glat` prints the sentence without a traceback and exits with status 1. No password or token is in it
    (`glat.lib.redaction`), and nothing that steers a terminal, whatever it was made from: it goes into logs, into notes of runs
    and to MLflow.
    """

    def __init__(self, told: str = ""):
        super().__init__(printable(redact(str(told))))


def tell(sentence: str, level: int = logging.INFO, error: BaseException | None = None) -> None:
    """Log a sentence, with as little in it as a `GlatError` has: the command writes it to stderr, and so into the log of
    a step; with `--verbose` the traceback of the error, too."""
    log = logging.getLogger("glat")
    log.log(level, "%s", printable(redact(sentence)), exc_info=error if log.isEnabledFor(logging.DEBUG) else None)

"""The one exception whose message is written for users, and the one way to write a line to stderr."""

import errno
import logging
import os
import struct

from .escaping import printable
from .redaction import redact

# What readers of binary files (torch's, h5py's, numpy's) have been seen to raise on damaged bytes, and its neighbours.
DAMAGED = (
    ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError, struct.error,
)  # fmt: skip


def refusal(error: BaseException) -> str:
    """Why the system refuses to read a file, in its own words; empty where the file's content is at fault."""
    # EINVAL: a seek beyond the size of any file. ENOENT: the caller says how to make the file.
    if not isinstance(error, OSError) or error.errno in (None, errno.EINVAL, errno.ENOENT):
        return ""
    if error.errno == errno.EISDIR:
        return "a folder, not a file"
    return f"cannot be read ({os.strerror(error.errno)}); the file may be whole: see to that and run again"


def brief(error: BaseException, longest: int = 120) -> str:
    """The beginning of what a library says, on one line, for the end of a sentence."""
    return " ".join(str(error).split())[:longest].rstrip(".")


class GlatError(Exception):
    """A failure in one sentence: which file, key or value, what is wrong with it, and what to do.

    `glat` prints the sentence without a traceback and exits with status 1. No password or token is in it
    (`glat.lib.redaction`), and nothing that steers a terminal, whatever it was made from: it goes into logs, into notes of runs
    and to MLflow.
    """

    def __init__(self, message: str = ""):
        super().__init__(printable(redact(str(message))))


def tell(sentence: str, level: int = logging.INFO, error: BaseException | None = None) -> None:
    """Log a sentence, redacted as a `GlatError` is: the command writes it to stderr, and so into the log of a step; with
    `--verbose` the traceback of `error`, too."""
    log = logging.getLogger("glat")
    log.log(level, "%s", printable(redact(sentence)), exc_info=error if log.isEnabledFor(logging.DEBUG) else None)


def warn(sentence: str) -> None:
    """`tell` of what a person should see even with `--quiet`: something is not as it was asked for."""
    tell(sentence, logging.WARNING)

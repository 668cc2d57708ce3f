"""Whole or absent: an output is written beside its place and moved there when it is complete."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import GlatError, tell, warn

# What a file system says that keeps no locks, as some network file systems do not.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_lockless: set[str] = set()  # folders of which that was said


def to_disk(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk now: a machine that loses its power keeps them."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that knows no such thing of folders
            raise
    finally:
        os.close(number)


@contextmanager
def whole(path: str | Path, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it to `path` if the block ends well, remove it if it raises.

    The block may make a file or a folder there. A process killed inside the block leaves only the temporary path,
    which no step reads and the next attempt on the same machine removes. Each process has a path of its own. durable:
    whether a file must outlast a machine that loses its power at once (`to_disk`).

    Raises GlatError for a device or a pipe, in whose place a file would stand.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise GlatError(f"{path}: a device or a pipe, not a file; give another place")
    path.parent.mkdir(parents=True, exist_ok=True)
    begin = f".{path.stem}.part-{platform.node()}-"
    for old in path.parent.glob(f"{glob.escape(begin)}*{glob.escape(path.suffix)}"):
        pid = old.name[len(begin) :].removesuffix(path.suffix)
        if pid == str(os.getpid()) or (pid.isdigit() and not _alive(int(pid))):
            remove(old)
    # The suffix stays last: h5py, numpy and matplotlib look at it.
    temporary = path.with_name(f"{begin}{os.getpid()}{path.suffix}")
    try:
        yield temporary
        if durable:
            to_disk(temporary)
        if path.is_dir():
            remove(path)
        os.replace(temporary, path)
        if durable:
            to_disk(path.parent)
    except BaseException:
        remove(temporary)
        raise


@contextmanager
def locked(path: str | Path, waiting: str = "") -> Iterator[bool]:
    """Hold the lock file `path`; the system frees it when its holder ends, however it does.

    If another process holds it, `waiting` is printed and its end waited for ("": nothing is printed). Yields whether
    that was so. On a file system that keeps no locks, this is said once, and nothing is locked.

    Raises:
        GlatError: the system refuses the lock for another reason.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    held, waited = FileLock(path, fallback_to_soft=False), False
    try:
        try:
            held.acquire(blocking=False)
        except Timeout:
            waited = True
            if waiting:
                tell(waiting)
            held.acquire()
    except OSError as error:
        _accept_lockless(path, error)
    try:
        yield waited
    finally:
        held.release()


def is_locked(path: str | Path) -> bool:
    """Whether another process holds the lock file `path` now; no file is made for the question."""
    try:
        with FileLock(path, blocking=False, fallback_to_soft=False) if os.path.exists(path) else nullcontext():
            return False
    except Timeout:
        return True
    except OSError:
        return False


def _accept_lockless(path: str | Path, error: OSError) -> None:
    """Warn, once a folder, of a file system that keeps no locks. Raises GlatError for any other error of a lock."""
    folder = os.path.dirname(os.path.abspath(path))
    if error.errno not in NO_LOCKS:
        raise GlatError(f"{path}: cannot be locked: {error.strerror}; see to the disk that it lies on") from None
    if folder not in _lockless:
        _lockless.add(folder)
        warn(
            f"warning: {folder}: this file system keeps no locks ({error.strerror}); going on without: do not start the "
            "same work twice at once there"
        )


def digest(path: str | Path) -> str:
    """A hash of a file's content (BLAKE2b, 16 bytes, hexadecimal); empty where there is none."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except FileNotFoundError:
        return ""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True


def remove(path: Path) -> None:
    """Remove a file or a folder with all it holds; nothing happens if it is absent."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

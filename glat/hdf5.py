"""One way to open HDF5 files, which tells why where it can't, and to check what is in one before anything is allocated."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import h5py

from .errors import DAMAGED, GlatError
from .files import NO_LOCKS

HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)  # of a lock that another process has
DENSEST = 1100  # bytes that a compressed byte may hold: gzip reaches 1 030
KINDS = {"text": "SO", "variable-length uint8": "O", "whole numbers": "iub", "numbers": "fiub"}


def open_hdf5(path: str | Path, absent: str, damaged: str, **options) -> h5py.File:
    """An HDF5 file open for reading, locked where the file system can.

    absent, damaged: what to do about a file that is not there, and about one that is no whole HDF5 file. options: as
    `h5py.File` takes them.

    Raises:
        GlatError: why the file cannot be opened, and what to do.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise GlatError(f"{path}: not a regular file; {damaged}")
        with open(path, "rb"):  # the system's own words for what it refuses: HDF5 has others
            pass
        try:
            return h5py.File(path, "r", **{"locking": "best-effort"} | options)
        except OSError as error:
            if error.errno not in NO_LOCKS:  # HDF5's own "best-effort" knows ENOSYS alone
                raise
            return h5py.File(path, "r", **options | {"locking": False})
    except FileNotFoundError:
        raise GlatError(f"{path}: {absent}") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise GlatError(f"{path}: {_cause(error, damaged)}") from None


def _cause(error: Exception, damaged: str) -> str:
    text, number = str(error), getattr(error, "errno", None)
    if "unable to lock file" in text and number in HELD:
        return "another process is writing it; wait until that has ended"
    if "truncated" in text:
        return f"truncated; {damaged}"
    if number:
        return f"{os.strerror(number)}; the file may be whole: see to that and start again"
    return f"not a readable HDF5 file; {damaged}"


def dataset(
    file: h5py.File, name: str, kind: str, shape: tuple[int | None, ...], damaged: str, own: bool = True
) -> h5py.Dataset:
    """The dataset `name` of a file, of one of `KINDS` and of a shape in which None stands for any length.

    own: whether glat wrote the file. In one of somebody else's, a link to another file and places that were never
    written are no damage: whoever reads from it must look at its width first.

    Raises:
        GlatError: it is not there, of another type or shape, lies in another file, or is not filled with data.
    """
    expected = f"expected {kind} ({', '.join('any' if n is None else str(n) for n in shape)})"
    link = file.get(name, getlink=True)
    if link is None:
        raise GlatError(f"{file.filename}: {name} is missing, {expected}; {damaged}")
    if own:
        found = file[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual:
            raise GlatError(f"{file.filename}: {name} is no data of this file, but a link or a group; {damaged}")
    else:
        found = _followed(file, name, link)
    fits = len(found.shape or ()) == len(shape) and all(n in (None, m) for n, m in zip(shape, found.shape or ()))
    if not fits or found.dtype.kind not in KINDS[kind]:
        raise GlatError(f"{file.filename}: {name} is {found.dtype} {found.shape}, {expected}; {damaged}")
    stored = found.id.get_storage_size() * (DENSEST if found.id.get_create_plist().get_nfilters() else 1)
    if own and found.nbytes > stored:
        raise GlatError(
            f"{file.filename}: {name} should hold {found.nbytes} bytes, of which most were never written; {damaged}"
        )
    return found


def _followed(file: h5py.File, name: str, link: object) -> h5py.Dataset:
    """The dataset that a name leads to, in whatever file."""
    try:
        found = file[name]
    except DAMAGED:
        place = f"{getattr(link, 'filename', '')} {getattr(link, 'path', '')}".strip()
        raise GlatError(
            f"{file.filename}: {name} is a link to {place}, where nothing can be read; put that back"
            if place
            else f"{file.filename}: {name} cannot be opened; the file is damaged, so fetch it again"
        ) from None
    if not isinstance(found, h5py.Dataset):
        raise GlatError(f"{file.filename}: {name} is a group; a dataset of that name is needed")
    return found

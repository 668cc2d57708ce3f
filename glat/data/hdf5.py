"""One way to open HDF5 files, which tells why where it can't, and to check what is in one before anything is allocated."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..lib.errors import DAMAGED, GlatError
from ..lib.files import NO_LOCKS

HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)  # of a lock that another process has
DENSEST = 1100  # bytes that a compressed byte may hold: gzip reaches 1 030
LARGEST_CHUNK = 2**29  # bytes: of what is compressed, a chunk is held whole for any part of it
DEEPEST = 4  # virtual datasets that are made of virtual datasets
KINDS = {"text": "SO", "variable-length uint8": "O", "whole numbers": "iub", "numbers": "fiub"}


def open_hdf5(path: str | Path, absent: str, damaged: str, **options: Any) -> h5py.File:
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

    own: whether glat wrote the file. In one of somebody else's, a link to another file in its folder, a virtual dataset
    of such files, and rows that were never written (`Written`) are no damage: whoever reads from it must look at its
    width first.

    Raises:
        GlatError: it is not there, of another type or shape, lies in another file or outside of HDF5, is not filled with
            data, or is compressed by what is not installed.
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
        found = _follow(file, name, link)
    have = found.shape or ()
    fits = len(have) == len(shape) and all(n in (None, m) for n, m in zip(shape, have, strict=True))
    if not fits or found.dtype.kind not in KINDS[kind]:
        raise GlatError(f"{file.filename}: {name} is {found.dtype} {found.shape}, {expected}; {damaged}")
    _check_filters(found, f"{file.filename}: {name}")
    if not own:
        if found.chunks and (size := int(np.prod(found.chunks)) * found.dtype.itemsize) > LARGEST_CHUNK:
            raise GlatError(
                f"{file.filename}: {name} is in chunks of {size} bytes, over {LARGEST_CHUNK}; give it smaller ones by "
                "`h5repack -l`"
            )
        _check_place(found, f"{file.filename}: {name}", os.path.dirname(os.path.abspath(file.filename)))
    stored = found.id.get_storage_size() * (DENSEST if found.id.get_create_plist().get_nfilters() else 1)
    if own and found.nbytes > stored:
        raise GlatError(
            f"{file.filename}: {name} should hold {found.nbytes} bytes, of which most were never written; {damaged}"
        )
    return found


class Written:
    """Which rows of a dataset were written: HDF5 gives what lacks as its fill value, mostly 0, and tells nobody.

    Of a virtual dataset, all are: `dataset` has looked at what it is made of.
    """

    def __init__(self, found: h5py.Dataset):
        self._height, self._each, self._chunks = 1, 1, Counter[int]()
        self.complete = found.is_virtual or (not found.chunks and bool(found.id.get_storage_size()))
        if found.chunks:
            self._height = found.chunks[0]
            self._each = int(np.prod(_grid(found)[1:], dtype=np.int64))
            self.complete = found.id.get_num_chunks() >= np.prod(_grid(found), dtype=np.int64)
            if not self.complete:
                found.id.chunk_iter(lambda chunk: self._chunks.update((chunk.chunk_offset[0] // self._height,)))

    def chunks(self, row: int) -> tuple[int, int]:
        """How many of a row's chunks were written, and how many it has."""
        return self._each if self.complete else self._chunks[row // self._height], self._each


def _grid(found: h5py.Dataset) -> list[int]:
    """How many chunks a dataset has along each axis."""
    return [-(-length // chunk) for length, chunk in zip(found.shape, found.chunks, strict=True)]


def _check_filters(found: h5py.Dataset, named: str) -> None:
    """Raises GlatError for a dataset that was compressed by what is not installed here."""
    created = found.id.get_create_plist()
    for number in range(created.get_nfilters()):
        code, _, _, name = created.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            name = name.decode(errors="replace") or "of no name"
            raise GlatError(
                f"{named} is compressed by the HDF5 filter {code} ({name}), which is not installed; install its plugin and "
                "set HDF5_PLUGIN_PATH to it, or copy the file by `h5repack -f GZIP=4` where it is"
            )


def _check_place(found: h5py.Dataset, named: str, folder: str, depth: int = 0) -> None:
    """Raises GlatError for a dataset of somebody's file that has its data anywhere but in HDF5 files of its folder, which
    would read any file of this machine; or in files or places that are not there, which HDF5 gives as zeros."""
    _check_below(found.file.filename, named, folder)
    if found.external:
        raise GlatError(
            f"{named} lies in a raw file, {found.external[0][0]!r}, which is not read; copy it by `h5repack`"
        )
    if not found.is_virtual:
        return
    if depth == DEEPEST:
        raise GlatError(
            f"{named} is made of datasets that are made of others, over {depth} deep; copy it by `h5repack`"
        )
    if None in found.maxshape:
        raise GlatError(f"{named} is made of other datasets and has no fixed length; copy it by `h5repack`")
    mapped = 0
    for part in found.virtual_sources():
        mapped += part.vspace.get_select_npoints()
        path = found.file.filename
        if part.file_name != ".":
            path = os.path.join(os.path.dirname(os.path.abspath(path)), part.file_name)
        _check_below(path, named, folder)
        with open_hdf5(path, f"not there, but part of {named}; put it back", "fetch it again") as file:
            if file.get(part.dset_name, getlink=True) is None:
                raise GlatError(f"{named} is made of {part.dset_name} in {path}, which is not there; fetch both again")
            there = _follow(file, part.dset_name, file.get(part.dset_name, getlink=True))
            _check_filters(there, f"{path}: {part.dset_name}")
            _check_place(there, f"{path}: {part.dset_name}", folder, depth + 1)
            ends = part.src_space.get_select_bounds()[1]
            if len(ends) != there.ndim or any(end >= length for end, length in zip(ends, there.shape, strict=True)):
                raise GlatError(f"{named} is made of {part.dset_name} in {path}, which is smaller; fetch both again")
            if not Written(there).complete:
                raise GlatError(f"{named} is made of {part.dset_name} in {path}, parts of which were never written")
    if mapped < found.size:
        raise GlatError(f"{named} is made of other datasets, which hold only {mapped} of its {found.size} values")


def _check_below(path: str, named: str, folder: str) -> None:
    """Raises GlatError unless a file that an HDF5 file names is in the folder of that one, or below."""
    if ".." in Path(path).parts or not Path(os.path.abspath(path)).is_relative_to(folder):
        raise GlatError(f"{named} leads to {path}, which is not in the same folder; copy that there, or use it itself")


def _follow(file: h5py.File, name: str, link: object) -> h5py.Dataset:
    """The dataset that a name leads to, in this file or in another one of its folder."""
    if isinstance(link, h5py.ExternalLink):
        folder = os.path.dirname(os.path.abspath(file.filename))
        path = os.path.join(folder, link.filename)
        _check_below(path, f"{file.filename}: {name}", folder)
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
            raise GlatError(f"{file.filename}: {name} is a link to {path}, which is no file; put that back")
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

"""The files in a tar, read where they lie: their names and places, by one pass over its headers. Nothing is unpacked."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from typing import NamedTuple

from ...lib.errors import DAMAGED, GlatError, brief, refusal

MOST = 10**6  # files of one tar; a WebDataset's shard has some thousands
LONGEST = 2**20  # bytes of a header that holds a name or attributes: they are read into memory
AGAIN = "fetch it again"


class Member(NamedTuple):
    """A file in a tar: its name there, where its bytes begin, and how many they are."""

    name: str
    offset: int
    size: int


def members(path: str) -> Iterator[Member]:
    """The files of an uncompressed tar, in its order.

    Raises:
        GlatError: no such file, no tar or a compressed one, one that is cut off or damaged, or one that holds anything but
            files and folders (a link, a device, a sparse file) or a name that leads out of it.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            with tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as tar:
                end = -1
                for count, header in enumerate(tar, 1):
                    if header.offset_data <= end or header.size < 0 or count > MOST:
                        raise tarfile.ReadError(f"its member {count} is within another, or one of too many")
                    end = header.offset_data
                    if header.isreg() and header.offset_data + header.size > size:
                        raise tarfile.ReadError(f"cut off in {header.name}")
                    _check(path, header)
                    if header.isreg():
                        yield Member(header.name, header.offset_data, header.size)
                # `tarfile` takes the end of the file, or a damaged header, for the end of the tar, which is a block of zeros.
                file.seek(tar.offset)
                if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError(f"cut off or damaged at byte {tar.offset}")
    except FileNotFoundError:
        raise GlatError(
            f"{path}: no such file; put it back, or set datasets.*.source.audio and download again"
        ) from None
    except GlatError:
        raise
    except (tarfile.TarError, *DAMAGED, MemoryError) as error:
        told = refusal(error) or f"not a whole tar, uncompressed ({brief(error)}); {AGAIN}"
        raise GlatError(f"{path}: {told}") from None


class _Header(tarfile.TarInfo):
    """A header that is refused before what it announces is read."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0:
            raise tarfile.ReadError("a member of less than 0 bytes")
        if not (self.isreg() or self.isdir()) and self.size > LONGEST:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("a sparse file")
        found: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]  # tarfile's hook for subclasses
        return found


def _check(path: str, header: tarfile.TarInfo) -> None:
    """Raise GlatError for what no WebDataset holds, and what a tar that means harm does."""
    parts = header.name.replace("\\", "/").split("/")
    if not (header.isreg() or header.isdir()) or header.issparse():
        what = "a link" if header.issym() or header.islnk() else "no file"
    elif ".." in parts or not parts[0]:
        what = "a name that leads out of the tar"
    else:
        return
    raise GlatError(
        f"{path}: {header.name!r} in it is {what}, and a WebDataset holds files alone; fetch it again from where it "
        "comes from, or leave it out"
    )

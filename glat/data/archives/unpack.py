"""An archive's files in a folder, whole or absent, each as long as the archive says and with the checksum that it has."""

from __future__ import annotations

import errno
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ...lib.errors import GlatError
from ...lib.files import whole
from ..shards import need_space, progress
from . import Damaged
from .members import Member, as_sentence, opened, parents

BLOCK = 1 << 16  # bytes that are read at once
FULL = (errno.ENOSPC, errno.EDQUOT)


def unpack(paths: Sequence[Path], folder: Path, most: float) -> tuple[int, int]:
    """Unpack an archive, of which `paths` are the parts, into `folder`; returns how many files and bytes there are. What
    was in the folder before is replaced. most: bytes that it may unpack to.

    Raises:
        Damaged: an archive that is cut or damaged.
        GlatError: a file that is refused (`members`), too many bytes, or a full disk.
    """
    named = str(paths[-1])
    with opened(paths, most) as members:
        size = sum(member.size for member in members)
        need_space(folder, size)
        with whole(folder) as part:
            part.mkdir()
            _refuse_one_name(members, _folding(part), named)
            for member in progress(members, f"unpack {folder.name}"):
                _write(member, part / member.path, named)
    return len(members), size


def _write(member: Member, path: Path, named: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "xb") as out:
            out.writelines(_blocks(member, named))
    except OSError as error:
        if error.errno in FULL:
            raise GlatError(f"{path}: the disk is full; make room and run again: what was fetched is kept") from None
        raise GlatError(f"{named}: {member.name!r} cannot be written ({error.strerror}: {path})") from None


def _blocks(member: Member, named: str) -> Iterator[bytes]:
    """The content of a member. The libraries compare it with its checksum, which a zip has for each file and a compressed
    tar for all."""
    what, done = f"{named}: {member.name!r}", 0
    with as_sentence(what), member.open() as file:
        while block := file.read(BLOCK):
            done += len(block)
            yield block
    if done != member.size:
        raise Damaged(f"{what}: has {done} bytes of {member.size}")


def _folding(folder: Path) -> Callable[[str], str]:
    """What the file system of a folder makes of a name where it tells two from each other: of some, capitals are small
    letters, or a letter and its accent are one."""
    probe = folder / "probe-\u00e9"
    probe.touch()
    case = (folder / "PROBE-\u00c9").exists()
    form = (folder / unicodedata.normalize("NFD", probe.name)).exists()
    probe.unlink()

    def fold(name: str) -> str:
        name = unicodedata.normalize("NFC", name) if form else name
        return name.casefold() if case else name

    return fold


def _refuse_one_name(members: list[Member], fold: Callable[[str], str], named: str) -> None:
    """Raise GlatError for two files, or a file and a folder, that are one for the file system."""
    seen: dict[str, str] = {}
    folders = {fold(folder) for member in members for folder in parents(member.path)}
    for member in members:
        key = fold(member.path)
        if (other := seen.setdefault(key, member.name)) != member.name or key in folders:
            what = f"{member.name!r} and {other!r}" if other != member.name else f"{member.name!r} and a folder"
            raise GlatError(
                f"{named}: {what} are one name on this disk; put the project on a disk that tells them apart, or unpack it "
                "elsewhere"
            )

"""Audio that comes as archives: .zip, also split into `x.z01`, `x.z02`, ..., `x.zip`; .tar, .tar.gz and .tar.bz2.

    data/<dataset>/source/archives/<part>           what was fetched, until it is unpacked
    data/<dataset>/source/files/<archive>/          what was unpacked, whole or absent
    data/<dataset>/source/unpacked/<archive>.json   of which parts, with their checksums: what is there is not fetched again

`store` fetches and unpacks them, `members` says what is in one and refuses what may not be, `splits` joins the parts of a
zip, `unpack` writes the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field

from ...config.types import Md5, Settings, Sha256
from ...lib import addresses, escaping
from ...lib.errors import GlatError

_ENDINGS = re.compile(r"\.(?:zip|tar|tgz|tbz2?|tar\.(?:gz|bz2))$", re.IGNORECASE)
_SPLIT = re.compile(r"(.+)\.z(?!0+$)(\d{2,4})$", re.IGNORECASE)

LAST = 10_000  # place of x.zip behind x.z01, x.z02, ...


class Damaged(GlatError):
    """An archive that cannot be read to its end: cut, changed, or none."""


def _name(file: str) -> str:
    return addresses.file_name(file) if addresses.is_address(file) else escaping.file_name(Path(file).name)


def _check_file(file: str) -> str:
    if not _name(file):
        raise ValueError(f"{file!r} does not name a file; give the address or the path of an archive")
    return file


ArchiveFile = Annotated[str, AfterValidator(_check_file)]


class Part(Settings):
    """One file of an archive: an address or a path, and the checksums that its publisher gives."""

    file: ArchiveFile
    md5: Md5 | None = None
    sha256: Sha256 | None = None

    @property
    def name(self) -> str:
        """The name of the file: one name, whatever the address holds."""
        return _name(self.file)

    @property
    def path(self) -> Path | None:
        """Where a file lies that need not be fetched."""
        return None if addresses.is_address(self.file) else Path(self.file)


class Archive(NamedTuple):
    """name: of the folder that it is unpacked to; parts: in the order of their bytes, so that of a split zip `x.zip`, with
    the directory, is the last."""

    name: str
    parts: tuple[Part, ...]


def group(parts: Iterable[Part]) -> list[Archive]:
    """The archives that some parts make: those of a split zip by their names, each other file by itself.

    Raises:
        ValueError: two parts or two archives of one name, or a split zip that lacks one of its parts.
    """
    found: dict[str, dict[int, Part]] = {}
    seen: dict[str, Part] = {}
    for part in parts:
        # Some disks take Audio.zip and audio.zip for one name.
        if (other := seen.setdefault(part.name.casefold(), part)) is not part:
            raise ValueError(f"{other.file} and {part.file} are both called {part.name}; each file needs its own name")
        split = _SPLIT.fullmatch(part.name)
        whole, number = (f"{split[1]}.zip", int(split[2])) if split else (part.name, LAST)
        found.setdefault(whole.casefold(), {})[number] = part
    archives = [_archive(numbered) for numbered in found.values()]
    folders: dict[str, Archive] = {}
    for archive in archives:
        if (first := folders.setdefault(archive.name.casefold(), archive)) is not archive:
            both = " and ".join(one.parts[-1].file for one in (first, archive))
            raise ValueError(f"{both} would both be unpacked to {archive.name}; rename one of them")
    return archives


def _archive(numbered: dict[int, Part]) -> Archive:
    numbers = sorted(numbered)
    stem = _stem(_SPLIT.sub(r"\1", numbered[numbers[0]].name))
    *before, last = numbers
    highest = last if last != LAST else before[-1] if before else 0
    lost = [f"{stem}.z{number:02d}" for number in range(1, highest + 1) if number not in numbered]
    lost += [f"{stem}.zip"] if last != LAST else []
    if lost:
        raise ValueError(f"{lost[0]} is missing; a split zip needs all of its parts, up to {stem}.zip")
    return Archive(stem, tuple(numbered[number] for number in numbers))


def _stem(name: str) -> str:
    return _ENDINGS.sub("", name) or name


def _as_settings(given: Any) -> Any:
    return {"file": given} if isinstance(given, str) else given


def _check(parts: list[Part]) -> list[Part]:
    group(parts)
    return parts


OnePart = Annotated[
    Part, BeforeValidator(_as_settings)
]  # a source's setting: `{file: ..., md5: ...}`, or the file alone
Parts = Annotated[list[OnePart], Field(min_length=1), AfterValidator(_check)]

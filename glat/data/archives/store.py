"""Fetching and unpacking of the archives of a dataset: each part checked by itself, each archive unpacked once."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...lib.addresses import Limits
from ...lib.errors import GlatError, tell
from ...lib.fetching import WrongChecksum, check_file, fetch_file, file_size, hash_file
from ...lib.files import remove, whole
from ...lib.part import Part as Begun
from ...lib.redaction import redact
from ..shards import need_space
from . import Archive, Damaged, Part
from .unpack import unpack

ARCHIVES, FILES, UNPACKED = "archives", "files", "unpacked"
HASHES = ("sha256", "md5")


class Store:
    """A dataset's archives in `folder`. limits: of a fetched file; most: bytes that one archive may unpack to; keep: whether
    fetched archives stay when they are unpacked; setting: the key of params.yaml that names the archives.

    `fetch` raises GlatError: an address that does not answer, a wrong checksum, a full disk, an archive that is damaged or
    holds what is refused.
    """

    def __init__(self, folder: Path, limits: Limits, most: float, keep: bool, setting: str):
        self.folder, self.limits, self.most, self.keep, self.setting = folder, limits, most, keep, setting
        self._silent: set[str] = set()  # hosts that did not tell a size, and are not asked again

    def fetch(self, archives: list[Archive]) -> dict[str, Any]:
        """Fetch and unpack what is not there yet. Returns what is there, by the name of the archive: its parts, with
        checksums, and the number of its files and bytes."""
        records = {archive.name: self._record(archive) for archive in archives}
        lacking = [archive for archive in archives if not records[archive.name]]
        if lacking:
            self._need_space(lacking)
        for archive in lacking:
            records[archive.name] = self._make(archive)
        self._remove_others(archives)
        return records

    def _make(self, archive: Archive) -> dict[str, Any]:
        paths = [self._fetch_part(part) for part in archive.parts]
        parts = [_facts(part, path) for part, path in zip(archive.parts, paths, strict=True)]
        for part, facts in zip(archive.parts, parts, strict=True):
            if not (part.path or part.sha256 or part.md5):
                tell(f"{part.file}: fetched without a checksum to know it by; its SHA-256 is {facts['sha256']}")
        note = self._note(archive.name)
        remove(note)
        try:
            files, size = unpack(paths, self._folder(archive.name), self.most)
        except Damaged as error:
            raise Damaged(f"{error}; {self._remedy(archive)}") from None
        record = {"parts": parts, "files": files, "bytes": size}
        with whole(note) as file:
            file.write_text(json.dumps(record, indent=1) + "\n")
        if not self.keep:
            for part in archive.parts:
                if not part.path:
                    remove(self._place(part))
        return record

    def _fetch_part(self, part: Part) -> Path:
        """Where a part lies, checked: fetched, and a second time if it comes damaged."""
        place = self._place(part)
        if part.path:
            if not place.is_file():
                raise GlatError(f"{part.file}: no such file; put it there, or set {self.setting}")
            check_file(place, part.sha256, part.md5)
            return place
        if place.is_file():
            try:
                check_file(place, part.sha256, part.md5)
                return place
            except WrongChecksum as error:
                tell(f"{error}: it alone is fetched again")
        for once_more in (True, False):
            try:
                fetch_file(part.file, place, part.sha256, part.md5, self.limits, self.setting)
                break
            except WrongChecksum as error:
                if not once_more:
                    raise
                tell(f"{error}: it alone is fetched again")
        return place

    def _need_space(self, archives: list[Archive]) -> None:
        """Tell what is to come and refuse what cannot fit, before anything is fetched. What is unpacked has at least the
        size of the archives, for audio is packed no smaller than it is."""
        fetched, peak, now, unknown = 0, 0, 0, 0
        for archive in archives:
            here = packed = 0
            for part in archive.parts:
                come, size = self._sizes(part)
                unknown += size is None
                here, packed = here + come, packed + (size or 0)
            fetched += here
            peak = max(peak, now + here + packed)
            now += packed + (here if self.keep else 0)
        tell(
            f"{self.folder}: {fetched / 1e9:.3g} GB to fetch, {peak / 1e9:.3g} GB at least for that and what is unpacked"
            + (f"; besides {unknown} files whose sizes their servers do not tell" if unknown else "")
        )
        need_space(self.folder / ARCHIVES, peak)

    def _sizes(self, part: Part) -> tuple[int, int | None]:
        """Bytes of a part that are to be fetched, and of all of it; None where the server does not tell."""
        place = self._place(part)
        if place.is_file():
            return 0, place.stat().st_size
        if part.path or (host := urlsplit(part.file).netloc) in self._silent:
            return 0, None
        if (size := file_size(part.file)) is None:
            self._silent.add(host)
            return 0, None
        if size > 1e9 * self.limits.max_gigabytes:
            raise GlatError(
                f"{part.file}: {size / 1e9:.3g} GB, more than the {self.limits.max_gigabytes:g} GB that a fetched file may "
                "have; if it is the right one, raise fetch.max_gigabytes"
            )
        return max(size - Begun(place).size, 0), size

    def _record(self, archive: Archive) -> dict[str, Any] | None:
        """What was noted of an archive that is unpacked already, of the same parts; None where it is not."""
        try:
            record = json.loads(self._note(archive.name).read_text())
            same = len(record["parts"]) == len(archive.parts) and all(map(_same, archive.parts, record["parts"]))
        except (OSError, LookupError, TypeError, ValueError):
            return None
        return record if same and self._folder(archive.name).is_dir() else None

    def _remove_others(self, archives: list[Archive]) -> None:
        """Remove what was unpacked of archives that are no longer asked for, whose audio would be found too, and what was
        fetched, unless it is to be kept or the settings name it by its path."""
        names, own = (
            {archive.name for archive in archives},
            {part.path for one in archives for part in one.parts if part.path},
        )
        fetched = () if self.keep else (self.folder / ARCHIVES).glob("*")
        for path in fetched:
            if path.resolve() not in {one.resolve() for one in own}:
                remove(path)
        with suppress(OSError):  # there is none, or something in it stays
            (self.folder / ARCHIVES).rmdir()
        for place in (self.folder / FILES, self.folder / UNPACKED):
            for path in place.glob("*"):
                if (path.name if place.name == FILES else path.name.removesuffix(".json")) not in names:
                    remove(path)

    def _remedy(self, archive: Archive) -> str:
        """What to do about a damaged archive. What was fetched without a checksum is removed, for it may have come so."""
        if any(part.path for part in archive.parts):
            return "replace the file"
        unchecked = [part for part in archive.parts if not (part.sha256 or part.md5)]
        for part in unchecked:
            remove(self._place(part))
        if unchecked:
            return "run again to fetch it anew"
        return "its checksum is right, so it was published so: name another copy of it"

    def _place(self, part: Part) -> Path:
        return part.path or self.folder / ARCHIVES / part.name

    def _folder(self, name: str) -> Path:
        return self.folder / FILES / name

    def _note(self, name: str) -> Path:
        return self.folder / UNPACKED / f"{name}.json"


def _facts(part: Part, path: Path) -> dict[str, Any]:
    """What is noted of a part: where it is from, its bytes, and the checksums that it was found to have."""
    known = {name: getattr(part, name).lower() for name in HASHES if getattr(part, name)}
    return {"file": redact(part.file), "bytes": path.stat().st_size, **(known or {"sha256": hash_file(path)})}


def _same(part: Part, noted: dict[str, Any]) -> bool:
    """Whether a part that the settings name is the one that was noted: by checksums where both have one, else by its place;
    a file of the user's own by its content, while it is there."""
    both = [name for name in HASHES if getattr(part, name) and noted.get(name)]
    if both:
        return all(getattr(part, name).lower() == noted[name] for name in both)
    if noted["file"] != redact(part.file):
        return False
    if part.path and part.path.is_file():
        return part.path.stat().st_size == noted["bytes"] and all(
            hash_file(part.path, name) == noted[name] for name in HASHES if name in noted
        )
    return True

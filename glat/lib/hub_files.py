"""Files of a repository on the Hugging Face Hub in a folder of this machine: which are there and whole, and which are begun."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from pathlib import Path
from typing import NamedTuple

from .files import whole

CHECKSUM = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


class HubFile(NamedTuple):
    """A file of a repository. path: below its root; size: bytes; checksum: its SHA-256, or, of a small file, its id in git.

    What begins one is `.<name>.<checksum>.part` beside it: no other content is ever gone on with. That one was checked is
    noted in `.<name>.checksum`.
    """

    path: str
    size: int
    checksum: str

    def fault(self) -> str | None:
        """What is wrong with it, as somebody else's list has it: a path that leads out of a folder, or no checksum."""
        parts = self.path.split("/")
        if not self.path.isprintable() or "\\" in self.path or any(part in ("", ".", "..") for part in parts):
            return f"{self.path!r} is no path of a file"
        if self.size < 0 or not CHECKSUM.fullmatch(self.checksum):
            return f"{self.path} has no size or no checksum"
        return None

    def part(self, store: Path) -> Path:
        """Where it is begun."""
        path = store / self.path
        return path.with_name(f".{path.name}.{self.checksum[:16]}.part")

    def begun(self, store: Path) -> int:
        """How many bytes of it are there, while it is not whole. A part that is longer than the file is removed."""
        part = self.part(store)
        size = part.stat().st_size if part.is_file() else 0
        if size > self.size:
            part.unlink()
        return size if size <= self.size else 0

    def is_there(self, store: Path) -> bool:
        """Whether it is there and whole. It is not read again if it has not changed since it was checked."""
        path = store / self.path
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        notice = _notice(path)
        if notice.is_file() and notice.stat().st_mtime_ns >= path.stat().st_mtime_ns:
            return notice.read_bytes() == self.checksum.encode()
        if not self._is(path):
            return False
        self._note(path)
        return True

    def finish(self, store: Path) -> bool:
        """Move the part, which has all bytes, into place if they are the right ones, and else remove it. Returns whether
        they are."""
        path, part = store / self.path, self.part(store)
        if not self._is(part):
            part.unlink()
            return False
        part.replace(path)
        self._note(path)
        for other in path.parent.glob(f".{glob.escape(path.name)}.*.part"):  # of another revision
            other.unlink()
        return True

    def _is(self, path: Path) -> bool:
        with open(path, "rb") as file:
            if len(self.checksum) == 64:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.checksum
            blob = hashlib.sha1(b"blob %d\0" % os.fstat(file.fileno()).st_size, usedforsecurity=False)
            return hashlib.file_digest(file, lambda: blob).hexdigest() == self.checksum

    def _note(self, path: Path) -> None:
        with whole(_notice(path)) as part:
            part.write_text(self.checksum)


def _notice(path: Path) -> Path:
    return path.with_name(f".{path.name}.checksum")

"""What became of each clip of a shard, kept from run to run: one line of JSON an outcome, the last one counts."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...kinds import Kind
from .clip import Clip, Got, check
from .errors import Failure

NAME = "archive.jsonl"


class Archive:
    """A shard's folder of audio and its `archive.jsonl`, for the one process that holds the folder's lock.

    A line has clip, kind ("got", or a `kinds.Kind`), time (UTC), address (the template, redacted); of a clip that is got:
    file, part, bytes; of another one: reason, cure, and with (the settings given, of those that may help: cookies, proxy).
    """

    def __init__(self, folder: Path, address: str, given: list[str]):
        self.folder, self.address, self.given = folder, address, given
        self.path = folder / NAME
        self._last: dict[str, dict[str, Any]] = {}
        # A killed run may leave half a letter at the end, and a reason may hold what `splitlines` takes for an end of line.
        text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
        for line in text.split("\n"):
            try:
                row = json.loads(line)
                if row["kind"] != "got":
                    Kind(row["kind"])
                self._last[row["clip"]] = row
            except (ValueError, KeyError, TypeError):
                continue  # a line that a killed run left half, or of an unknown kind: its clip is asked for again
        self._begin = "" if text.endswith("\n") or not text else "\n"
        self._there = {entry.name.rpartition(".")[0]: entry for entry in os.scandir(folder) if entry.is_file()}

    def got(self, clip: Clip) -> Got | None:
        """The clip's file, if an earlier run got it. One that no line vouches for is decoded; if it is no good, or has
        changed since, it is removed."""
        row, entry = self._last.get(clip.clip), self._there.get(clip.clip)
        if entry is None:
            return None
        size = entry.stat().st_size
        if row and row["kind"] == "got" and row["file"] == entry.name and row["bytes"] == size:
            return Got(row["file"], row["part"], size)
        try:
            check(Path(entry.path), clip)
        except Failure:
            os.unlink(entry.path)
            return None
        got = Got(entry.name, "", size)
        self.add(clip, got)
        return got

    def gone(self, clip: Clip) -> Failure | None:
        """Why the clip can't be had, if that is for good: at this address, and with the settings given now."""
        row, failure = self._last.get(clip.clip, {}), self.failure(clip)
        if failure is None or not failure.gone or row["address"] != self.address:
            return None
        return None if failure.cure in self.given and failure.cure not in row["with"] else failure

    def failure(self, clip: Clip) -> Failure | None:
        """Why the clip did not come when it was last asked for."""
        row = self._last.get(clip.clip)
        return Failure(Kind(row["kind"]), row["reason"], cure=row["cure"]) if row and "reason" in row else None

    def add(self, clip: Clip, outcome: Got | Failure) -> None:
        """Keep an outcome."""
        row: dict[str, Any] = {"clip": clip.clip, "kind": "got", "address": self.address}
        row["time"] = datetime.now(UTC).isoformat(timespec="seconds")
        if isinstance(outcome, Got):
            row |= outcome._asdict()
        else:
            row |= {"kind": outcome.kind.value, "reason": outcome.reason, "cure": outcome.cure, "with": self.given}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(self._begin + json.dumps(row, ensure_ascii=False) + "\n")
        self._begin, self._last[clip.clip] = "", row

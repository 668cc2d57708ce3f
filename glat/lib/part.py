"""What came of an interrupted fetch, beside the file that it will be, and what is known of that file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .files import whole


class Part:
    """`.<name>.download` beside `target`, and its note `.<name>.download.json`: the address, validator and total size of
    the file that it began."""

    def __init__(self, target: Path):
        self.path = target.with_name(f".{target.name}.download")
        self._note = self.path.with_name(f"{self.path.name}.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def facts(self) -> dict[str, Any]:
        """The note; empty where it is not there or no note."""
        try:
            facts = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) and {"address", "validator", "total"} <= facts.keys() else {}

    def note(self, address: str, validator: str | None, total: int) -> None:
        with whole(self._note) as file:
            file.write_text(json.dumps({"address": address, "validator": validator, "total": total}))

    def drop(self) -> None:
        for path in (self.path, self._note):
            path.unlink(missing_ok=True)

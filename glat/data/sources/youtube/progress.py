"""How far a download is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ....lib.errors import tell
from .clip import Got
from .errors import Failure

EVERY = 60.0  # seconds between two lines of a log


class Tally:
    """Counts of this run, and `kept`: clips in the folder, those of earlier runs with them."""

    def __init__(self, folder: Path, asked: int, kept: int):
        self.title = f"download {folder.parent.name}/{folder.name}"
        self.asked, self.kept = asked, kept
        self.got = self.gone = self.passing = 0
        self._begin = self._written = time.monotonic()
        self._bar: tqdm[Any] | None = None

    @property
    def left(self) -> int:
        """Clips without an outcome yet."""
        return self.asked - self.got - self.gone - self.passing

    def add(self, outcome: Got | Failure) -> None:
        """Count an outcome, and tell of it when it is time."""
        if isinstance(outcome, Got):
            self.got, self.kept = self.got + 1, self.kept + 1
        elif outcome.gone:
            self.gone += 1
        else:
            self.passing += 1
        if sys.stderr.isatty():
            self._bar = self._bar or tqdm(total=self.asked, desc=self.title, unit="clip", leave=False)
            self._bar.set_postfix(got=self.got, gone=self.gone, passing=self.passing, refresh=False)
            self._bar.update()
        elif time.monotonic() - self._written >= EVERY:
            self._written = time.monotonic()
            self._line()

    def close(self) -> None:
        """Tell how it ended."""
        if self._bar is not None:
            self._bar.close()
        self._line()

    def _line(self) -> None:
        rate = (self.asked - self.left) / max(time.monotonic() - self._begin, 1e-3)
        left = f", about {self.left / rate / 60:.0f} min left" if self.left and rate else ""
        tell(
            f"{self.title}: {self.asked - self.left} of {self.asked}: {self.got} got, {self.gone} gone, "
            f"{self.passing} passing ({rate * 3600:.0f} clips an hour{left})"
        )

"""Which version of the project made a result."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit(folder: str | Path = ".") -> str:
    """The git commit of `folder`, with "-dirty" where files differ from it; "unknown" outside a git repository."""
    call = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not a git repository)"

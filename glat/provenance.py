"""What made a result: the commit, the versions, the hardware."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HARDWARE = {"gpu": "", "processor": "", "cores": " cores"}  # of `hardware.environment`, each with its unit


def commit(folder: str | Path = ".") -> str:
    """The git commit of `folder`, with "-dirty" where files differ from it; "unknown" outside a git repository."""
    call = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not a git repository)"


def maker() -> dict[str, Any]:
    """What makes a result here and now: {"commit": `commit()` of this code, "environment": `hardware.environment()`}."""
    from .hardware import environment  # imports torch, which a reader of what was noted does without

    return {"commit": commit(Path(__file__).parent), "environment": environment()}


def versions(environment: Mapping[str, Any]) -> str:
    """Of an environment, as in "python 3.11.7, torch 2.11.0"."""
    return ", ".join(f"{key} {value}" for key, value in environment.items() if key not in HARDWARE)


def hardware(environment: Mapping[str, Any]) -> str:
    """Of an environment, as in "AMD EPYC, 2 cores"."""
    return ", ".join(f"{environment[key]}{unit}" for key, unit in HARDWARE.items() if key in environment)

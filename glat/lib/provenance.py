"""What made a result: the commit, the versions, the hardware."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HARDWARE = {"gpu": "", "processor": "", "cores": " cores"}  # of `hardware.environment`, each with its unit
SOURCES = ("glat", "workflow", "Snakefile", "params.yaml")  # what a result is made by, from a repository's root
HERE = Path(__file__).resolve()


def commit(file: str | Path = HERE) -> str:
    """The git commit of the repository that tracks `file`, a source file of glat, with "-dirty" where what results are
    made by (`SOURCES`) differs from it; "unknown (why)" outside a repository."""
    try:
        _git(file, "ls-files", "--error-unmatch", Path(file).name)
        root = _git(file, "rev-parse", "--show-toplevel")
        changed = _git(file, "-C", root, "status", "--porcelain", "--untracked-files=no", "--", *SOURCES)
        return _git(file, "rev-parse", "HEAD") + ("-dirty" if changed else "")
    except OSError:
        return "unknown (git is not installed)"
    except subprocess.CalledProcessError as error:
        own = "not a git repository" not in error.stderr and "did not match any file" not in error.stderr
        told = error.stderr.partition("\n")[0] or f"git ended with status {error.returncode}"
        return f"unknown ({told if own else 'not a git repository'})"


def _git(file: str | Path, *arguments: str) -> str:
    call = ["git", "-C", str(Path(file).parent), *arguments]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()


def maker(accelerator: str = "cpu", devices: int = 1) -> dict[str, Any]:
    """What makes a result here and now: {"commit": `commit()`, "environment": `hardware.environment()`}."""
    from .hardware import environment  # imports torch, which a reader of what was noted does without

    return {"commit": commit(), "environment": environment(accelerator, devices)}


def versions(environment: Mapping[str, Any]) -> str:
    """Of an environment, as in "python 3.11.7, torch 2.11.0"."""
    return ", ".join(f"{key} {value}" for key, value in environment.items() if key not in HARDWARE)


def hardware(environment: Mapping[str, Any]) -> str:
    """Of an environment, as in "AMD EPYC, 2 cores"."""
    return ", ".join(f"{environment[key]}{unit}" for key, unit in HARDWARE.items() if key in environment)

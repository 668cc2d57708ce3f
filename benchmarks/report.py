"""A benchmark's result: rows, printed as a table and stored as JSON with the machine and the versions."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from glat.lib.cores import cores
from glat.lib.files import whole
from glat.lib.hardware import processor

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "torchaudio", "numpy", "h5py", "lightning", "librosa", "scikit-learn")


class Timer:
    """Seconds that a `timed()` block took, once it has ended."""

    seconds: float


@contextmanager
def timed() -> Iterator[Timer]:
    """Measure wall-clock time: `with timed() as t: work()`, then `t.seconds`."""
    timer, start = Timer(), perf_counter()
    yield timer
    timer.seconds = perf_counter() - start


def environment() -> dict[str, Any]:
    """Hardware, versions of packages, date, and the load average."""
    gpu = {"gpu": torch.cuda.get_device_name(0)} if torch.cuda.is_available() else {}
    packages = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": {"cpu": processor(), "cores": cores(), **gpu},
        "versions": {"python": platform.python_version(), **packages},
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as aligned text: a column per key in order of appearance, numbers to the right, blank if a key is
    missing."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns] + [[_text(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    number = [any(isinstance(row.get(column), int | float) for row in rows) for column in columns]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, number, strict=True)
        ).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def report(name: str, rows: list[dict[str, Any]], made_on: dict[str, Any] | None = None) -> Path:
    """Print the rows and write them to `benchmarks/results/<name>.json`.

    made_on: `environment()` from before the benchmark added its own load to the machine (default: of now).
    """
    made_on = made_on or environment()
    hardware = made_on["hardware"]
    print(f"{name}: {hardware['cpu']}, {hardware['cores']} cores, load {made_on['load_average']}, {made_on['date']}\n")
    print(table(rows))
    path = store(name, rows, made_on)
    print(f"\nwritten to {os.path.relpath(path)}")
    return path


def store(name: str, rows: list[dict[str, Any]], made_on: dict[str, Any]) -> Path:
    """Write rows to `benchmarks/results/<name>.json`, as `report` does: also those of a benchmark that is not over."""
    path = RESULTS / f"{name}.json"
    with whole(path) as part:
        part.write_text(json.dumps({"name": name, **made_on, "rows": rows}, indent=1) + "\n")
    return path


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)

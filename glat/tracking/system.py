"""What the machine does while a run trains: `system.csv` in the run's folder, in the names of MLflow's system metrics."""

from __future__ import annotations

import csv
import shutil
import subprocess
import time
from pathlib import Path

EVERY = 10.0  # seconds between two lines at first; later as many lines a decade of time, so that weeks stay short
GPU = ("utilization.gpu", "memory.used", "memory.total", "power.draw")


class Samples:
    """Lines of system.csv, appended when one is due; a resumed training goes on below the old ones."""

    def __init__(self, path: Path):
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
        from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

        self.path = path
        self.monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
        self.columns: list[str] = []
        self.step = 0
        if path.exists():
            with path.open() as file:
                lines = list(csv.DictReader(file))
            self.columns, self.step = list(lines[0]) if lines else [], len(lines)
        self.begin = self.last = time.monotonic()

    def take(self) -> None:
        """Append a line if one is due."""
        now = time.monotonic()
        if self.step and now - self.last < max(EVERY, (now - self.begin) / 1000):
            return
        self.last = now
        row = {"step": self.step + 1, "at": round(time.time(), 3)}
        for monitor in self.monitors:
            monitor.collect_metrics()
            row |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        row |= gpus()
        new = not self.columns
        self.columns = self.columns or list(row)
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            if new:
                writer.writeheader()
            writer.writerow(row)
        self.step += 1


def gpus() -> dict[str, float]:
    """Use, memory and power of each NVIDIA GPU, as its driver's own command tells; empty without one."""
    if shutil.which("nvidia-smi") is None:
        return {}
    call = ["nvidia-smi", f"--query-gpu={','.join(GPU)}", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(call, capture_output=True, text=True, check=True, timeout=10).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse_gpus(lines)


def parse_gpus(lines: list[str]) -> dict[str, float]:
    """Lines of nvidia-smi, one a GPU, as metrics; what a GPU does not tell ("[N/A]") is left out."""
    found = {}
    for index, line in enumerate(lines):
        values = [_number(text) for text in line.split(",")]
        if len(values) != len(GPU):
            continue
        use, used, total, power = values
        share = 100 * used / total if used is not None and total else None
        named = {
            "utilization_percentage": use,
            "memory_usage_megabytes": used,
            "memory_usage_percentage": share,
            "power_usage_watts": power,
        }
        found |= {f"gpu_{index}_{key}": round(value, 1) for key, value in named.items() if value is not None}
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

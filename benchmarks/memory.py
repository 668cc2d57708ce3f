"""Peak memory of a training on a CPU: full width, 527 classes, clips of 10 s at 32 kHz.

Each case is a process of its own that trains two steps as `glat train` does, with a resume point on the way. `peak_GB` is the
most that was resident in it (`getrusage`). Memory grows linearly with the clips of a batch: batches that would take more than
`--most` GB are not trained, but extrapolated from the two largest that were. With `--workers`, `together_GB` is the most that
the process and its workers held, each shared page counted once (PSS, ten times a second).

    python -m benchmarks.memory [--batches 4 8 16 32] [--most 12] [--precision float32] [--workers 0] [--backbones cnn10 ...]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from glat.config.params import load
from glat.config.runs import resolve
from glat.lib.errors import GlatError
from glat.training import fit

from .reading import write_pack
from .report import environment, report
from .step import CLASSES

STEPS, GB = 2, 1e9


def train(folder: Path, backbone: str, glat: bool, batch: int, precision: str, workers: int) -> None:
    """Train, and print the peak of this process's resident memory in GB."""
    params = load(Path(__file__).parents[1] / "params.yaml", {"dataset": "audioset_balanced"})
    run = resolve(params, backbone, 0, {} if glat else None)
    training = run.training.model_copy(update={"steps": STEPS, "batch_size": batch})
    run = run.model_copy(update={"packs": [str(folder / "pack.h5")], "training": training})
    how = {"accelerator": "cpu", "precision": precision, "workers": workers, "log_every": 1, "checkpoint_every": 1}
    with tempfile.TemporaryDirectory(dir=folder) as own:
        fit.train(run, Path(own), execution=params.execution.model_copy(update=how))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB)


def together(process: psutil.Process) -> int:
    """Bytes that a process and those that it started hold; a page that several share counts once."""
    held = 0
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.Error):
            held += one.memory_full_info().pss
    return held


def measured(folder: Path, backbone: str, glat: bool, batch: int, precision: str, workers: int) -> dict[str, Any]:
    """A row of one training in a process of its own. Raises GlatError if it fails."""
    case = [backbone, str(int(glat)), str(batch), precision, str(workers)]
    call = [sys.executable, "-m", "benchmarks.memory", "--one", str(folder), *case]
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=log, text=True)
        own, most = psutil.Process(process.pid), 0
        while process.poll() is None and workers:
            with suppress(psutil.Error):
                most = max(most, together(own))
            time.sleep(0.1)
        if process.wait():
            raise GlatError(f"benchmarks.memory: {' '.join(case)} failed: {(folder / 'log').read_text()[-2000:]}")
        assert process.stdout
        peak = float(process.stdout.read().split()[-1])
    row = {"what": f"{backbone}{' + GL-AT' if glat else ''}", "batch": batch, "peak_GB": peak, "how": "measured"}
    return row | ({"together_GB": most / GB} if workers else {})


def extrapolated(rows: list[dict[str, Any]], batch: int) -> dict[str, Any]:
    """The row of a batch by the straight line through the last two of a network."""
    (x, low), (y, high) = ((row["batch"], row["peak_GB"]) for row in rows[-2:])
    per_clip = (high - low) / (y - x)
    return {"what": rows[-1]["what"], "batch": batch, "peak_GB": high + (batch - y) * per_clip, "how": "extrapolated"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backbones", nargs="+", default=["cnn10", "resnet38", "talnet", "atsca"])
    parser.add_argument("--batches", nargs="+", type=int, default=[4, 8, 16, 32], help="at least three, ascending")
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    parser.add_argument("--workers", type=int, default=0, help="processes that load data")
    parser.add_argument("--most", type=float, default=12, help="GB that a training may take here")
    parser.add_argument("--plain", action="store_true", help="also without GL-AT")
    parser.add_argument("--one", nargs=6, metavar="X", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        folder, backbone, glat, batch, precision, workers = options.one
        train(Path(folder), backbone, glat == "1", int(batch), precision, int(workers))
        return
    rows: list[dict[str, Any]] = []
    made_on = environment() | {"precision": options.precision, "workers": options.workers}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_pack(folder, 64, CLASSES)
        for backbone in options.backbones:
            for glat in (False, True) if options.plain else (True,):
                own: list[dict[str, Any]] = []
                for batch in options.batches:
                    row = extrapolated(own, batch) if len(own) > 1 else {"peak_GB": 0.0}
                    if row["peak_GB"] <= options.most and "extrapolated" not in (one["how"] for one in own):
                        row = measured(folder, backbone, glat, batch, options.precision, options.workers)
                    own.append(row)
                    print(json.dumps(row), file=sys.stderr, flush=True)
                rows += own
    report(f"memory_{options.precision}", rows, made_on)


if __name__ == "__main__":
    main()

"""CPU time of a training step with large tensors in pages of 4 kB, as torch has them, and of 2 MB, as glat has them.

CNN10 with GL-AT, an eighth of its width as on `mini`, and of full width. Each step runs in a process of its own, since torch
reads THP_MEM_ALLOC_ENABLE once; the two kinds take turns. `peak_MB` is what was resident at most (`getrusage`).

    python -m benchmarks.pages [--batch 4] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from statistics import median
from time import process_time

import torch

from .report import environment, report
from .step import Step

KINDS = {"4 kB": "0", "2 MB": "1"}
STEPS = {0.125: 40, 1.0: 2}  # by width


def measure(width: float, batch: int) -> dict[str, float]:
    """CPU seconds of a step and peak memory in MB of this process."""
    torch.set_num_threads(1)
    step = Step(glat=True, fast=False, batch=batch, device="cpu", width=width)
    step()
    step()
    before = process_time()
    for _ in range(STEPS[width]):
        step()
    seconds = (process_time() - before) / STEPS[width]
    return {"cpu_seconds": seconds, "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=float, choices=STEPS, help=argparse.SUPPRESS)  # in a process that measures
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options.batch)))
        return
    made_on, rows = environment(), []
    for width in STEPS:
        found: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
        for _ in range(options.rounds):
            for kind, value in KINDS.items():
                call = [sys.executable, "-m", "benchmarks.pages", "--only", str(width), "--batch", str(options.batch)]
                own = os.environ | {"THP_MEM_ALLOC_ENABLE": value}
                done = subprocess.run(call, env=own, check=True, stdout=subprocess.PIPE, text=True)
                found[kind].append(json.loads(done.stdout))
        for kind, values in found.items():
            medians = {key: median(one[key] for one in values) for key in values[0]}
            rows.append({"what": f"step of CNN10 + GL-AT, width {width:g}, pages of {kind}"} | medians)
        ratios = [a["cpu_seconds"] / b["cpu_seconds"] for a, b in zip(*found.values(), strict=True)]
        ratio = {"ratio": median(ratios), "lowest": min(ratios), "highest": max(ratios)}
        rows.append({"what": f"4 kB / 2 MB, width {width:g}"} | ratio)
    report("pages", rows, made_on)


if __name__ == "__main__":
    main()

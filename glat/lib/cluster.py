"""What a Slurm cluster offers, for the workflow: whether its jobs can have a GPU, and for how long they may run; and what a
training asks of it."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from typing import NamedTuple

from .errors import warn


class Partition(NamedTuple):
    """GPUs or none, and the longest time of a job in minutes (None: no limit)."""

    gpu: bool = False
    minutes: int | None = None


@cache
def partition(name: str | None = None) -> Partition:
    """The partition `name` (None: the cluster's default) by `sinfo`. Where that fails: no GPU and no limit, and a line on
    stderr."""
    call = ["sinfo", "--noheader", "--format=%P|%G|%l"]
    try:
        answer = subprocess.run(call, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        warn(
            f"the cluster's partitions are not known, since sinfo fails ({str(error)[:200]}): no limit on time, and GPUs "
            "only with execution.accelerator: gpu"
        )
        return Partition()
    return parse(answer, name)


def parse(answer: str, name: str | None = None) -> Partition:
    """Lines of `sinfo`, one for each kind of node of a partition: its name (`*`: the default), GRES and time limit."""
    lines = [line.split("|") for line in answer.splitlines() if line.count("|") == 2]
    own = [(gres, limit) for key, gres, limit in lines if (key.rstrip("*") == name if name else key.endswith("*"))]
    gpu = any(gres.split(":")[0] == "gpu" for all_of_it, _ in own for gres in all_of_it.split(","))
    return Partition(gpu, minutes(own[0][1]) if own else None)


def minutes(limit: str) -> int | None:
    """Slurm's [days-][hours:]minutes:seconds as whole minutes; None for "infinite" or what is no time."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit.strip())
    if not found:
        return None
    days, hours, whole, _ = (int(part or 0) for part in found.groups())
    return (24 * days + hours) * 60 + whole


def training_memory(width: float, seconds: float, clips: int, gpu: bool) -> int:
    """MB of one process of a training, the largest backbone's and a margin.

    On a CPU: PyTorch itself; weights, gradients and Adam's two moments, which grow with the square of the network's width;
    and what a backward pass keeps of each second of a clip, which grows with the width. `python -m benchmarks.memory`
    measures it. On a GPU most of that is in the GPU's own memory, and loading the data is what is left.

    width: of the network. seconds: that it hears of each clip, GL-AT's windows included. clips: in the process's batch.
    """
    if gpu:
        return 16000 if width >= 1 else 3000
    return max(3000, round(1500 + 4500 * width**2 + 30 * width * seconds * clips))

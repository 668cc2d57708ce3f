"""What the machine offers: threads, precision, and what a result should say about where it was made."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch

from .cores import cores
from .errors import GlatError

if TYPE_CHECKING:
    from lightning.pytorch.plugins.environments import ClusterEnvironment


def use_threads(threads: int | None) -> None:
    """Let torch compute on this many threads, never more than there are cores; None or 0: on as many as it does by itself,
    which is all cores, or OMP_NUM_THREADS."""
    if threads:
        torch.set_num_threads(max(1, min(threads, cores())))


def cluster(devices: int, nodes: int) -> ClusterEnvironment:
    """What started the processes of a training, `devices` on each of `nodes` nodes: `torchrun`, Slurm's `srun`, or, if this
    process was started alone, Lightning, which starts the others of this node.

    Raises GlatError if torchrun or srun started another number, or if nobody started the processes of the other nodes.
    """
    # Imported here: whoever only asks for versions or threads need not wait for Lightning.
    from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment

    world = devices * nodes
    asked = f"execution.devices: {devices} and execution.nodes: {nodes}"
    if TorchElasticEnvironment.detect():
        if (started := os.environ["WORLD_SIZE"]) != str(world):
            raise GlatError(f"{asked} make {world} processes, but torchrun started {started}; make them equal")
        return TorchElasticEnvironment()
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if tasks > 1 and tasks != world:
        raise GlatError(f"{asked} make {world} processes, but srun started {tasks} tasks; make them equal")
    if tasks > 1:
        return SLURMEnvironment(auto_requeue=False)  # Snakemake starts an interrupted job again
    if nodes > 1:
        raise GlatError(
            f"{asked}, but this process was started alone and would wait for the others for ever; use the Slurm profile, "
            "srun or torchrun (docs/cluster.md), or set execution.nodes: 1"
        )
    return LightningEnvironment()


def end_with_parent() -> None:
    """Have Linux end this process when the one that started it has ended, however that did: prctl(2), PR_SET_PDEATHSIG."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def first_process() -> bool:
    """Whether this is the first process of a training, whoever started its processes: Lightning, srun or torchrun."""
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
    return all(os.environ.get(name, "0") == "0" for name in ranks)


def accelerator(setting: str) -> str:
    """Of "auto", "gpu" where CUDA has a device, else "cpu". Raises GlatError for "gpu" where there is none."""
    if setting == "gpu" and not torch.cuda.is_available():
        raise GlatError("execution.accelerator: gpu, but PyTorch finds no CUDA device here; set auto or cpu")
    return ("gpu" if torch.cuda.is_available() else "cpu") if setting == "auto" else setting


def use_tf32(yes: bool) -> None:
    """Whether a GPU's convolutions in float32 round their factors to 10 bits (TF32). That is several times as fast and good
    enough to train with, but moves scores by more than 1e-4. Matrix products, as in the front end, are never rounded so."""
    torch.backends.cudnn.allow_tf32 = yes
    torch.backends.cuda.matmul.allow_tf32 = False


def precision(setting: str, accelerator: str) -> str:
    """Of "auto", "bf16" where the processor computes in bfloat16 itself, else "float32"."""
    if setting != "auto":
        return setting
    native = torch.cuda.is_bf16_supported(False) if accelerator == "gpu" else torch.cpu._is_avx512_bf16_supported()
    return "bf16" if native else "float32"


def processor() -> str:
    """The name of the CPU."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def environment(accelerator: str = "cpu", devices: int = 1) -> dict[str, str | int]:
    """Versions and hardware, for a result's own record: of the GPUs those that it uses ("gpu", how many `devices`)."""
    packages = {name: version(name) for name in ("glat", "torch", "torchaudio", "lightning", "numpy", "h5py")}
    gpu = {}
    if accelerator == "gpu":
        gpu = {"gpu": f"{devices} x {torch.cuda.get_device_name(0)}" if devices > 1 else torch.cuda.get_device_name(0)}
    return {"python": platform.python_version(), **packages, "processor": processor(), "cores": cores(), **gpu}

"""One training step of full-width CNN10 with and without GL-AT, in float32 and in bf16 with channels_last.

A step is front end, forward, backward and Adam on a batch of 10 s clips at 32 kHz. The variants take turns, so that
other load affects all of them equally; each ratio is the median over the rounds. On a busy CPU, wall-clock ratios vary,
and those of CPU time (`cpu_ratio`, on one thread) say more. Targets: GL-AT takes at most 1.1 x (1 + N tau / T0) times
the plain step, and bf16 with channels_last is at least twice as fast as float32 if the processor supports bfloat16
(AVX-512 BF16, or a GPU).

    python -m benchmarks.step [--batch 8] [--rounds 7] [--threads 0] [--device auto] [--profile]
"""

from __future__ import annotations

import argparse
from statistics import median
from time import process_time

import torch
import torch.nn.functional as F

from glat.lib.hardware import precision, use_tf32, use_threads
from glat.models import build
from glat.training.stage import compile_backbones

from .report import environment, report, timed

RATE, SECONDS, CLASSES = 32000, 10.0, 527
N, TAU = 5, 3.0
ALLOWED = 1.1 * (1 + N * TAU / SECONDS)


class Step:
    """A network, its optimiser and a batch. A call trains for one step and waits until it is done; `begin` does not wait for
    a GPU."""

    def __init__(
        self,
        glat: bool,
        fast: bool,
        batch: int,
        device: str,
        backbone: str = "cnn10",
        compiled: bool = False,
        width: float = 1.0,
    ):
        torch.manual_seed(0)
        self.device, self.fast = device, fast
        self.tagger = build(backbone, CLASSES, width, glat={"n": N, "tau": TAU} if glat else None).to(device)
        if fast:
            self.tagger.to(memory_format=torch.channels_last)
        if compiled:
            compile_backbones(self.tagger)
        fused = {"fused": True} if fast and device == "cuda" else {}
        self.optimizer = torch.optim.Adam(self.tagger.parameters(), lr=1e-3, **fused)
        self.waveform = 0.1 * torch.randn(batch, round(SECONDS * RATE), device=device)
        self.target = (torch.rand(batch, CLASSES, device=device) < 0.01).float()

    def begin(self) -> None:
        use_tf32(self.fast)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.fast):
            streams = self.tagger.streams(self.waveform)
        loss = F.binary_cross_entropy(streams.global_, self.target)
        if streams.local is not None:
            loss = loss + F.binary_cross_entropy(streams.local, self.target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def __call__(self) -> None:
        self.begin()
        if self.device == "cuda":
            torch.cuda.synchronize()


def profile(step: Step) -> str:
    """A step's time by operator, the longest first."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if step.device == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as result:
        step()
    key = "self_device_time_total" if step.device == "cuda" else "self_cpu_time_total"
    return result.key_averages().table(sort_by=key, row_limit=12, max_name_column_width=40)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--profile", action="store_true", help="print each variant's time by operator")
    options = parser.parse_args()
    use_threads(options.threads)
    made_on = environment()
    device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    native = precision("auto", "gpu" if device == "cuda" else "cpu") == "bf16"

    steps = {
        f"{'GL-AT' if glat else 'plain'}, {'bf16 + channels_last' if fast else 'float32'}": Step(
            glat, fast, options.batch, device
        )
        for fast in (False, True)
        for glat in (False, True)
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()  # warm up: memory, kernels, Adam's state
    for _ in range(options.rounds):
        for name, step in steps.items():
            before = process_time()
            with timed() as timer:
                step()
            cpu_seconds[name].append(process_time() - before)
            seconds[name].append(timer.seconds)
    if options.profile:
        for name, step in steps.items():
            print(f"{name}\n{profile(step)}")

    plain, glat, plain_fast, glat_fast = steps
    common = {"device": device, "batch": options.batch}
    rows = []
    for name, values in seconds.items():
        row = {"what": f"step of CNN10 {name}", "seconds": median(values)}
        if device == "cpu":
            row["cpu_seconds"] = median(cpu_seconds[name])
        rows.append(row | common)
    lacking = "" if native else "no target here: the processor lacks AVX-512 BF16"
    for what, over, under, least, most, note in (
        ("GL-AT / plain, float32", glat, plain, None, ALLOWED, ""),
        ("GL-AT / plain, bf16 + channels_last", glat_fast, plain_fast, None, ALLOWED, ""),
        ("float32 / bf16 + channels_last, plain", plain, plain_fast, 2.0 if native else None, None, lacking),
        ("float32 / bf16 + channels_last, GL-AT", glat, glat_fast, 2.0 if native else None, None, lacking),
    ):
        ratios = [a / b for a, b in zip(seconds[over], seconds[under], strict=True)]
        row = {"what": what, "ratio": median(ratios), "lowest": min(ratios), "highest": max(ratios)}
        if device == "cpu":
            row["cpu_ratio"] = median(a / b for a, b in zip(cpu_seconds[over], cpu_seconds[under], strict=True))
        if least or most:
            row["target"] = f">= {least:g}" if least else f"<= {most:g}"
            row["met"] = "yes" if (row["ratio"] >= least if least else row["ratio"] <= most) else "no"
        rows.append(row | ({"note": note} if note else {}) | common)
    report("step", rows, made_on)


if __name__ == "__main__":
    main()

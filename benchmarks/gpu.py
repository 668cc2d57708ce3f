"""Training and evaluation on a GPU: steps, loader, a minute of real training, and scores against the CPU's.

Full width, 527 classes, clips of 10 s at 32 kHz, batch 32. A step is front end, forward, backward and Adam. The variants
take turns, each timed over several steps between two synchronisations; ratios are medians over the rounds.

Targets: a GL-AT step of CNN10 and ResNet38 at least 1.5 times as fast as the same network in float32 without TF32 or
compilation, and at most 2.75 plain steps; with `--release`, at least 3 times the clips a second of the released code; the
loader gives at least 1.3 times what the step takes; over a minute of `glat train`'s own training, the GPU is busy for at
least 90 % of the time; scores differ from the CPU's by at most 1e-4.

    python -m benchmarks.gpu [--batch 32] [--rounds 5] [--minute 60] [--workers 8] [--eager] [--release COMMAND]

It needs a CUDA device, and is meant to take less than 8 minutes. What is done is printed and stored after each part.
`--release` is a command of your own that times the released code (github.com/WangHelin1997/GL-AT) on this card and prints
lines such as `Cnn10: training 12.3 clips/s`.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader

from glat.config.params import load
from glat.config.runs import Run, resolve
from glat.data.packs.read import PackedClips, Packs, as_is
from glat.lib.errors import GlatError
from glat.models import build
from glat.scoring.cost import multiply_adds
from glat.scoring.predict import predict
from glat.training import fit

from .reading import write_pack
from .report import environment, report
from .step import CLASSES, SECONDS, Step

STEPS_PAPER = 800_000
# Multiply-adds a second of dense bfloat16 products, by what the card's name contains (NVIDIA's data sheets, FLOP / 2).
PEAKS = {"H200": 495e12, "H100": 495e12, "A100": 156e12, "L40S": 181e12, "4090": 83e12}


def seconds_of(work: Callable[[], Any], times: int) -> float:
    """Seconds of one call on the GPU, over several."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(times):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / times


def seconds_of_kernels(work: Callable[[], Any], times: int = 3) -> float:
    """Seconds of one call in which the GPU computes or copies: the rest of its time the GPU waits for the CPU."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as found:
        seconds_of(work, times)
    return sum(event.self_device_time_total for event in found.key_averages()) / 1e6 / times


def steps(backbone: str, batch: int, rounds: int, compiled: bool) -> list[dict[str, Any]]:
    """A network's steps, plain and with GL-AT, and their ratios; compiled: with torch.compile, too."""
    variants = {
        "GL-AT, float32 eager": (True, False, False),
        "plain, bf16": (False, True, False),
        "GL-AT, bf16": (True, True, False),
    }
    if compiled:
        variants |= {"plain, bf16, compiled": (False, True, True), "GL-AT, bf16, compiled": (True, True, True)}
    made, took, memory, start_up = {}, {name: [] for name in variants}, {}, {}
    for name, variant in variants.items():
        torch.cuda.reset_peak_memory_stats()
        before, begin = torch.cuda.memory_allocated(), time.perf_counter()
        glat, fast, fused = variant
        made[name] = Step(glat, fast, batch, "cuda", backbone, fused)
        seconds_of(made[name].begin, 3)
        start_up[name] = time.perf_counter() - begin
        memory[name] = (torch.cuda.max_memory_allocated() - before) / 1e9
    for _ in range(rounds):
        for name, step in made.items():
            took[name].append(seconds_of(step.begin, 5))
    peak = next((value for key, value in PEAKS.items() if key in torch.cuda.get_device_name(0)), None)
    rows: list[dict[str, Any]] = []
    for name, values in took.items():
        second = median(values)
        row = {"what": f"{backbone} {name}", "ms": 1000 * second, "clips_per_second": batch / second}
        row |= {"GB": memory[name], "start_up_s": start_up[name], "hours_for_800000": STEPS_PAPER * second / 3600}
        row["busy"] = seconds_of_kernels(made[name].begin) / second
        if peak and "bf16" in name:  # forward and backward cost three times the forward pass
            row["of_peak"] = 3 * batch * multiply_adds(made[name].tagger, SECONDS) / second / peak
        rows.append(row)
    for over, under, target in (
        ("GL-AT, float32 eager", "GL-AT, bf16", ">= 1.5"),
        ("GL-AT, float32 eager", "GL-AT, bf16, compiled", ">= 1.5"),
        ("GL-AT, bf16", "plain, bf16", "<= 2.75"),
        ("GL-AT, bf16, compiled", "plain, bf16, compiled", "<= 2.75"),
    ):
        if over in took and under in took:
            ratio = median(a / b for a, b in zip(took[over], took[under], strict=True))
            rows.append(judged(f"{backbone}: {over} / {under}", ratio, target))
    del made
    torch.cuda.empty_cache()
    return rows


def judged(what: str, ratio: float, target: str) -> dict[str, Any]:
    """A row with its target, and whether it is met."""
    sign, bound = target.split()
    met = ratio >= float(bound) if sign == ">=" else ratio <= float(bound)
    return {"what": what, "ratio": ratio, "target": target, "met": "yes" if met else "no"}


def loader(packs: Packs, batch: int, workers: int, step: float) -> dict[str, Any]:
    """Clips a second of the loader, alone, over those of a step of `step` seconds."""
    clips = torch.randint(len(packs), (40 * workers + 200, batch)).tolist()
    how = {"collate_fn": as_is, "num_workers": workers, "pin_memory": True}
    batches = iter(DataLoader(PackedClips(packs), batch_sampler=clips, **how))
    for _ in range(2 * workers):  # as many were read before the first was asked for
        next(batches)["waveform"].cuda(non_blocking=True)
    start, count = time.perf_counter(), 0
    for one in batches:
        one["waveform"].cuda(non_blocking=True)
        count += 1
    torch.cuda.synchronize()
    speed = count * batch / (time.perf_counter() - start)
    what = f"loader, {workers} workers / the fastest GL-AT step of cnn10"
    return judged(what, speed * step / batch, ">= 1.3") | {"clips_per_second": speed}


class Busy(threading.Thread):
    """The GPU's utilisation as nvidia-smi tells it, each half second; no values where it tells none."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.values: list[int] = []
        self.over = threading.Event()

    def run(self) -> None:
        card = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
        call = ["nvidia-smi", f"--id={card}", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        with suppress(OSError):
            while not self.over.wait(0.5):
                told = subprocess.run(call, capture_output=True, text=True, check=False).stdout.strip()
                self.values += [int(told)] if told.isdecimal() else []


class Clock(lightning.Callback):
    """Ends a training after some seconds; notes its steps and the GPU's utilisation behind the first ones."""

    def __init__(self, seconds: float, first: int = 50):
        self.seconds, self.first, self.busy = seconds, first, Busy()
        self.steps = 0

    def on_train_batch_end(self, trainer, *_) -> None:
        if trainer.global_step == self.first:
            torch.cuda.synchronize()
            self.begin = time.perf_counter()
            self.busy.start()
        if trainer.global_step > self.first and time.perf_counter() - self.begin > self.seconds:
            torch.cuda.synchronize()
            self.steps = trainer.global_step - self.first
            self.took = time.perf_counter() - self.begin
            self.busy.over.set()
            trainer.should_stop = True


def minute(run: Run, folder: Path, workers: int, seconds: float, compiled: bool) -> dict[str, Any]:
    """A training as `glat train` runs it, for a while."""
    params = load(Path(__file__).parents[1] / "params.yaml")
    how = {"workers": workers, "accelerator": "gpu", "compile": compiled, "checkpoint_every": 10**9}
    clock = Clock(seconds)
    fit.train(run, folder, execution=params.execution.model_copy(update=how), callbacks=[clock])
    speed = clock.steps * run.training.batch_size / clock.took
    what = f"training of {run.backbone} + GL-AT{', compiled' if compiled else ''}: share of time that the GPU is busy"
    busy = clock.busy.values
    row = judged(what, sum(busy) / len(busy) / 100, ">= 0.9") if busy else {"what": what, "met": "not told here"}
    return row | {"clips_per_second": speed, "hours_for_800000": STEPS_PAPER * run.training.batch_size / speed / 3600}


def same_scores(packs: Packs) -> dict[str, Any]:
    """The largest difference of a GPU's scores from the CPU's, in float32."""
    torch.manual_seed(0)
    tagger, found = build("cnn10", CLASSES, glat={}).eval(), {}
    for stream in tagger.backbones().values():
        stream.fc_audioset.weight.data *= 30  # scores between 0 and 1, as a trained network has them, not all near 1/2
    for device in ("cpu", "cuda"):
        how = {"batch_size": 8, "precision": "float32", "seed": 0, "only": torch.arange(32).numpy()}
        found[device], _ = predict(tagger, packs, device=device, **how)
    assert found["cpu"]["fused"].std() > 0.1
    apart = max(abs(found["cpu"][name] - found["cuda"][name]).max() for name in ("fused", "global", "local"))
    return judged("scores of cnn10 + GL-AT, GPU - CPU, largest difference", float(apart), "<= 1e-4")


def released(command: str) -> dict[str, float]:
    """The released code's clips a second, by backbone."""
    told = subprocess.run(shlex.split(command), capture_output=True, text=True, check=True).stdout
    return {name.lower(): float(speed) for name, speed in re.findall(r"(\w+): training ([\d.]+) clips/s", told)}


def beside(theirs: dict[str, float], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each of our GL-AT steps in bf16 beside the released code's."""
    found = []
    for row in rows:
        backbone, _, variant = row["what"].partition(" ")
        if backbone in theirs and variant.startswith("GL-AT, bf16"):
            ratio = judged(f"{row['what']} / released code", row["clips_per_second"] / theirs[backbone], ">= 3")
            found.append(ratio | {"clips_per_second": theirs[backbone]})
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minute", type=float, default=60, help="seconds of a real training")
    parser.add_argument("--eager", action="store_true", help="nothing compiled, which takes half of the time")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--clips", type=int, default=2000, help="in the pack that is read")
    parser.add_argument("--release", help="a command that times the released code on this card, with this batch")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise GlatError("benchmarks.gpu: PyTorch finds no CUDA device here; run it on a machine with one")
    torch.backends.cudnn.benchmark = True
    made_on, rows = environment(), []
    theirs = released(options.release) if options.release else {}

    def measured(*new: dict[str, Any]) -> None:
        rows.extend(new)
        report("gpu", rows, made_on)

    def network(backbone: str) -> None:
        found = steps(backbone, options.batch, options.rounds, not options.eager)
        measured(*found, *beside(theirs, found))

    network("cnn10")
    step = min(row["ms"] / 1000 for row in rows if "ms" in row and "GL-AT, bf16" in row["what"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pack(folder, options.clips, CLASSES)
        packs = Packs(folder / "pack.h5")
        measured(same_scores(packs), loader(packs, options.batch, options.workers, step))
        params = load(Path(__file__).parents[1] / "params.yaml", {"dataset": "audioset_balanced"})
        run = resolve(params, "cnn10", 0, {}).model_copy(update={"packs": [str(folder / "pack.h5")]})
        measured(minute(run, folder / "run", options.workers, options.minute, not options.eager))
    network("resnet38")


if __name__ == "__main__":
    main()

"""The cost of tracking with MLflow: `glat train` from start to end, with and without it.

The variants take turns on the same run of `mini`; each ratio is the median over the rounds. A thread of the training
sends, so tracking costs the training's own cores, and the last sending, which the training waits for. `tracking.watch`
costs the clips that are scored while training. Target: at most 1.05 times the untracked training, whatever the server
does. Needs the packs of `mini` (`snakemake packs`).

    python -m benchmarks.tracking [--steps 400] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from .report import environment, report, timed

ROOT = Path(__file__).parents[1]
NAME = "cnn10-s0"
ALLOWED = 1.05


def glat(folder: Path, *arguments: str, **more: str) -> None:
    call = [sys.executable, "-m", "glat.cli", *arguments]
    env = os.environ | {"PYTHONPATH": str(ROOT)} | more
    subprocess.run(call, cwd=folder, env=env, check=True, stderr=subprocess.DEVNULL)


def train(folder: Path, steps: int, enabled: bool, watch: float, address: str) -> float:
    """Seconds of a whole `glat train`, by a tracking server at `address`."""
    settings = [f"datasets.mini.training.steps={steps}", f"tracking.enabled={enabled}", f"tracking.watch={watch}"]
    chosen = [word for setting in settings for word in ("--set", setting)]
    folder.mkdir()
    (folder / "data").symlink_to(ROOT / "data")
    (folder / "params.yaml").symlink_to(ROOT / "params.yaml")
    glat(folder, *chosen, "configure", NAME)
    with timed() as timer:
        glat(folder, *chosen, "train", f"runs/mini/{NAME}/config.yaml", MLFLOW_TRACKING_URI=address)
    return timer.seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not list((ROOT / "data/mini/packs").glob("*/*.h5")):
        raise SystemExit("data/mini/packs: no packs there; make them with `snakemake --cores 8 packs`")
    made_on = environment()
    with socket.socket() as hanging:  # takes connections, and never answers
        hanging.bind(("127.0.0.1", 0))
        hanging.listen(100)
        variants = {
            "not followed": (False, 0.0, ""),
            "followed, into SQLite": (True, 0.0, ""),
            "and watched on evaluation clips (the default)": (True, 0.06, ""),
            "followed, by a server that hangs": (True, 0.0, f"http://127.0.0.1:{hanging.getsockname()[1]}"),
        }
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        with tempfile.TemporaryDirectory() as place:
            for turn in range(options.rounds):
                for number, (name, variant) in enumerate(variants.items()):
                    seconds[name].append(train(Path(place) / f"{turn}-{number}", options.steps, *variant))
    alone = seconds["not followed"]
    rows = []
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(values, alone, strict=True)]
        row = {"what": f"{options.steps} steps of {NAME}, {name}", "seconds": median(values)}
        if name != "not followed":
            row |= {"ratio": median(ratios), "lowest": min(ratios), "highest": max(ratios), "target": f"<= {ALLOWED}"}
            row["met"] = "yes" if row["ratio"] <= ALLOWED else "no"
        rows.append(row)
    report("tracking", rows, made_on)


if __name__ == "__main__":
    main()

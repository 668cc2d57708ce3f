"""What each network costs to train and to run on the machine at hand: the project's four, and networks of timm and transformers
as their publications have them, without and with GL-AT around them.

Parameters, multiply-adds of a clip of 10 s, seconds of a training step (front end, forward, backward, Adam) and of inference
for one clip, in the precision that a training would use. On a CPU these are CPU seconds of one thread, which other load
disturbs least; the lowest of the rounds counts. On a GPU they are seconds: give it a larger batch. No weights are downloaded:
time does not depend on them.

    python -m benchmarks.backbones [--batch 2] [--rounds 3] [--device auto]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import torch
import torch.nn.functional as F

from glat.config.network import FrontEnd, Network
from glat.lib.hardware import precision, use_tf32, use_threads
from glat.models import build
from glat.scoring.cost import multiply_adds

from .report import environment, report, store

RATE, SECONDS, CLASSES = 32000, 10.0, 527
GLAT = {"n": 5, "tau": 3.0}
OURS = ("cnn10", "resnet38", "talnet", "atsca")
# PSLA's network, EfficientAT's family, and networks that timm's users know, each with 128 mel bands as in PSLA.
TIMM = ("tf_efficientnet_b2", "mobilenetv3_small_100", "mobilenetv3_large_100", "convnext_tiny", "vit_tiny_patch16_224")


@contextmanager
def networks() -> Iterator[dict[str, Network | None]]:
    """The networks by name; while it is open, those of transformers lie in a folder."""
    import transformers

    found: dict[str, Network | None] = dict.fromkeys(OURS)
    for name in TIMM:
        head = "attention" if "efficientnet" in name else None
        found[f"timm:{name}"] = Network(model=f"timm:{name}", head=head, front_end=FrontEnd(mels=128))
    with TemporaryDirectory() as folder:
        config = transformers.ASTConfig(num_labels=CLASSES)
        transformers.ASTForAudioClassification(config).save_pretrained(f"{folder}/ast")
        transformers.ASTFeatureExtractor().save_pretrained(f"{folder}/ast")
        config = transformers.WhisperConfig(num_labels=CLASSES)  # the size of openai/whisper-tiny
        transformers.WhisperForAudioClassification(config).save_pretrained(f"{folder}/whisper")
        transformers.WhisperFeatureExtractor().save_pretrained(f"{folder}/whisper")
        for name in ("ast", "whisper"):
            found[f"transformers:{name}"] = Network(model=f"transformers:{folder}/{name}")
        yield found


def seconds(call: Callable[[], Any], device: str, rounds: int) -> float:
    """The fewest seconds that a call takes, after one to warm up."""
    clock = perf_counter if device == "cuda" else process_time
    call()
    taken = []
    for _ in range(rounds):
        begin = clock()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(clock() - begin)
    return min(taken)


def measure(name: str, network: Network | None, glat: bool, batch: int, device: str, rounds: int) -> dict[str, Any]:
    """One row of the table."""
    fast = precision("auto", "gpu" if device == "cuda" else "cpu") == "bf16"
    torch.manual_seed(0)
    model = build(name, CLASSES, 1.0, RATE, GLAT if glat else None, network=network, clip_seconds=SECONDS).to(device)
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)
    waveform = 0.1 * torch.randn(batch, round(SECONDS * RATE), device=device)
    target = torch.zeros(batch, CLASSES, device=device)

    def hear():
        with torch.autocast(device, torch.bfloat16, enabled=fast):
            return model.streams(waveform)

    def step() -> None:
        streams = hear()
        loss = F.binary_cross_entropy(streams.global_, target)
        if streams.local is not None:
            loss = loss + F.binary_cross_entropy(streams.local, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def score() -> None:
        with torch.inference_mode():
            hear()

    use_tf32(fast)
    row = {"network": name, "GL-AT": "yes" if glat else "no", "million parameters": model.parameter_count() / 1e6}
    row |= {"10^9 multiply-adds": multiply_adds(model, SECONDS) / 1e9}
    row |= {"training, s a clip": seconds(step, device, rounds) / batch}
    model.eval()
    return row | {
        "inference, s a clip": seconds(score, device, rounds) / batch,
        "precision": "bf16" if fast else "float32",
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args()
    device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    use_threads(1)
    made_on, rows, name = environment(), [], "backbones_gpu" if device == "cuda" else "backbones"
    with networks() as found:
        for backbone, network in found.items():
            for glat in (False, True):
                print(f"{backbone}{' + GL-AT' if glat else ''} ...", flush=True)
                rows.append(measure(backbone, network, glat, options.batch, device, options.rounds))
                store(name, rows, made_on)  # a run that is cut off leaves what it has
    report(name, rows, made_on)


if __name__ == "__main__":
    main()

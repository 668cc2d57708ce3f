"""`glat tag` on a long recording against the network's own speed on tensors, and against PANNs' own way of inference.

A CNN10 of full width, untrained, with 527 classes. One recording is made of others, joined up to a length, as Opus of 48 kHz
in stereo. In each round, all take turns: the network on batches of noise that are there already; `glat tag`, of clips and of
events; and PANNs' own `panns_inference`, given the same network: the whole file by librosa, then all of it at once, which
gives one score a class for the file. Seconds are of the wall clock and of all threads. Target: at least 0.8 of the network's
own speed, so that decoding, resampling and merging cost less than a fifth.

    uv run --locked --with panns_inference python -m benchmarks.tagging RECORDINGS [--seconds 600] [--rounds 3] [--threads 2]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from glat.lib.errors import GlatError

from .report import environment, report

CLIP, RATE = 10.0, 48000


def join(folder: Path, seconds: float, out: Path) -> None:
    """The recordings of a folder, one behind the other and again, as Opus in stereo."""
    from glat.use.hearing import listen

    parts, length = [], 0
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        parts.append(listen(file, RATE))
        if (length := length + len(parts[-1])) >= seconds * RATE:
            break
    sound = np.resize(np.concatenate(parts), round(seconds * RATE))
    with av.open(str(out), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=RATE, layout="stereo")
        for first in range(0, len(sound), 960):
            frame = av.AudioFrame.from_ndarray(
                np.stack([sound[first : first + 960]] * 2).astype("f4"), "fltp", "stereo"
            )
            frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
            context = stream.codec_context
            resampler = av.AudioResampler(context.format, context.layout, context.rate, context.frame_size or 960)
            for part in resampler.resample(frame):
                container.mux(stream.encode(part))
        container.mux(stream.encode(None))


class Wrapped(torch.nn.Module):
    """A network in the form that panns_inference calls."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def forward(self, sound: torch.Tensor, _: None) -> dict[str, torch.Tensor]:
        scores = self.network.streams(sound).fused
        return {"clipwise_output": scores, "embedding": scores}


def panns_tagger(network: torch.nn.Module, folder: Path) -> Any:
    """A `panns_inference.AudioTagging` of a network, with what it would otherwise fetch: a class list in the home folder, and a
    checkpoint of at least 300 MB."""
    home, os.environ["HOME"] = os.environ.get("HOME", ""), str(folder)
    (folder / "panns_data").mkdir()
    rows = "".join(f'{i},/m/{i},"Class {i}"\n' for i in range(527))
    (folder / "panns_data/class_labels_indices.csv").write_text(f"index,mid,display_name\n{rows}")
    try:
        from panns_inference import AudioTagging
    except ImportError:
        raise GlatError(
            "panns_inference is not installed; uv run --with panns_inference, as the top of this file has it"
        ) from None
    finally:
        os.environ["HOME"] = home
    model = Wrapped(network)
    torch.save({"model": model.state_dict(), "rest": torch.zeros(80_000_000)}, folder / "checkpoint.pth")
    return AudioTagging(model=model, checkpoint_path=str(folder / "checkpoint.pth"), device="cpu")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    made_on = environment()

    import librosa

    import glat.models
    from glat.data.audio.clips import UNLIMITED
    from glat.use.hearing import BATCH, clips, stream
    from glat.use.options import Options, plan
    from glat.use.recording_tags import Events

    torch.set_num_threads(options.threads)
    network = glat.models.build("cnn10", classes=527).eval().to(memory_format=torch.channels_last)
    rate, labels = network.front_end.sample_rate, [str(i) for i in range(527)]
    noise = 0.1 * torch.randn(BATCH["cpu"], round(CLIP * rate))

    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "long.opus"
        join(options.recordings, options.seconds, file)
        count, theirs = round(options.seconds / CLIP), panns_tagger(network, Path(name))

        def alone() -> None:
            for first in range(0, count, len(noise)):
                with torch.inference_mode():
                    network.streams(noise[: count - first])

        def tags() -> None:
            assert len(list(clips(network, stream(file, rate, limits=UNLIMITED), CLIP))) == count

        def events() -> None:
            asked = plan(Options(events=True), CLIP, 527, lambda: None)
            found = Events(asked, CLIP, labels, file)
            for one in clips(network, stream(file, rate, limits=UNLIMITED), CLIP, over_time=True):
                list(found.add(one))
            list(found.end(options.seconds))

        def decoding() -> None:
            for _ in stream(file, rate, limits=UNLIMITED):
                pass

        def panns() -> None:
            sound, _ = librosa.load(file, sr=rate, mono=True)
            theirs.inference(sound[None])

        ways: dict[str, Callable[[], None]] = {
            "network on tensors": alone, "glat tag": tags, "glat tag --events": events, "decoding alone": decoding,
            "panns_inference": panns,
        }  # fmt: skip
        took: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for turn in range(options.rounds + 1):
            for way, run in ways.items():
                began = time.perf_counter(), time.process_time()
                run()
                if turn:  # the first turn warms up
                    took[way].append((time.perf_counter() - began[0], time.process_time() - began[1]))
    wall, processor = ({way: options.seconds / min(t[k] for t in times) for way, times in took.items()} for k in (0, 1))
    report("tagging", [
        {"way": way, "times_real_time": wall[way], "of_the_network": wall[way] / wall["network on tensors"],
         "of_the_network_in_cpu_time": processor[way] / processor["network on tensors"],
         "target": 0.8 if way.startswith("glat") else None}
        for way in ways
    ], made_on)  # fmt: skip


if __name__ == "__main__":
    main()

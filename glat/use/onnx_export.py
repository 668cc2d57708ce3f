"""`glat export --onnx`: the file is checked against the network, and measured where it is of another precision, before it
is there."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.packs.read import Packs
from ..lib.documents import read_json
from ..lib.errors import GlatError, tell, warn
from ..lib.files import whole
from ..lib.layout import METRICS
from ..models.twostream import TwoStream
from ..scoring.metrics import summary
from ..scoring.predict import predict
from ..scoring.predictions import read_predictions
from ..training.checkpoints import Checkpoint
from . import onnx_file
from .hearing import first_clip
from .onnx_file import Agreement, OnnxTagger

TOLERANCE = 1e-4  # of a score, between onnxruntime and PyTorch
SAME = 0.75  # the share of clips whose windows must be the same: those of the others are between equals
MOVE = 0.005  # of mAP, that another precision may cost
NOISES, CLIPS = 4, 4  # that the file is checked on: noises, and clips of packs
BATCH = 8


def write(
    checkpoint: Checkpoint,
    folder: Path,
    out: Path,
    *,
    packs: list[str] | None = None,
    sounds: list[Path] = [],  # noqa: B006 - it is not changed
    precision: str = "float32",
    opset: int = onnx_file.OPSETS[0],
    dynamic: bool = False,
    licence: str = "unknown",
    threads: int = 0,
) -> None:
    """Write a trained network as an ONNX file.

    folder: of the run, for its scores; packs: that it is evaluated on, whose clips are heard where they are there; sounds:
    recordings that the file is checked on, beside noise.

    Raises:
        GlatError: what `onnx_file.translate` raises, a sound that can't be read, or a file that does not answer as the
            network does: nothing is written then.
    """
    import onnx

    tagger, run = checkpoint.tagger, checkpoint.run
    samples = round(run.audio.sample_rate * run.audio.clip_seconds)
    corpus = Packs(packs) if packs and all(Path(pack).exists() for pack in packs) else None
    heard = {"noise": _noise(samples)}
    if corpus is not None:
        heard["the first clips of the evaluation packs"] = torch.from_numpy(corpus.read(range(min(CLIPS, len(corpus)))))
    if sounds:
        rate, seconds = run.audio.sample_rate, run.audio.clip_seconds
        clips = torch.from_numpy(np.stack([first_clip(sound, rate, seconds) for sound in sounds]))
        heard[f"{len(sounds)} recording{'s' * (len(sounds) > 1)}"] = clips
    model = onnx_file.translate(tagger, samples, opset, dynamic=dynamic)
    with TemporaryDirectory() as temporary, whole(out) as part:
        exact = Path(temporary) / "exact.onnx"
        onnx.save(model, exact)
        network = OnnxTagger(exact, threads)
        for what, waveform in heard.items():
            _check(onnx_file.compare(tagger, network, waveform), what)
        if precision != "float32":
            model = onnx_file.reduce(model, precision, Path(temporary))
        onnx_file.describe(model, _facts(checkpoint, precision, licence))
        onnx.save(model, part)
        if precision != "float32":
            _measure(OnnxTagger(part, threads), checkpoint, folder, corpus, precision)
        size = part.stat().st_size
    of = "" if precision == "float32" else "before that, as float32, "
    what = f"{of}the same scores as PyTorch to {TOLERANCE:g} on {' and '.join(heard)}"
    tell(f"{out}: {precision}, opset {opset}, {size / 1e6:.1f} MB; {what}")


def _noise(samples: int) -> Tensor:
    """(B, samples): white noise, half of it louder and louder, so that something begins."""
    noise = 0.1 * torch.randn(NOISES, samples, generator=torch.Generator().manual_seed(1))
    noise[NOISES // 2 :] *= torch.linspace(0, 1, samples)
    return noise


def _check(found: Agreement, what: str) -> None:
    if not found.scores <= TOLERANCE or found.same < SAME * found.clips:
        raise GlatError(
            f"--onnx: on {what}, onnxruntime's scores are up to {found.scores:.2g} from PyTorch's, and the windows of "
            f"{found.same} of {found.clips} clips are the same; not written: try another --opset"
        )


def _facts(checkpoint: Checkpoint, precision: str, licence: str) -> dict[str, Any]:
    """What the file says of itself."""
    run, network = checkpoint.run, checkpoint.tagger.network
    with torch.inference_mode():
        silence = torch.zeros(1, round(run.audio.sample_rate * run.audio.clip_seconds))
        frame = checkpoint.tagger.timeline(silence)[1].frame
    facts: dict[str, Any] = {
        "run": run.name,
        "dataset": run.dataset,
        "backbone": run.backbone,
        "checkpoint": checkpoint.digest,
        "licence": licence,
        "precision": precision,
        "sample_rate": run.audio.sample_rate,
        "clip_seconds": run.audio.clip_seconds,
        "frame_seconds": frame,
        "classes": [one["display_name"] for one in checkpoint.classes],
        "mids": [one["mid"] for one in checkpoint.classes],
    }
    if isinstance(network, TwoStream):
        facts |= {"windows_of_each_length": network.n, "window_seconds": list(network.taus)}
    return facts


def _measure(network: OnnxTagger, checkpoint: Checkpoint, folder: Path, corpus: Packs | None, precision: str) -> None:
    """Tell by how much mAP moves from the run's own. Raises GlatError where that is more than `MOVE`; warns where it can't be
    measured."""
    scored = folder / METRICS
    metrics = read_json(scored, "", "evaluate the run again") if scored.exists() else {}
    if corpus is None or metrics.get("checkpoint") != checkpoint.digest:
        lacking = "its evaluation packs are not there" if corpus is None else "this checkpoint was not evaluated"
        warn(f"warning: --precision {precision}: by how much mAP moves is not measured, since {lacking}")
        return
    known = read_predictions(folder / "predictions.h5")
    places = {name: index for index, name in enumerate(corpus.clips)}
    if not all(name in places for name in known["clip"]):
        raise GlatError(
            f"{folder / 'predictions.h5'}: of other clips than the evaluation packs; evaluate the run again"
        )
    only, how = np.array([places[name] for name in known["clip"]]), metrics["evaluation"]
    scoring: dict[str, Any] = {"device": "cpu", "precision": "float32", "seed": how["seed"], "pool": how["pool"]}
    scorer: Any = network  # it has of a network what is asked of one
    found, _ = predict(scorer, corpus, batch_size=BATCH, only=only, **scoring)
    before, after = (summary(known["target"], one["fused"]).mAP for one in (known, found))
    if not abs(after - before) <= MOVE:
        raise GlatError(
            f"--precision {precision}: mAP on the {len(only)} evaluation clips moves from {before:.4f} to {after:.4f}, by more "
            f"than {MOVE:g}; not written: export float32 or float16"
        )
    tell(f"mAP on the {len(only)} evaluation clips: {after:.4f} in {precision}, {before:.4f} before")

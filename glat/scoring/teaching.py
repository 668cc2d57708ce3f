"""A run's scores of training clips, for other networks to learn from: `training.distillation`, `training.enhanced_labels`."""

from __future__ import annotations

from pathlib import Path

from ..config.settings import Evaluation
from ..config.training import Execution
from ..data.packs.read import Packs
from ..lib import hardware
from ..lib.errors import GlatError
from ..training import checkpoints
from .predict import predict
from .predictions import write_predictions


def teach(
    checkpoint: Path,
    path: Path,
    paths: list[str],
    settings: Evaluation,
    *,
    execution: Execution,
    threads: int | None = None,
) -> None:
    """Score the clips of packs, as a rule those that a checkpoint was trained on, and write the fused scores to `path` in the
    form of predictions.h5.

    Raises:
        GlatError: a checkpoint or pack that can't be read, no packs, or other classes.
    """
    hardware.use_threads(threads)
    tagger, _, classes, *_ = checkpoints.restore(checkpoint)
    if not paths:
        raise GlatError(
            f"{checkpoint}: it was trained elsewhere, so there are no clips of its own to score; add --split"
        )
    packs = Packs(paths)
    if list(packs.classes["mid"]) != [one["mid"] for one in classes]:
        raise GlatError(f"{packs.paths[0]}: its class list is not that of {checkpoint}; pack again")
    accelerator = hardware.accelerator(execution.accelerator)
    found, _ = predict(
        tagger,
        packs,
        batch_size=settings.batch_size,
        device="cuda" if accelerator == "gpu" else "cpu",
        precision=hardware.precision(execution.precision, accelerator),
        seed=settings.seed,
        workers=execution.workers,
        pool=settings.pool,
    )
    write_predictions(path, {"fused": found["fused"]}, packs.clips, packs.labels.dense(), packs.classes)

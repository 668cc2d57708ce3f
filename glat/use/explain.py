"""What a trained network hears in one clip, as a picture and as a page to listen with: log-mel, activations, windows, scores,
true events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..config import experiments
from ..config.params import Params
from ..config.runs import Run, evaluation_packs
from ..config.systems import title
from ..data.packs.read import Packs
from ..data.randomness import Use, clip_generators, generator
from ..lib import hardware
from ..lib.errors import GlatError, warn
from ..lib.escaping import file_name
from ..lib.files import whole
from ..results import clip as pages
from ..scoring.manifest import MANIFEST
from ..scoring.strong import strong_labels
from ..training import checkpoints, convergence
from .drawing import draw
from .hearing import SILENT, first_clip, is_silent
from .listening import clip as listenable
from .one_clip import hear


def explain(
    checkpoint: Path,
    clip: str,
    out: Path,
    *,
    packs: Sequence[str] = (),
    strong: pd.DataFrame | None = None,
    seed: int = 0,
    precision: str = "auto",
) -> pages.Clip:
    """Draw one clip as `<out>.svg` and `<out>.png`, and write it as a page to listen with, `<out>.html`, whose clip is
    returned: a clip of the packs by its name, or an audio file by its path.

    strong: the strong labels of the packs' clips (`corpus`). seed: that of the evaluation, whose random windows these are
    too; a file's are those of a clip of its name. precision: as `execution.precision` has it.

    Raises:
        GlatError: the checkpoint can't be read, or there is no such clip or file.
    """
    tagger, run, classes = checkpoints.load(checkpoint)
    names, truth, weak = [c["display_name"] for c in classes], None, None
    rate = run.audio.sample_rate
    name = name_shown = clip
    if Path(clip).is_file():
        name = Path(clip).stem
        waveform = first_clip(Path(clip), rate, run.audio.clip_seconds)
        if is_silent(waveform):
            warn(f"{clip}: {SILENT}")
    else:
        corpus = Packs(packs)
        found = np.flatnonzero(corpus.clips == clip)
        if not len(found):
            raise GlatError(
                f"{clip}: no audio file, and no clip of the evaluation set; the names are in "
                f"{checkpoint.parent / MANIFEST}, which `glat evaluate` writes"
            )
        if (seconds := corpus.length[found[0]] / rate) > run.audio.clip_seconds:
            name_shown = f"{clip}, the first {run.audio.clip_seconds:g} of {seconds:.1f} s"
        waveform, weak = corpus.read(found)[0], np.flatnonzero(corpus.labels.dense(found[:1])[0]).tolist()
        if strong is not None and (of := strong[strong["clip"] == clip]).size:
            index = {c["mid"]: i for i, c in enumerate(classes)}
            truth = of[of["label"].isin(index)].assign(label=lambda t: t["label"].map(index))[["label", "start", "end"]]
    tagger, precision = tagger.to(memory_format=torch.channels_last), "float32" if run.published else precision
    heard = hear(tagger, waveform, hardware.precision(precision, "cpu"), clip_generators(seed, [name]))
    network = convergence.name(title(run), convergence.found(run, checkpoint.parent))
    shown = Path(name_shown).name.encode("utf-8", "backslashreplace").decode()  # a file's name may be any bytes
    how: dict[str, Any] = {"title": f"{network} ({run.name}): {shown}", "truth": truth, "weak": weak}
    draw(heard, names, out, **how)
    clip_shown = listenable(heard, waveform, rate, names, **how)
    pages.write_page(clip_shown, out.parent / f"{out.name}.html")
    return clip_shown


def corpus(params: Params, run: Run) -> tuple[list[str], pd.DataFrame]:
    """The packs that a run is evaluated on, and the strong labels of its dataset's clips (no row where there are none).

    Raises:
        GlatError: params.yaml no longer has the run's dataset or its fold.
    """
    if run.dataset not in params.datasets:
        raise GlatError(f"dataset {run.dataset!r} is not an entry of datasets in params.yaml")
    return evaluation_packs(params, run), strong_labels(params)


def examples(params: Params, folder: Path) -> None:
    """Draw `report.clips` evaluation clips, taken by lot, with Table 2's GL-AT: `<number>_<clip>.svg`, `.png`,
    `.html`, and `.json`, which the report shows."""
    run = experiments.table2(params)[-1].runs[0]
    packs, strong = corpus(params, run)
    how = {"packs": packs, "strong": strong, "seed": params.evaluation.seed}
    how["precision"] = params.execution_of(run.dataset, run.backbone).precision
    with whole(folder) as part:
        part.mkdir()
        for number, clip in enumerate(draw_lots(packs, params.report.clips, params.evaluation.seed), 1):
            picture = part / file_name(f"{number}_{clip}")
            shown = explain(run.folder / "checkpoint.pt", clip, picture, **how)
            pages.write(shown, picture.parent / f"{picture.name}.json")


def draw_lots(packs: list[str], count: int, seed: int) -> list[str]:
    """Names of `count` clips of the packs, drawn by `seed` and not by what a network makes of them."""
    clips = Packs(packs).clips
    chosen = generator(Use.PICTURES, seed).permutation(len(clips))[:count]
    return [str(clips[i]) for i in chosen]

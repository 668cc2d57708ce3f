"""What a trained network hears in one clip, as a picture: log-mel, activations, windows, scores, true events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from librosa import mel_frequencies
from librosa.display import specshow

from ..config import experiments
from ..config.params import Params
from ..config.runs import evaluation_packs, split_packs
from ..config.systems import title
from ..data.audio.clips import AudioError
from ..data.packs.read import Packs
from ..data.randomness import Use, clip_generators, generator
from ..lib import hardware
from ..lib.errors import GlatError
from ..lib.escaping import file_name
from ..lib.files import whole
from ..models.frontend import LogMel
from ..models.tagger import Tagger
from ..models.twostream import TwoStream
from ..results import text
from ..results.plots import COLOURS, figure, foot
from ..scoring.manifest import MANIFEST
from ..scoring.strong import strong_labels
from ..training import checkpoints, convergence
from .hearing import listen


class Heard(NamedTuple):
    """One clip through one network: arrays on the CPU, times in seconds."""

    logmel: np.ndarray  # (frames, mels) in dB
    hertz: np.ndarray  # (mels,) centres of the bands
    activations: np.ndarray  # (T, L): S_g of the paper
    streams: dict[str, np.ndarray]  # (L,) by stream: global, local, fused
    windows: np.ndarray  # (K,) starts; empty without GL-AT
    classes: np.ndarray  # (K,) the class each window was chosen for, -1 where none
    lengths: np.ndarray  # (K,) of the windows
    seconds: float


def hear(
    tagger: Tagger, waveform: np.ndarray, precision: str = "float32", draw: Sequence[torch.Generator] | None = None
) -> Heard:
    """(samples,) float32 in [-1, 1] at the network's rate -> `Heard`. As evaluated: `precision` "float32" or "bf16", and
    `draw`, the clip's one generator of `randomness.clip_generators`, which random windows come from."""
    seconds = len(waveform) / tagger.front_end.sample_rate
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        logmel = tagger.front_end(torch.from_numpy(waveform)[None])  # (1, 1, frames, mels)
        streams = tagger.from_logmel(logmel, seconds, draw)
        network = tagger.network
        scorer = network if isinstance(network, TwoStream) else tagger.backbones()["global"]
        activations = scorer.frame_scores(tagger.backbones()["global"].features(logmel))[0]  # (T, L)
        pictured = tagger.front_end
        if not isinstance(pictured, LogMel):  # a library's network hears something else: the common log-mel is drawn
            pictured = LogMel(pictured.sample_rate)
            logmel = pictured(torch.from_numpy(waveform)[None])
    glat, scale = streams.local is not None, pictured.mel_scale
    scores = ({"global": streams.global_, "local": streams.local} if glat else {}) | {"fused": streams.fused}
    return Heard(
        logmel=logmel[0, 0].numpy(),
        hertz=mel_frequencies(scale.n_mels + 2, fmin=scale.f_min, fmax=scale.f_max)[1:-1],
        activations=activations.numpy(),
        streams={name: value[0].numpy() for name, value in scores.items()},
        windows=streams.windows[0].numpy() if glat else np.empty(0),
        classes=streams.classes[0].numpy() if glat else np.empty(0, int),
        lengths=np.repeat(network.taus, network.n) if isinstance(network, TwoStream) else np.empty(0),
        seconds=seconds,
    )


def draw(
    heard: Heard,
    names: list[str],
    path: Path,
    *,
    title: str,
    truth: pd.DataFrame | None = None,
    weak: list[int] | None = None,
) -> None:
    """Draw a clip as `<path>.svg` and `<path>.png`.

    Above, the log-mel with the windows as brackets in the colour of the class that each was chosen for; then the
    activations of these classes, the clip's labels and the top ones over time; then, where known, the true events; to the
    right, the streams' scores.
    title: the network's name, with the mark of a half-trained one, and the clip's.
    truth: label (class index), start, end; weak: indices of the clip's labels; None where not known.
    """
    chosen, best = heard.classes[heard.classes >= 0].tolist(), (-heard.streams["fused"]).argsort()[:5].tolist()
    top = list(dict.fromkeys([*chosen, *(weak or []), *best]))[: len(COLOURS)]
    colour = {c: COLOURS[i] for i, c in enumerate(top)}
    rows = [3, 2] + ([1] if truth is not None else [])
    with figure(path, len(rows), 2, (10, 5.8), height_ratios=rows, width_ratios=[3, 1], squeeze=False) as (fig, axes):
        fig.suptitle(title, fontsize=10)
        mel, time = axes[0, 0], list(axes[:, 0])
        times = np.linspace(0, heard.seconds, len(heard.logmel))
        places = {"x_coords": times, "y_coords": heard.hertz, "y_axis": "mel", "ax": mel}
        specshow(heard.logmel.T, cmap="magma", rasterized=True, **places)
        mel.set_ylabel("Hz")
        mel.grid(False)
        for n, (start, length, c) in enumerate(zip(heard.windows, heard.lengths, heard.classes, strict=True)):
            y = 1 - 0.06 * (n + 0.7)  # of the axis's height
            line = {"color": colour.get(int(c), "white"), "lw": 2.5, "ms": 9}
            mel.plot([start, start + length], [y, y], "|-", transform=mel.get_xaxis_transform(), **line)
        frames = heard.activations.shape[0]
        t = (np.arange(frames) + 0.5) * heard.seconds / frames
        for c in top:
            time[1].plot(t, heard.activations[:, c], color=colour[c], lw=1.3)
        time[1].set_ylabel("activation")
        time[1].set_ylim(0, 1.02)
        if truth is not None:
            events = list(truth.itertuples(index=False))
            for y, event in enumerate(events):
                shade = colour.get(event.label, "lightgrey")
                time[2].barh(y, event.end - event.start, left=event.start, color=shade, height=0.8)
            time[2].set_yticks(range(len(events)), [names[event.label] for event in events], fontsize=7)
            time[2].invert_yaxis()
            time[2].set_title("true events", loc="left", fontsize=9)
        for ax in time:
            ax.set_xlim(0, heard.seconds)
        time[-1].set_xlabel("seconds")
        _scores(axes[0, 1], heard, names, top, colour, weak)
        for ax in axes[1:, 1]:
            ax.set_axis_off()
        foot(fig, [text.OPEN_MARKS] if convergence.MARK in title.partition(": ")[0] else [])
        legend = "Brackets: the windows of the local stream." if len(heard.windows) else ""
        legend += "\n* the clip's weak label" if weak is not None else ""
        axes[1, 1].text(0, 0.1, legend, va="bottom", fontsize=8)


def _scores(
    ax: Any, heard: Heard, names: list[str], top: list[int], colour: dict[int, str], weak: list[int] | None
) -> None:
    marks = {"global": "o", "local": "s", "fused": "|"}
    for y, c in enumerate(top):
        for stream, values in heard.streams.items():
            size, label = 11 if stream == "fused" else 5, stream if y == 0 else None
            ax.plot(values[c], y, marks[stream], color=colour[c], ms=size, label=label)
    ax.set_yticks(range(len(top)), [names[c] + (" *" if weak and c in weak else "") for c in top], fontsize=7)
    ax.invert_yaxis()
    ax.set_xlim(-0.02, 1.02)
    ax.set_xlabel("score")
    ax.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)


def explain(
    checkpoint: Path,
    clip: str,
    out: Path,
    *,
    packs: Sequence[str] = (),
    strong: pd.DataFrame | None = None,
    seed: int = 0,
    precision: str = "auto",
) -> None:
    """Draw one clip as `<out>.svg` and `<out>.png`: a clip of the packs by its name, or an audio file by its path.

    strong: the strong labels of the packs' clips (`corpus`). seed: that of the evaluation, whose random windows these are
    too; a file's are those of a clip of its name. precision: as `execution.precision` has it.

    Raises:
        GlatError: the checkpoint can't be read, or there is no such clip or file.
    """
    tagger, run, classes = checkpoints.load(checkpoint)
    names, truth, weak = [c["display_name"] for c in classes], None, None
    rate, length = run.audio.sample_rate, round(run.audio.sample_rate * run.audio.clip_seconds)
    name = name_shown = clip
    if Path(clip).is_file():
        name = Path(clip).stem
        try:
            waveform = listen(Path(clip), rate, run.audio.clip_seconds)[:length]
        except AudioError as error:
            raise GlatError(f"{clip}: {error}") from None
        waveform = np.pad(waveform, (0, length - len(waveform))).astype(np.float32)
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
    draw(heard, names, out, title=f"{network} ({run.name}): {shown}", truth=truth, weak=weak)


def corpus(params: Params) -> tuple[list[str], pd.DataFrame]:
    """The evaluation packs of the chosen dataset, and the strong labels of its clips (no row where there are none)."""
    return split_packs(params, params.dataset, params.corpus.evaluation_splits()), strong_labels(params)


def examples(params: Params, folder: Path) -> None:
    """Draw `report.clips` evaluation clips, taken by lot, with Table 2's GL-AT: `<number>_<clip>.svg` and `.png`."""
    run = experiments.table2(params)[-1].runs[0]
    packs, strong = evaluation_packs(params, run), strong_labels(params)
    how = {"packs": packs, "strong": strong, "seed": params.evaluation.seed}
    how["precision"] = params.execution_of(run.dataset, run.backbone).precision
    with whole(folder) as part:
        part.mkdir()
        for number, clip in enumerate(draw_lots(packs, params.report.clips, params.evaluation.seed), 1):
            picture = part / file_name(f"{number}_{clip}")
            explain(run.folder / "checkpoint.pt", clip, picture, **how)


def draw_lots(packs: list[str], count: int, seed: int) -> list[str]:
    """Names of `count` clips of the packs, drawn by `seed` and not by what a network makes of them."""
    clips = Packs(packs).clips
    chosen = generator(Use.PICTURES, seed).permutation(len(clips))[:count]
    return [str(clips[i]) for i in chosen]

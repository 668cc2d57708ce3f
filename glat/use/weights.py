"""Weights that PANNs published (Kong et al., IEEE/ACM TASLP 2020), as runs of this project.

They were trained elsewhere on AudioSet, so what they score here says whether the packed evaluation clips are what they
should be: decoded, resampled, scaled and labelled as the weights expect.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ..config.params import Params
from ..config.runs import Run, read_run, split_packs, write_run
from ..config.settings import Weights
from ..config.training import Training
from ..lib import layout
from ..lib.addresses import LIMITS, Limits, is_address
from ..lib.documents import sentence
from ..lib.errors import GlatError, tell
from ..lib.fetching import check_file, fetch_file, hash_file
from ..lib.files import remove

if TYPE_CHECKING:
    from ..models.tagger import Tagger

# SHA-256 of AudioSet's class ids, one a line, in the order of class_labels_indices.csv, which is that of the outputs.
CLASSES = "fbd94e8a38594c56e778359b1bf3c59f4c669023df8780e7a234d87b93f6e463"
CLASS_COUNT, SAMPLE_RATE = 527, 32000
STEPS = 600_000  # PANNs' own training, as their paper tells it


def obtain(weights: Weights, limits: Limits = LIMITS) -> Path:
    """The file of weights with the right checksums: where it is there it is not fetched again.

    Raises:
        GlatError: no such file, an address that does not answer, or another checksum.
    """
    path, fetched = weights.path, is_address(weights.file)
    if fetched and not path.is_file():
        fetch_file(weights.file, path, weights.sha256, weights.md5, limits, "weights.*.file")
        return path
    if not path.is_file():
        raise GlatError(f"{path}: no such file of weights; give the path or the address of PANNs' checkpoint")
    try:
        check_file(path, weights.sha256, weights.md5)
    except GlatError as error:
        raise GlatError(f"{error}{'; remove it to fetch it anew' if fetched else ''}") from None
    return path


def obtain_class_list(weights: Weights, backbone: str, limits: Limits = LIMITS) -> Path:
    """The class list of weights, read once: where it is there it is not fetched again.

    Raises:
        GlatError: none is named, no such file, an address that does not answer, or a file that is no class list.
    """
    from ..data.lists.audioset import read_class_list

    path, setting = weights.class_list, f"weights.{backbone}.classes"
    if weights.classes is None or path is None:
        raise GlatError(f"{setting}: params.yaml names no class list; give its path or address")
    fetched = is_address(weights.classes)
    if fetched and not path.is_file():
        fetch_file(weights.classes, path, limits=limits, setting=setting)
    if not path.is_file():
        raise GlatError(f"{path}: no such class list; give its path or address ({setting})")
    try:
        read_class_list(path)
    except GlatError as error:
        if fetched:
            remove(path)  # a step that fails leaves nothing
        raise GlatError(f"{error}{f'; it came from {weights.classes}' if fetched else ''} ({setting})") from None
    return path


def requested_weights(
    params: Params, backbone: str, *, file: str | None = None, md5: str | None = None, sha256: str | None = None
) -> Weights:
    """The weights of params.yaml, or those that a person names instead, whose checksums they then give too.

    Raises:
        GlatError: none is named, or a checksum that is none.
    """
    known = params.weights.get(backbone)
    if file is None and known is None:
        raise GlatError(f"weights.{backbone}: params.yaml names no weights; give a path or an address")
    given = {"md5": md5, "sha256": sha256}
    settings = {"file": file} | given if file else known.model_dump() | {k: v for k, v in given.items() if v}
    try:
        return Weights.model_validate(settings)
    except ValidationError as error:
        raise GlatError(sentence(error, "--")) from None


def describe_file(path: Path, known: Weights | None) -> str:
    """A file's hashes, and whether it is the one that params.yaml knows."""
    md5, sha256 = hash_file(path, "md5"), hash_file(path)
    same = known and (md5 == (known.md5 or "").lower() or sha256 == (known.sha256 or "").lower())
    return f"SHA-256 {sha256}, MD5 {md5}" + (", as published" if same else ", not a file that params.yaml knows")


def evaluate(params: Params, run: Run, threads: int | None = None) -> None:
    """Score a converted run on the evaluation packs, unless that was done: with these settings, packs and list of clips.

    Raises:
        GlatError: what `glat.scoring.evaluation.evaluate` raises.
    """
    packs = split_packs(params, run.dataset, params.corpus.evaluation_splits())
    metrics, only = run.folder / "metrics.json", params.evaluation.only
    made_from = [run.folder / "checkpoint.pt", *map(Path, packs), *([Path(only)] if only else [])]
    newest = max((path.stat().st_mtime for path in made_from if path.exists()), default=0)
    if metrics.exists() and newest <= metrics.stat().st_mtime and _scored_with(metrics, params):
        tell(f"{metrics}: scored before with these settings; remove it to score again")
        return
    from ..scoring import evaluation  # imports torch

    checkpoint, execution = run.folder / "checkpoint.pt", params.execution_of(run.dataset, run.backbone)
    evaluation.evaluate(checkpoint, packs, params.evaluation, run.folder, execution=execution, threads=threads)


def _scored_with(metrics: Path, params: Params) -> bool:
    try:
        return json.loads(metrics.read_text())["evaluation"] == params.evaluation.model_dump()
    except (OSError, ValueError, LookupError, TypeError):
        return False


def run_of(params: Params, backbone: str, file: Path) -> Run:
    """PANNs' weights as a run, `<backbone>-panns`: the published network, and the training that it had elsewhere."""
    init: dict[Any, str | None] = {"global": str(file), "local": None}
    name = layout.published_run(backbone)
    return published_run(
        params, backbone, name, hop=320, classes=CLASS_COUNT, init=init, training=Training(steps=STEPS)
    )


def published_run(params: Params, backbone: str, name: str, **settings: Any) -> Run:
    """Weights that were trained elsewhere as a run with these settings, without training packs (`Run.published`)."""
    how = {"width": 1.0, "dropout": 1.0, "seed": 0, "glat": None, "audio": params.audio.waveform, "packs": []}
    return Run(dataset=params.dataset, name=name, backbone=backbone, **(how | settings))


def write(run: Run, classes: list[dict[str, str]], made_from: str, network: Callable[[], Tagger]) -> None:
    """Write config.yaml and checkpoint.pt of a run of published weights. made_from: what tells these weights from others; a
    checkpoint that an earlier call made of the same is kept, and `network` is not called."""
    from ..training import checkpoints  # imports torch

    done, config = run.folder / layout.CHECKPOINT, run.folder / "config.yaml"
    if not checkpoints.is_made_from(done, run, classes, made_from):
        tagger = network().eval()
        remove(run.folder / "metrics.json")  # of other weights
        checkpoints.save(tagger, run, classes, run.training.steps, done, fingerprint=made_from)
    if not config.exists() or read_run(config) != run:
        write_run(run, config)


def convert(params: Params, backbone: str, file: Path) -> Run:
    """Write config.yaml and checkpoint.pt of a run from a PANNs checkpoint, which is loaded strictly and never unpickled.

    What an earlier call made of the same file is kept.

    Raises:
        GlatError: a dataset whose classes or rate are not those of the weights, packs that are not there, or a file
            that is no PANNs checkpoint of this backbone.
    """
    from ..training import checkpoints  # imports torch

    classes = classes_of(params)
    run = run_of(params, backbone, file)

    def network() -> Tagger:
        if "glat" in checkpoints.read(file):
            raise GlatError(f"{file}: a checkpoint of this project, not of PANNs; `glat evaluate` scores it")
        return checkpoints.build(run, classes)

    write(run, classes, f"sha256:{hash_file(file)}", network)
    return run


def classes_of(params: Params) -> list[dict[str, str]]:
    """`mid` and `display_name` of the packed classes in order, where they are those of the weights' outputs.

    Raises:
        GlatError: packs that are not there, other classes, another order, or another rate.
    """
    from ..data.packs.read import Packs  # imports torch

    if params.audio.sample_rate != SAMPLE_RATE:
        raise GlatError(f"audio.sample_rate: {params.audio.sample_rate}, but PANNs' weights hear {SAMPLE_RATE} Hz")
    packs = split_packs(params, params.dataset, params.corpus.evaluation_splits())
    classes = Packs(packs[:1]).classes
    if len(classes) != CLASS_COUNT:
        raise GlatError(
            f"{packs[0]}: {len(classes)} classes, but PANNs' weights know AudioSet's {CLASS_COUNT}; choose a dataset of "
            "AudioSet, as in --set dataset=audioset_balanced"
        )
    if hashlib.sha256("\n".join(classes["mid"]).encode()).hexdigest() != CLASSES:
        raise GlatError(
            f"{packs[0]}: its classes are not AudioSet's in the order of class_labels_indices.csv, which is that of PANNs' "
            "outputs; make the metadata from Google's list and pack again"
        )
    return classes[["mid", "display_name"]].to_dict("records")

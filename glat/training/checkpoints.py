"""A finished training as a file, and networks back from it. No file is ever unpickled: only tensors and plain values load."""

from __future__ import annotations

import hashlib
import io
import pickle
import reprlib
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ..config.runs import Run, missing_hint, parse_run
from ..lib.errors import DAMAGED, GlatError, brief, refusal, tell
from ..lib.files import whole
from ..lib.hardware import first_process
from ..models.backbone import Backbone
from ..models.checkpoints import load_panns
from ..models.factory import build as build_network
from ..models.frontend import LogMel
from ..models.library import LibraryBackbone
from ..models.tagger import Tagger
from . import checks
from .transfer import backbone_of, listed_classes, transfer

VERSION = 1


class Checkpoint(NamedTuple):
    """A finished training, as `restore` reads it."""

    tagger: Tagger  # in evaluation mode
    run: Run
    classes: list[dict[str, str]]  # `mid` and `display_name` of each, in order
    trained: dict[str, Any] | None  # what trained it, and how (`save`)
    digest: str  # of the file: `glat.lib.files.digest`
    selected: dict[str, int | float] | None  # which network of its training it is (`training.best`); None: the last


def build(run: Run, classes: list[dict[str, str]] | None = None) -> Tagger:
    """The untrained network of a run, started from the weights that `run.init` names.

    With `classes` (`mid` and `display_name` of each, in order), those of weights of other classes are taken over by mid.
    """
    try:
        tagger = untrained(run)
    except ValueError as error:
        raise GlatError(f"run {run.name}: {error}") from None
    new: dict[str, list[str]] = {}  # by stream, the classes that its weights don't know
    if run.network and run.network.pretrained:
        new = _load_published(tagger, run, classes)
    sources = {stream: stream for stream, path in run.init.items() if path}
    frozen = bool(run.glat and run.glat.training == "frozen_global")
    if frozen and "global" in sources:
        sources.setdefault("local", "global")  # both start from the same weights (released code)
    for stream, backbone in tagger.backbones().items():
        if stream not in sources:
            continue
        new[stream] = initialise(backbone, tagger, run, sources[stream], classes)
    for stream, lacking in new.items():
        if lacking and run.published:
            what = f"its published weights do not know {len(lacking)} of the {run.classes} classes, {lacking[0]!r} the first"
            raise GlatError(f"{run.backbone}: {what}; train it, or choose a dataset of its own classes")
        if lacking and (stream in run.frozen_streams or run.untrained):
            of = (
                f"{run.init[stream]}: init.{stream}" if run.init[stream] else f"run {run.name}: networks.{run.backbone}"
            )
            what = f"not trained on {len(lacking)} of the {run.classes} classes, {lacking[0]!r} the first"
            end = "take it out of training.freeze" if stream in run.training.freeze else "set glat.training: joint"
            raise GlatError(f"{of}: {what}, which a frozen {stream} stream would never learn; {end}")
    return tagger


def _load_published(tagger: Tagger, run: Run, classes: list[dict[str, str]] | None) -> dict[str, list[str]]:
    """Load a library's published weights into the streams. Returns, by stream, the classes that are new to them."""
    found: dict[str, list[str]] = {}
    names = [one["display_name"] for one in classes] if classes else None
    for stream, backbone in tagger.backbones().items():
        if not isinstance(backbone, LibraryBackbone):
            raise GlatError(f"run {run.name}: pretrained: {run.backbone} is no library's; name its weights in init")
        if stream == "local" and backbone is tagger.backbones()["global"]:
            continue
        try:
            found[stream] = new = backbone.load_pretrained(names)
        except ValueError as error:
            raise GlatError(f"run {run.name}: {error}") from None
        if first_process():
            what = f"{len(new)} of {run.classes} classes are new to its classifier" if new else "with its classifier"
            tell(f"{run.folder}: {stream} stream: weights of {run.backbone}, {what}")
    return found


def untrained(run: Run) -> Tagger:
    """The network of a run with random weights."""
    glat, front_end = run.glat.model_dump() if run.glat else None, {"hop": run.hop}
    audio = run.audio
    how: dict[str, Any] = {"front_end": front_end, "network": run.network, "clip_seconds": audio.clip_seconds}
    return build_network(run.backbone, run.classes, run.width, audio.sample_rate, glat, run.dropout, **how)


def initialise(
    backbone: Backbone, tagger: Tagger, run: Run, stream: str, classes: list[dict[str, str]] | None = None
) -> list[str]:
    """Load a backbone from the weights that `run.init` names for a stream: a PANNs checkpoint, or one of ours (that stream
    of it, or its only one). Returns the names of those of `classes` that the weights don't know, whose part of the
    classifier stays as it is.

    Raises:
        GlatError: the file or the class list beside it can't be read, or it holds another network.
    """
    path = Path(run.init[stream] or "")
    content = read(path)
    try:
        if "glat" not in content:
            weights, known = checks.tensors(content.get("model", content)), listed_classes(run, stream)
            front_end = tagger.front_end if isinstance(tagger.front_end, LogMel) else None
            put = partial(load_panns, backbone, front_end=front_end)
        else:
            other, _, known = load(path)
            checks.check_front_end(tagger.front_end, other.front_end)
            streams = other.backbones()
            weights, put = streams.get(stream, streams["global"]).state_dict(), partial(_load, backbone)
        return transfer(run, stream, backbone, weights, known, classes, put)
    except ValueError as error:
        raise GlatError(f"{path}: init.{stream}: {error}") from None


def read(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint file, without executing pickled code."""
    return _read(path)[0]


def _read(path: str | Path) -> tuple[dict[str, Any], bytes]:
    """That content, and the file's bytes."""
    try:
        data = Path(path).read_bytes()
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise GlatError(f"{path}: no such checkpoint{missing_hint(path)}") from None
    except pickle.UnpicklingError:
        what = "holds more than tensors and plain values, or is no checkpoint"
        raise GlatError(f"{path}: {what}; it was not loaded") from None
    except DAMAGED as error:
        message = refusal(error) or "truncated or not a checkpoint; train or download it again"
        raise GlatError(f"{path}: {message}") from None
    if not isinstance(content, dict):
        raise GlatError(f"{path}: not a checkpoint of weights")
    return content, data


def save(
    tagger: Tagger,
    run: Run,
    classes: list[dict[str, str]],
    step: int,
    path: str | Path,
    *,
    fingerprint: str = "",
    trained: dict[str, Any] | None = None,
    selected: dict[str, int | float] | None = None,
) -> None:
    """Write a trained network with its run and its class list (`mid` and `display_name` of each, in order).

    `fingerprint` says what it was made from (`resume.fingerprint`), `trained` by what (`provenance.maker`) and how (its
    `execution`); None: it was not trained here. `selected`: which network it is, of step `step` (`best.Best.take`); None: the
    last.
    """
    content = {
        "glat": VERSION,
        "run": run.model_dump(by_alias=True),
        "classes": classes,
        "step": step,
        "fingerprint": fingerprint,
        "trained": trained,
        "selected": selected,
        "model": {k: v.contiguous() for k, v in tagger.state_dict().items()},
    }
    with whole(path, durable=True) as part:
        torch.save(content, part)


def is_made_from(path: Path, run: Run, classes: list[dict[str, str]], fingerprint: str) -> bool:
    """Whether a checkpoint is there that `save` wrote with these. A damaged one is not."""
    if not path.exists():
        return False
    try:
        content = read(path)
    except GlatError:
        return False
    wanted = {"fingerprint": fingerprint, "run": run.model_dump(by_alias=True), "classes": classes}
    return all(content.get(key) == value for key, value in wanted.items())


def load(path: str | Path) -> tuple[Tagger, Run, list[dict[str, str]]]:
    """A trained network in evaluation mode, the run that made it, and its classes. Raises GlatError as `restore` does."""
    return restore(path)[:3]


def restore(path: str | Path) -> Checkpoint:
    """All of a checkpoint file, read once. Where it was trained does not matter: it is on the CPU.

    Raises:
        GlatError: no checkpoint of this project, of another version, or of another network than it says.
    """
    content, data = _read(path)
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    return rebuild(content, path, digest)


def rebuild(content: dict[str, Any], path: str | Path, digest: str) -> Checkpoint:
    """A finished training from what was read from a file or folder `path`. Raises GlatError as `restore` does."""
    _check(content, path)
    try:
        run = parse_run(content["run"], "run.")
        weights = checks.tensors(content["model"])
        _check_size(run, weights)
        checks.check_finite(weights)
        tagger = untrained(run)
        kept = {key.removeprefix("front_end."): weight for key, weight in weights.items()}
        checks.check_window(tagger.front_end, kept, "this version of glat")
        _load(tagger, weights)
        checks.check_classes(content["classes"], run.classes)
        checks.check_selected(content.get("selected"))
    except ValueError as error:
        raise GlatError(f"{path}: {error}") from None
    except (ArithmeticError, MemoryError, RuntimeError, TypeError) as error:
        raise GlatError(f"{path}: its run is of a network that cannot be made: {brief(error, 100)}") from None
    return Checkpoint(tagger.eval(), run, content["classes"], content.get("trained"), digest, content.get("selected"))


def _check(content: dict[str, Any], path: str | Path) -> None:
    version = content.get("glat")
    if not isinstance(version, int) or version != VERSION:
        found = f"checkpoint version {reprlib.repr(version)}, expected {VERSION}"
        raise GlatError(f"{path}: {found}; evaluate it with the glat that made it")
    if lacking := [key for key in ("run", "classes", "model") if key not in content]:
        raise GlatError(f"{path}: not a whole checkpoint: it lacks {', '.join(lacking)}")


def _check_size(run: Run, weights: dict[str, torch.Tensor]) -> None:
    """Raise ValueError unless weights fit the run's backbone, of which nothing is allocated: a file may claim any width."""
    prefix = "network.global_stream." if run.glat else "network."
    with torch.device("meta"):
        own = backbone_of(run, run.classes).state_dict(prefix=prefix)
    checks.check_shapes(own, {key: weight for key, weight in weights.items() if key.startswith(prefix)})


def _load(module: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    checks.check_shapes(module.state_dict(), weights)
    module.load_state_dict(weights)

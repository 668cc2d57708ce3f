"""A trained run as a folder in the form of the Hugging Face Hub: weights as safetensors, settings as JSON, a model card; and
back, from a folder here or from the Hub. No file of it is ever unpickled."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..config.runs import Run
from ..lib.addresses import LIMITS
from ..lib.documents import LONGEST, read_json
from ..lib.errors import GlatError, brief, tell
from ..lib.files import whole
from ..lib.hub import COMMIT, TIMEOUT
from ..lib.layout import CHECKPOINT, HUB_CONFIG as CONFIG
from ..models.registry import LIBRARIES
from ..training import checkpoints, convergence
from ..training.checkpoints import VERSION, Checkpoint
from .card import THRESHOLDS, card, evaluation

WEIGHTS, CARD = "model.safetensors", "README.md"
FETCHED = (CONFIG, WEIGHTS, THRESHOLDS)
WRITTEN = {*FETCHED, CARD}
ELSEWHERE = "packs of another machine"
PICKLES = {".bin", ".ckpt", ".dill", ".joblib", ".pickle", ".pkl", ".pt", ".pth"}
NAME = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@([\w][\w./-]{0,99}))?", re.ASCII)


def check_place(folder: Path) -> None:
    """Raise GlatError for a place where something lies that an export did not write: it would be replaced."""
    if folder.resolve() == Path.cwd():
        raise GlatError(f"--hub {folder}: the folder that you are in would be replaced; give a new folder")
    if folder.exists() and not folder.is_dir():
        raise GlatError(f"--hub {folder}: a file, not a folder; give another place")
    others = sorted(one.name for one in folder.iterdir() if one.name not in WRITTEN) if folder.is_dir() else []
    if others:
        raise GlatError(f"--hub {folder}: it holds {others[0]}, which no export wrote; give a new folder")


def write(checkpoint: Checkpoint, run_folder: Path, folder: Path, licence: str) -> None:
    """Write the folder from a checkpoint and from what lies beside it: metrics.json, per_class.csv, thresholds.json.

    Raises:
        GlatError: a place that is taken, a network whose code the folder would not hold, or damaged files of the run.
    """
    check_place(folder)
    run = checkpoint.run
    if run.network and not run.network.library:
        raise GlatError(
            f"--hub: {run.network.model} is code of your own, which the folder would not hold; publish {run.name} as ONNX"
        )
    thresholds, metrics = run_folder / THRESHOLDS, evaluation(checkpoint, run_folder)
    settings = {
        "glat": VERSION,
        "run": _public(run).model_dump(by_alias=True),
        "classes": checkpoint.classes,
        "seed": metrics["evaluation"]["seed"] if metrics else 0,
        "selected": checkpoint.selected,
        "checkpoint": checkpoint.digest,
        "convergence": convergence.found(run, run_folder),
    }
    # Weights that both streams share are two tensors here: a reader looks for both.
    weights = {key: weight.detach().clone().contiguous() for key, weight in checkpoint.tagger.state_dict().items()}
    with whole(folder) as part:
        part.mkdir()
        (part / CONFIG).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        save_file(weights, part / WEIGHTS, metadata={"format": "pt"})
        shutil.copymode(part / CONFIG, part / WEIGHTS)  # written for its owner alone
        if thresholds.exists():
            found = read_json(thresholds, "", f"`glat calibrate {run_folder}` makes it")
            if found.get("checkpoint") != checkpoint.digest:
                raise GlatError(f"{thresholds}: of another network; `glat calibrate {run_folder}` makes it anew")
            (part / THRESHOLDS).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (part / CARD).write_text(card(checkpoint, metrics, run_folder, licence), encoding="utf-8")
    tell(f"{folder}: `hf upload OWNER/NAME {folder}` publishes it")


def _public(run: Run) -> Run:
    """A run without the paths of the machine that it was trained on."""
    packs = [ELSEWHERE] if run.packs else []  # without any, it would be one that was published without its training
    update: dict[str, Any] = {
        "packs": packs,
        "validation_packs": [],
        "init": dict.fromkeys(run.init),
        "init_classes": {},
    }
    update["training"] = run.training.model_copy(update=dict.fromkeys(run.training.teachers))
    if run.network and Path(run.network.source).expanduser().is_dir():
        name = f"{run.network.library}:{Path(run.network.source).name}"
        update |= {"network": run.network.model_copy(update={"model": name})}
        update |= {"backbone": name} if ":" in run.backbone else {}
    return run.model_copy(update=update)


def find(name: str | Path) -> Path | None:
    """The folder that a name is of: one of this form here, or the snapshot of OWNER/NAME[@REVISION] on the Hub, where
    nothing here has this name. None: neither.

    Raises:
        GlatError: the Hub has no such model, or can't be reached.
    """
    path = Path(name)
    path = path if path.name != CHECKPOINT or path.exists() else path.parent  # as the commands name a folder's
    if path.is_dir():
        return path if (path / CONFIG).is_file() or (path / WEIGHTS).is_file() else None
    found = NAME.fullmatch(str(name))
    if found is None or path.exists() or path.suffix in PICKLES or path.parent.is_dir():  # a path with a slip in it
        return None
    return _fetch(found[1], found[2])


def load(folder: Path) -> tuple[Checkpoint, int]:
    """The network of a folder of this form, and the seed of its random windows.

    Raises:
        GlatError: a pickle in it, or what can't be read as such a folder.
    """
    check_names(sorted(str(one.relative_to(folder)) for one in folder.rglob("*")), str(folder))
    path = folder / CONFIG
    if path.is_file() and path.stat().st_size > LONGEST:
        raise GlatError(f"{path}: longer than settings are")
    settings = read_json(path, "it says what the weights are of", "export or fetch the folder again")
    if not isinstance(settings.get("glat"), int):
        raise GlatError(f"{path}: no model of glat; `glat export RUN --hub FOLDER` makes such a folder")
    network = settings["run"].get("network") if isinstance(settings.get("run"), dict) else None
    if network and str(network.get("model") if isinstance(network, dict) else "").partition(":")[0] not in LIBRARIES:
        raise GlatError(f"{path}: its network is code that the folder does not hold; get the run from its author")
    try:
        weights = load_file(folder / WEIGHTS)
    except FileNotFoundError:
        raise GlatError(f"{folder / WEIGHTS}: no such file; export or fetch the folder again") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise GlatError(f"{folder / WEIGHTS}: damaged ({brief(error)}); export or fetch it again") from None
    seed = settings.get("seed")
    found = checkpoints.rebuild(settings | {"model": weights}, folder, str(settings.get("checkpoint")))
    return found, seed if isinstance(seed, int) else 0


def check_names(names: list[str], where: str) -> None:
    """Raise GlatError if one of these files may be a pickle."""
    if bad := [name for name in names if PICKLES & set(Path(name.lower()).suffixes)]:
        raise GlatError(
            f"{where}: {bad[0]} may be a pickle, which runs code when it is loaded; nothing of it was loaded: take it out, or "
            "ask for a folder of safetensors alone"
        )


def _fetch(repository: str, revision: str | None) -> Path:
    """The snapshot of a model on the Hub, in the library's cache."""
    from huggingface_hub import HfApi, constants, errors, hf_hub_download, snapshot_download

    where = f"no run and no folder here, and at {constants.ENDPOINT}"
    try:
        found = HfApi().model_info(repository, revision=revision, files_metadata=True, timeout=TIMEOUT)
        sizes = {one.rfilename: one.size or 0 for one in found.siblings or ()}
        check_names(sorted(sizes), repository)
        if CONFIG not in sizes or WEIGHTS not in sizes or not COMMIT.fullmatch(found.sha or ""):
            raise GlatError(f"{repository}: no model of glat: it lacks {CONFIG} or {WEIGHTS}")
        if max(sizes[name] for name in FETCHED if name in sizes) > 1e9 * LIMITS.max_gigabytes:
            raise GlatError(f"{repository}: larger than the {LIMITS.max_gigabytes:g} GB that a model may have")
        names = [name for name in FETCHED if name in sizes]
        # By the name of the revision, not by its commit: so the cache knows it without a network.
        (snapshot, *others) = {Path(hf_hub_download(repository, name, revision=revision)).parent for name in names}
        if others:
            raise GlatError(f"{repository}: it changed while it was fetched; run again")
        return snapshot
    except errors.HFValidationError as error:
        told = f"no name of a model ({brief(error)})"
    except errors.RevisionNotFoundError:
        told = f"the model has no revision {revision}"
    except errors.RepositoryNotFoundError:  # a gated one, too
        told = "no such model, or a private one, for which `hf auth login` logs in"
    except errors.HfHubHTTPError as error:
        told = f"HTTP {error.response.status_code}; try again later"
    except (errors.OfflineModeIsEnabled, errors.HTTPError, OSError) as error:
        try:
            kept = snapshot_download(repository, revision=revision, allow_patterns=list(FETCHED), local_files_only=True)
            return Path(str(kept))
        except (errors.LocalEntryNotFoundError, OSError):
            told = f"nothing was fetched before, and it can't be reached ({brief(error) or type(error).__name__})"
    raise GlatError(f"{repository}: {where}: {told}")

"""What a network of transformers is built by: the configurations in its folder, or on the hub. Nothing here imports torch."""

from __future__ import annotations

import json
import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..lib.errors import brief

if TYPE_CHECKING:
    from ..config.network import Network

FILES = {"config": "config.json", "extractor": "preprocessor_config.json"}
LAYERS = 1000  # more has no network
SECONDS = 20  # for the hub's answer


def place(source: str) -> tuple[str, str | None]:
    """A folder, or a name on the hub, and its revision."""
    name, _, revision = source.partition("@")
    folder = Path(source).expanduser()
    return (str(folder), None) if folder.is_dir() else (name, revision or None)


def read(source: str) -> dict[str, Any]:
    """The configurations of a folder, or of OWNER/NAME[@REVISION] on the hub, by what they are of.

    Raises:
        ValueError: they can't be had, or are none.
    """
    folder = Path(source).expanduser()
    found = {}
    for key, name in FILES.items():
        path = folder / name if folder.is_dir() else _fetched(source, name)
        try:
            found[key] = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ValueError(f"{path}: no such file; is it a folder that transformers saved?") from None
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: can't be read as JSON ({type(error).__name__})") from None
        if not isinstance(found[key], dict):
            raise ValueError(f"{path}: not a configuration")
    # Some of Whisper's have their filter bank in it, 16 000 numbers.
    found["extractor"] = {key: value for key, value in found["extractor"].items() if not isinstance(value, list | dict)}
    check_size(found["config"], source)
    return found


def check_size(config: dict[str, Any], source: str) -> None:
    """Raise ValueError for a configuration with more layers than any network has: they would be made before their weights
    are looked at."""
    for key in ("num_hidden_layers", "encoder_layers"):
        if key in config and (not isinstance(config[key], int) or not 0 < config[key] <= LAYERS):
            raise ValueError(f"{source}: {key} is {config[key]!r}, and not 1 to {LAYERS}")


@cache
def on_hub(repository: str, revision: str | None) -> bool:
    """Whether the hub has a repository; False where the hub cannot be reached, and only what was fetched before can be had. It
    is asked once: the library asks for each file, and goes on asking for half a minute.

    Raises:
        ValueError: it has none of this name and revision, or shows it to nobody without a login.
    """
    from huggingface_hub import HfApi, constants, errors

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it would tell of each further try
    try:
        HfApi().model_info(repository, revision=revision, timeout=SECONDS)
    except errors.HFValidationError:
        raise ValueError(f"{repository}: no such folder, and no name on the hub (OWNER/NAME)") from None
    except errors.RevisionNotFoundError:
        raise ValueError(f"{repository}: the hub has no revision {revision} of it") from None
    except errors.RepositoryNotFoundError:  # a gated one, too
        login = "a private one, for which `hf auth login` logs in"
        raise ValueError(
            f"{repository}: no such folder, and {constants.ENDPOINT} has no such model, or {login}"
        ) from None
    except (errors.OfflineModeIsEnabled, errors.HTTPError, OSError):
        return False
    return True


def unreachable(source: str, name: str) -> ValueError:
    """What to say where `on_hub` is False, and nothing was fetched before."""
    from huggingface_hub import constants

    why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{constants.ENDPOINT} cannot be reached"
    return ValueError(
        f"{source}: no such folder, {why}, and its {name} was not fetched before; give a folder, or connect"
    )


def _fetched(source: str, name: str) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository, revision = place(source)
    there = on_hub(repository, revision)
    try:
        return hf_hub_download(repository, name, revision=revision, etag_timeout=SECONDS, local_files_only=not there)
    except LocalEntryNotFoundError:
        raise unreachable(source, name) from None
    except (HfHubHTTPError, OSError) as error:
        raise ValueError(f"{source}: the hub gives no {name} of it: {brief(error, 160)}") from None


def weights(network: Network | None) -> list[str]:
    """The files of weights that a pretrained network of a folder starts from. Those of the hub and of timm are fetched by
    name, and none of ours."""
    if network is None or network.library != "transformers" or not network.pretrained:
        return []
    return sorted(map(str, Path(network.source).expanduser().glob("*.safetensors")))


def complete(network: Network | None) -> Network | None:
    """A network with its architecture. Raises ValueError as `read` does."""
    if network is None or network.library != "transformers" or network.architecture:
        return network
    return network.model_copy(update={"architecture": read(network.source)})

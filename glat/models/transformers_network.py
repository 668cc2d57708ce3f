"""Audio classifiers of transformers, each on what it was made to hear: AST, Whisper, wav2vec 2.0 and its relatives."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from ..lib.errors import brief
from .architecture import check_size, on_hub, place, unreachable
from .audio_front_ends import RATE
from .frontend import FrontEnd
from .heads import HEADS
from .library import LibraryBackbone, library, nearest
from .transfer import onto_classes
from .transformers_kinds import KINDS, Kind

if TYPE_CHECKING:
    from ..config.network import Network

# Keys of a configuration that would load code or other kernels, and the precision that it was saved in.
NOT_TAKEN = ("attn_implementation", "experts_implementation", "quantization_config", "auto_map", "dtype", "torch_dtype")
# Drawn from NumPy's common generator, or layers that are left out at random: a training could not be repeated.
OFF: dict[str, float | bool] = dict.fromkeys(
    ("mask_time_prob", "mask_feature_prob", "layerdrop", "encoder_layerdrop"), 0.0
) | {"apply_spec_augment": False}
OF_MASKS = "masked_spec_embed"  # a weight of which nothing else is made


def kind_of(network: Network) -> Kind:
    """The kind of a network whose architecture is known. Raises ValueError for one for which transformers has no audio
    classifier."""
    name = (network.architecture or {})["config"].get("model_type")
    if not isinstance(name, str) or name not in KINDS:
        raise ValueError(
            f"{network.model} is of the kind {name!r}; transformers' audio classifiers are {', '.join(KINDS)}"
        )
    if network.positions != "crop" and not KINDS[name].cuts_positions:
        raise ValueError(f"positions is a setting of AST and Whisper, and does nothing for {network.model}, a {name}")
    return KINDS[name]


@contextmanager
def _as_sentence(model: str) -> Iterator[None]:
    """Raise ValueError for whatever the library refuses: each of its versions has classes of its own for that."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{model} can't be made with its settings: {brief(error, 200)}") from None


class TransformersNetwork(LibraryBackbone):
    """A network that transformers saved in a folder, or that is on the hub; with its own front end, and with its published
    head unless `head` names another.

    What M is, and what an input of another length than the network was made for gets, its `Kind` says.

    Raises:
        ValueError: transformers is not installed, or the network is of no kind named here.
    """

    trunk: Any
    config: Any

    def __init__(self, classes: int, width: float, mels: int, network: Network):
        super().__init__(classes, width, mels, network)
        self.silence = getattr(self.own_front_end(RATE, network), "silence", 0.0)
        config = self._config(classes)
        with _as_sentence(network.model):  # a value that the configuration took and the network does not
            full = library("transformers").AutoModelForAudioClassification.from_config(config, dtype=torch.float32)
        self.kind = kind_of(network)
        self.config, self.trunk = full.config, self.kind.trunk(full)
        self.head = HEADS[network.head](full.config.hidden_size, classes) if network.head else self.kind.head(full)

    @classmethod
    def own_front_end(cls, sample_rate: int, network: Network) -> FrontEnd:
        extractor, kind = (network.architecture or {})["extractor"], kind_of(network)  # `architecture.complete`
        if (rate := extractor.get("sampling_rate", RATE)) != RATE:
            raise ValueError(f"{network.model} hears {rate} Hz, but only networks of {RATE} Hz are known here")
        try:
            with torch.device("cpu"):  # not on "meta", where networks are tried: mel bands are chosen by their values
                return kind.front_end(sample_rate, extractor)
        except ValueError as error:
            raise ValueError(f"{network.model}: {error}") from None

    def _config(self, classes: int | None) -> Any:
        """The network's configuration, for a number of classes; None: as it was published."""
        transformers = library("transformers")
        given = dict((self.network.architecture or {})["config"])
        kind = given["model_type"]
        known = transformers.CONFIG_MAPPING[kind]()
        if unknown := [key for key in self.network.settings if not hasattr(known, key)]:
            raise ValueError(
                f"settings.{unknown[0]} of {self.network.model} is not known to {kind}"
                f"{nearest(unknown[0], known.to_dict())}"
            )
        names = known.attribute_map  # Whisper's num_hidden_layers is another name of encoder_layers
        given = {names.get(key, key): value for key, value in given.items()} | OFF
        given |= {names.get(key, key): value for key, value in self.network.settings.items()}
        given = {key: value for key, value in given.items() if not key.lstrip("_").startswith(NOT_TAKEN)}
        check_size(given, self.network.source)
        if given.get("use_weighted_layer_sum"):
            raise ValueError(
                f"{self.network.model} scores a sum over its layers (use_weighted_layer_sum), not its last one"
            )
        if classes is not None:
            given = {key: value for key, value in given.items() if key not in ("id2label", "label2id")}
            given |= {"num_labels": classes}
        with _as_sentence(self.network.model):
            return known.from_dict(given)

    def load_pretrained(self, names: list[str] | None) -> list[str]:
        transformers, config = library("transformers"), self._config(None)
        for name in ("modeling_utils", "distributed.tensor_parallel"):
            logging.getLogger(f"transformers.{name}").setLevel(logging.ERROR)  # what they say is checked below
        source, revision = place(self.network.source)
        there = Path(source).is_dir() or on_hub(source, revision)
        try:
            full, report = transformers.AutoModelForAudioClassification.from_pretrained(
                source, config=config, revision=revision or "main", output_loading_info=True, use_safetensors=True,
                dtype=torch.float32, ignore_mismatched_sizes=True, local_files_only=not there,
            )  # fmt: skip
        except SafetensorError as error:
            raise ValueError(f"the weights of {self.network.model} are damaged: {brief(error, 160)}") from None
        except (OSError, RuntimeError, ValueError) as error:
            if not there:
                raise unreachable(source, "model.safetensors") from None
            raise ValueError(f"the weights of {self.network.model} can't be had: {brief(error, 200)}") from None
        elsewhere = ("classifier.", "projector.", *self.kind.unused)
        for what, keys in (
            ("lack", report["missing_keys"]),
            ("have another size of", [key for key, *_ in report["mismatched_keys"]]),
            ("have", report["unexpected_keys"]),
        ):
            found = (str(key).removeprefix("model.") for key in keys)
            if others := sorted(key for key in found if not key.startswith(elsewhere) and OF_MASKS not in key):
                more = f" and {len(others) - 1} more" if others[1:] else ""
                of = f"the weights of {self.network.model} are of another network than its settings"
                raise ValueError(f"{of}: they {what} {others[0]}{more}")
        self.trunk.load_state_dict(self.kind.trunk(full).state_dict())
        if self.network.head or report["missing_keys"] or report["mismatched_keys"] or names is None:
            return names or []
        theirs = [str(full.config.id2label[i]) for i in range(full.config.num_labels)]
        published, own = self.kind.head(full).state_dict(), self.head.state_dict()
        axes = {key: 0 for key in own if key.startswith(("layers.dense.", "classifier."))}
        self.head.load_state_dict(onto_classes(published, own, axes, theirs, names))
        return [name for name in names if name not in theirs]

    def features(self, logmel: Tensor) -> Tensor:
        return self.kind.features(self, logmel)

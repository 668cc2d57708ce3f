"""Audio classifiers of transformers: AST on its own log-mel, and networks on the waveform such as wav2vec 2.0."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn

from ..lib.errors import brief
from .architecture import check_size, on_hub, place, unreachable
from .audio_front_ends import RATE, KaldiLogMel, Samples
from .frontend import FrontEnd
from .heads import HEADS
from .library import LibraryBackbone, library, nearest
from .transfer import onto_classes

if TYPE_CHECKING:
    from ..config.network import Network

MOST_MELS = 1024
AST = "audio-spectrogram-transformer"
WAVEFORM = (
    "data2vec-audio", "hubert", "sew", "sew-d", "unispeech", "unispeech-sat", "wav2vec2", "wav2vec2-conformer", "wavlm",
)  # fmt: skip
# Keys of a configuration that would load code or other kernels, and the precision that it was saved in.
NOT_TAKEN = ("attn_implementation", "experts_implementation", "quantization_config", "auto_map", "dtype", "torch_dtype")
# Drawn from NumPy's common generator, or layers that are left out at random: a training could not be repeated.
OFF = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0, "layerdrop": 0.0, "apply_spec_augment": False}
OF_MASKS = "masked_spec_embed"  # a weight of which nothing else is made


@contextmanager
def _as_sentence(model: str) -> Iterator[None]:
    """Raise ValueError for whatever the library refuses: each of its versions has classes of its own for that."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{model} can't be made with its settings: {brief(error, 200)}") from None


class AstHead(nn.Module):
    """The head that AST was published with: layer norm and one layer, on the mean of its two tokens for the clip. M (B, T, 2 C)
    holds each frame's features and then, the same in all frames, that mean."""

    def __init__(self, head: nn.Module):
        super().__init__()
        self.layers = head

    def clip(self, m: Tensor) -> Tensor:
        return torch.sigmoid(self.layers(m[:, 0].chunk(2, 1)[1]))

    def frames(self, m: Tensor) -> Tensor:
        return torch.sigmoid(self.layers(m.chunk(2, 2)[0]))


class WaveformHead(nn.Module):
    """The head of transformers' classifiers on the waveform: a projection, the mean over time, and one layer."""

    def __init__(self, projector: nn.Module, classifier: nn.Module):
        super().__init__()
        self.projector, self.classifier = projector, classifier

    def clip(self, m: Tensor) -> Tensor:
        return torch.sigmoid(self.classifier(self.projector(m).mean(1)))

    def frames(self, m: Tensor) -> Tensor:
        return torch.sigmoid(self.classifier(self.projector(m)))


class TransformersNetwork(LibraryBackbone):
    """A network that transformers saved in a folder, or that is on the hub; with its own front end, and with its published
    head unless `head` names another.

    AST: M is the patch tokens of each time, averaged over frequency. It was made for clips of `max_length` frames (1024,
    10.24 s). A clip that is at most a tenth shorter is padded, as its feature extractor does; the position embeddings of a
    shorter one, a window, are the middle ones of the clip's (`positions: crop`, as AST's authors do for shorter clips) or are
    interpolated to its length, as those of a longer one always are.

    Networks on the waveform take any length; M is their last hidden state.

    Raises:
        ValueError: transformers is not installed, or the network is of no kind named here.
    """

    def __init__(self, classes: int, width: float, mels: int, network: Network):
        super().__init__(classes, width, mels, network)
        self.silence = getattr(self.own_front_end(RATE, network), "silence", 0.0)
        config = self._config(classes)
        with _as_sentence(network.model):  # a value that the configuration took and the network does not
            full = library("transformers").AutoModelForAudioClassification.from_config(config, dtype=torch.float32)
        self.ast = full.config.model_type == AST
        self.config, self.trunk = full.config, full.base_model
        if network.head:
            self.head = HEADS[network.head](full.config.hidden_size, classes)
        elif self.ast:
            self.head = AstHead(full.classifier)
        else:
            self.head = WaveformHead(full.projector, full.classifier)

    @classmethod
    def own_front_end(cls, sample_rate: int, network: Network) -> FrontEnd:
        made = network.architecture or {}  # `architecture.complete`
        extractor = made["extractor"]
        if (rate := extractor.get("sampling_rate", RATE)) != RATE:
            raise ValueError(f"{network.model} hears {rate} Hz, but only networks of {RATE} Hz are known here")
        if made["config"].get("model_type") != AST:
            return Samples(sample_rate, bool(extractor.get("do_normalize", True)))
        given = {key: float(extractor[key]) for key in ("mean", "std") if key in extractor}
        given |= {} if extractor.get("do_normalize", True) else {"mean": 0.0, "std": 0.5}
        if not 0 < (mels := int(extractor.get("num_mel_bins", 128))) <= MOST_MELS:
            raise ValueError(f"{network.model} hears {mels} mel bands, more than any network does")
        return KaldiLogMel(sample_rate, mels, **given)

    def _config(self, classes: int | None) -> Any:
        """The network's configuration, for a number of classes; None: as it was published."""
        transformers = library("transformers")
        given = dict((self.network.architecture or {})["config"])
        kind = given.get("model_type")
        if kind not in (AST, *WAVEFORM):
            raise ValueError(
                f"{self.network.model} is of the kind {kind!r}; of transformers' audio classifiers, {AST} and "
                f"{', '.join(WAVEFORM)} are known here"
            )
        known = transformers.CONFIG_MAPPING[kind]()
        if unknown := [key for key in self.network.settings if not hasattr(known, key)]:
            raise ValueError(
                f"settings.{unknown[0]} of {self.network.model} is not known to {kind}"
                f"{nearest(unknown[0], known.to_dict())}"
            )
        given |= OFF | self.network.settings
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
        logging.getLogger("transformers.modeling_utils").setLevel(logging.ERROR)  # what it says is checked below
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
        heads = ("classifier.", "projector.")
        for what, keys in (
            ("lack", report["missing_keys"]),
            ("have another size of", [key for key, *_ in report["mismatched_keys"]]),
            ("have", report["unexpected_keys"]),
        ):
            if others := sorted(key for key in map(str, keys) if not key.startswith(heads) and OF_MASKS not in key):
                more = f" and {len(others) - 1} more" if others[1:] else ""
                of = f"the weights of {self.network.model} are of another network than its settings"
                raise ValueError(f"{of}: they {what} {others[0]}{more}")
        self.trunk.load_state_dict(full.base_model.state_dict())
        if self.network.head or report["missing_keys"] or report["mismatched_keys"] or names is None:
            return names or []
        theirs = [str(full.config.id2label[i]) for i in range(full.config.num_labels)]
        published = (
            AstHead(full.classifier) if self.ast else WaveformHead(full.projector, full.classifier)
        ).state_dict()
        own = self.head.state_dict()
        axes = {key: 0 for key in own if key.startswith(("layers.dense.", "classifier."))}
        self.head.load_state_dict(onto_classes(published, own, axes, theirs, names))
        return [name for name in names if name not in theirs]

    def features(self, logmel: Tensor) -> Tensor:
        if not self.ast:
            return self.trunk(logmel[:, 0, :, 0]).last_hidden_state  # (B, T, C)
        spectrogram, frames = logmel[:, 0], logmel.shape[2]  # (B, frames, mels)
        most, size, stride = self.config.max_length, self.config.patch_size, self.config.time_stride
        if frames < size:
            raise ValueError(f"{frames} frames are less than a patch, which has {size}")
        if 0.9 * most <= frames < most:
            spectrogram = F.pad(spectrogram, (0, 0, 0, most - frames), value=self.silence)
        embeddings = self.trunk.embeddings
        patches = embeddings.patch_embeddings(spectrogram)  # (B, H T, C)
        long = (spectrogram.shape[1] - size) // stride + 1
        tokens = [token.expand(len(patches), -1, -1) for token in (embeddings.cls_token, embeddings.distillation_token)]
        hidden = embeddings.dropout(torch.cat((*tokens, patches), 1) + self.positions(long))
        for layer in self.trunk.layers:
            hidden = layer(hidden, None)
        hidden = self.trunk.layernorm(hidden)
        m = hidden[:, 2:].unflatten(1, (-1, long)).mean(1)[:, : (frames - size) // stride + 1]  # (B, T, C)
        if self.network.head:
            return m
        clip = hidden[:, :2].mean(1, keepdim=True)  # (B, 1, C)
        return torch.cat((m, clip.expand_as(m)), 2)

    def positions(self, long: int) -> Tensor:
        """The position embeddings (1, 2 + H T, C) of an input of T = `long` patches."""
        embeddings = self.trunk.embeddings.position_embeddings
        high, most = self.trunk.embeddings.get_shape(self.config)
        if long == most:
            return embeddings
        grid = embeddings[:, 2:].unflatten(1, (high, most))  # (1, H, T0, C)
        if long < most and self.network.positions == "crop":
            begin = (most - long) // 2
            grid = grid[:, :, begin : begin + long]
        else:
            grid = F.interpolate(grid.permute(0, 3, 1, 2), (high, long), mode="bilinear").permute(0, 2, 3, 1)
        return torch.cat((embeddings[:, :2], grid.flatten(1, 2)), 1)

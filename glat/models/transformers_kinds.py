"""The kinds of audio classifiers that transformers has: what each hears, which of its modules are trunk and head, and how M
comes out of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .audio_front_ends import BandLogMel, KaldiLogMel, Samples, WhisperLogMel

if TYPE_CHECKING:
    from .frontend import FrontEnd
    from .transformers_network import TransformersNetwork

MOST_MELS = 1024


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


class ProjectedHead(nn.Module):
    """The head of all other classifiers of transformers: a projection, the mean over time, and one layer."""

    def __init__(self, projector: nn.Module, classifier: nn.Module):
        super().__init__()
        self.projector, self.classifier = projector, classifier

    def clip(self, m: Tensor) -> Tensor:
        return torch.sigmoid(self.classifier(self.projector(m).mean(1)))

    def frames(self, m: Tensor) -> Tensor:
        return torch.sigmoid(self.classifier(self.projector(m)))


class Kind(ABC):
    """What differs between kinds of networks. `full` is one as transformers makes it, with its published head."""

    unused: ClassVar[tuple[str, ...]] = ()  # how weights begin that a checkpoint has beside those of trunk and head
    cuts_positions: ClassVar[bool] = False  # whether an input has a part of a table of position embeddings: `positions`

    @abstractmethod
    def front_end(self, sample_rate: int, extractor: dict[str, Any]) -> FrontEnd:
        """What the network hears, by the settings of its feature extractor. Raises ValueError for one that is not known."""

    def trunk(self, full: Any) -> Any:
        return full.base_model

    def head(self, full: Any) -> nn.Module:
        return ProjectedHead(full.projector, full.classifier)

    @abstractmethod
    def features(self, network: TransformersNetwork, logmel: Tensor) -> Tensor:
        """(B, 1, frames, mels) -> M (B, T, C)."""


class Ast(Kind):
    """The Audio Spectrogram Transformer (Gong, Chung and Glass, Interspeech 2021).

    M is the patch tokens of each time, averaged over frequency. It was made for clips of `max_length` frames (1024, 10.24 s).
    A clip that is at most a tenth shorter is padded, as its feature extractor does; the position embeddings of a shorter one,
    a window, are the middle ones of the clip's (`positions: crop`, as AST's authors do for shorter clips) or are interpolated
    to its length, as those of a longer one always are.
    """

    cuts_positions = True

    def front_end(self, sample_rate: int, extractor: dict[str, Any]) -> FrontEnd:
        given = {key: finite(key, extractor[key]) for key in ("mean", "std") if key in extractor}
        given |= {} if extractor.get("do_normalize", True) else {"mean": 0.0, "std": 0.5}
        if given.get("std", 1.0) <= 0:
            raise ValueError(f"its feature extractor has std {given['std']:g}, and not one above 0")
        return KaldiLogMel(sample_rate, bands(extractor.get("num_mel_bins", 128)), **given)

    def head(self, full: Any) -> nn.Module:
        return AstHead(full.classifier)

    def features(self, network: TransformersNetwork, logmel: Tensor) -> Tensor:
        trunk, config = network.trunk, network.config
        spectrogram, frames = logmel[:, 0], logmel.shape[2]  # (B, frames, mels)
        most, size, stride = config.max_length, config.patch_size, config.time_stride
        if frames < size:
            raise ValueError(f"{frames} frames are less than a patch, which has {size}")
        if 0.9 * most <= frames < most:
            spectrogram = F.pad(spectrogram, (0, 0, 0, most - frames), value=network.silence)
        embeddings = trunk.embeddings
        patches = embeddings.patch_embeddings(spectrogram)  # (B, H T, C)
        long = (spectrogram.shape[1] - size) // stride + 1
        tokens = [token.expand(len(patches), -1, -1) for token in (embeddings.cls_token, embeddings.distillation_token)]
        hidden = embeddings.dropout(torch.cat((*tokens, patches), 1) + self.positions(network, long))
        for layer in trunk.layers:
            hidden = layer(hidden, None)
        hidden = trunk.layernorm(hidden)
        m = hidden[:, 2:].unflatten(1, (-1, long)).mean(1)[:, : (frames - size) // stride + 1]  # (B, T, C)
        if network.network.head:
            return m
        clip = hidden[:, :2].mean(1, keepdim=True)  # (B, 1, C)
        return torch.cat((m, clip.expand_as(m)), 2)

    def positions(self, network: TransformersNetwork, long: int) -> Tensor:
        """The position embeddings (1, 2 + H T, C) of an input of T = `long` patches."""
        embeddings = network.trunk.embeddings.position_embeddings
        high, most = network.trunk.embeddings.get_shape(network.config)
        if long == most:
            return embeddings
        grid = embeddings[:, 2:].unflatten(1, (high, most))  # (1, H, T0, C)
        if long < most and network.network.positions == "crop":
            begin = (most - long) // 2
            grid = grid[:, :, begin : begin + long]
        else:
            grid = F.interpolate(grid.permute(0, 3, 1, 2), (high, long), mode="bilinear").permute(0, 2, 3, 1)
        return torch.cat((embeddings[:, :2], grid.flatten(1, 2)), 1)


class Whisper(Kind):
    """The encoder of Whisper (Radford et al., ICML 2023). M is its last hidden state, fifty times a second.

    It was made for clips of 30 s, and its feature extractor pads shorter ones with silence. Here nothing is padded: an input
    of T frames has the first T position embeddings, as in the code of Whisper-AT (Gong and others, Interspeech 2023),
    or all of them interpolated to its length (`positions: interpolate`), as one of more than 30 s always has.
    """

    unused = ("decoder.", "proj_out.")
    cuts_positions = True

    def front_end(self, sample_rate: int, extractor: dict[str, Any]) -> FrontEnd:
        for key, known in (("n_fft", 400), ("hop_length", 160), ("dither", 0.0)):
            if (found := extractor.get(key, known)) != known:
                raise ValueError(f"its feature extractor has {key} {found}, but only {known} is known here")
        return WhisperLogMel(sample_rate, bands(extractor.get("feature_size", 80)))

    def trunk(self, full: Any) -> Any:
        return full.encoder

    def features(self, network: TransformersNetwork, logmel: Tensor) -> Tensor:
        trunk = network.trunk
        mels = logmel[:, 0].transpose(1, 2)  # (B, mels, frames)
        hidden = F.gelu(trunk.conv2(F.gelu(trunk.conv1(mels)))).transpose(1, 2)  # (B, T, C)
        hidden = F.dropout(hidden + self.positions(network, hidden.shape[1]), trunk.dropout, trunk.training)
        for layer in trunk.layers:
            hidden = layer(hidden, None)
        return trunk.layer_norm(hidden)

    def positions(self, network: TransformersNetwork, long: int) -> Tensor:
        """The position embeddings (T, C) of an input of T = `long` frames."""
        embeddings = network.trunk.embed_positions.weight  # (T0, C); they are not trained
        if long <= len(embeddings) and network.network.positions == "crop":
            return embeddings[:long]
        return F.interpolate(embeddings.T[None], long, mode="linear")[0].T


class Wav2Vec2Bert(Kind):
    """Wav2Vec2-BERT (Seamless Communication, 2023): M is its last hidden state, fifty times a second, of pairs of frames.
    Positions are relative, so an input may have any length."""

    def front_end(self, sample_rate: int, extractor: dict[str, Any]) -> FrontEnd:
        if (stride := extractor.get("stride", 2)) != 2:
            raise ValueError(f"its feature extractor stacks {stride} frames, but only pairs are known here")
        return BandLogMel(sample_rate, bands(extractor.get("num_mel_bins", 80)))

    def features(self, network: TransformersNetwork, logmel: Tensor) -> Tensor:
        frames = logmel[:, 0]  # (B, frames, mels)
        clips, number, mels = frames.shape
        if number < 2:
            raise ValueError(f"{number} frame is less than a pair")
        pairs = frames[:, : number // 2 * 2].reshape(clips, number // 2, 2 * mels)  # (B, T, 2 mels)
        return network.trunk(pairs).last_hidden_state


class Waveform(Kind):
    """wav2vec 2.0 and its relatives, which hear the waveform, of any length. M is their last hidden state."""

    def front_end(self, sample_rate: int, extractor: dict[str, Any]) -> FrontEnd:
        return Samples(sample_rate, bool(extractor.get("do_normalize", True)))

    def features(self, network: TransformersNetwork, logmel: Tensor) -> Tensor:
        return network.trunk(logmel[:, 0, :, 0]).last_hidden_state


def bands(number: Any) -> int:
    """The number of mel bands that a feature extractor has. Raises ValueError unless it is 1 to `MOST_MELS`."""
    if not isinstance(number, int) or not 0 < number <= MOST_MELS:
        raise ValueError(f"its feature extractor has {number!r} mel bands, and not 1 to {MOST_MELS}")
    return number


def finite(key: str, value: Any) -> float:
    """A number of a feature extractor. Raises ValueError for anything else, and for one that is not finite."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"its feature extractor has {key} {value!r}, which is no finite number")
    return float(value)


# All for which transformers has an audio classifier, by the `model_type` of their configuration.
KINDS: dict[str, Kind] = {
    "audio-spectrogram-transformer": Ast(),
    "wav2vec2-bert": Wav2Vec2Bert(),
    "whisper": Whisper(),
    **dict.fromkeys(
        (
            "data2vec-audio", "hubert", "sew", "sew-d", "unispeech", "unispeech-sat", "wav2vec2", "wav2vec2-conformer",
            "wavlm",
        ),
        Waveform(),
    ),
}  # fmt: skip

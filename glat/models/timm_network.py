"""Image networks of timm on the log-mel, as an image of one channel: mels by frames."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..lib.errors import brief
from .architecture import on_hub, unreachable
from .backbone import normalise_mels
from .heads import HEADS
from .library import FAULTS, LibraryBackbone, library, nearest

if TYPE_CHECKING:
    from ..config.network import Network

SETTINGS = ("drop_path_rate",)  # drop_rate is of the classifier, which `head` replaces


class TimmNetwork(LibraryBackbone):
    """Any network of timm whose features keep their place in the image: M (B, T, C) is its last feature map, averaged over
    frequency. T is the number of frames over the network's stride, as a rule 32, or over a patch's width.

    A vision transformer's position embeddings are interpolated to the size of each input (timm's `dynamic_img_size`), so
    that windows of any length go through. Where the network's blocks do not divide the image, it is padded on the right to
    a multiple of 32 frames, with each band's mean, and M has no frame that is mostly padding. Weights for three colours are
    summed over them, as timm does for one channel, or averaged (`channels: mean`), which keeps the scale of an image whose
    three colours are the same.

    Raises:
        ValueError: timm is not installed or has no such network, or the network has no feature map.
    """

    takes_keep = True
    multiples = (1, 32)
    classifier = ("head", "bn0")  # bn0 has no weights of the library: it learns from the first step, as the head does

    def __init__(self, classes: int, width: float, mels: int, network: Network):
        super().__init__(classes, width, mels, network)
        self.bn0 = nn.BatchNorm2d(mels)
        self.trunk = self._create(pretrained=False)
        self.head = HEADS[network.head or "pooled"](self.trunk.num_features, classes)

    def _create(self, pretrained: bool) -> nn.Module:
        timm, spec = library("timm"), self.network
        if wrong := [key for key in spec.settings if key not in SETTINGS]:
            raise ValueError(f"settings.{wrong[0]} of {spec.model} is not known; allowed are {', '.join(SETTINGS)}")
        name = spec.source.partition(".")[0]
        if not timm.is_model(name):
            raise ValueError(f"timm has no network {name!r}{nearest(name, timm.list_models())}")
        if spec.source != name and spec.source not in (known := timm.list_models(f"{name}.*", pretrained=True)):
            raise ValueError(f"timm has no weights {spec.source!r}; of {name}, it has {', '.join(known) or 'none'}")
        how = {"pretrained": pretrained, "in_chans": 1, "num_classes": 0} | spec.settings
        try:
            for any_size in ({"dynamic_img_size": True, "dynamic_img_pad": True}, {"strict_img_size": False}):
                with suppress(TypeError):  # those that can be made to take images of any size, as vision transformers
                    return timm.create_model(spec.source, **any_size, **how)
            return timm.create_model(spec.source, **how)
        except FAULTS as error:
            if pretrained:
                raise
            raise ValueError(
                f"timm can't make {spec.source} with settings {spec.settings}: {brief(error, 200)}"
            ) from None

    def load_pretrained(self, names: list[str] | None) -> list[str]:
        from huggingface_hub import try_to_load_from_cache as cached

        hub = self.trunk.pretrained_cfg.get("hf_hub_id")  # type: ignore[union-attr, operator]
        if hub and not on_hub(str(hub), None) and not isinstance(cached(str(hub), "model.safetensors"), str):
            raise unreachable(self.network.source, "weights")
        try:
            trunk = self._create(pretrained=True)
        except (OSError, RuntimeError) as error:
            raise ValueError(f"the weights of {self.network.model} can't be had: {brief(error, 200)}") from None
        if self.network.channels == "mean":
            first = trunk.pretrained_cfg["first_conv"]  # type: ignore[index]
            for name in [first] if isinstance(first, str) else first:
                trunk.get_parameter(f"{name}.weight").data /= 3
        self.trunk.load_state_dict(trunk.state_dict())
        return names or []

    def features(self, logmel: Tensor, keep: Tensor | None = None) -> Tensor:
        image = normalise_mels(self.bn0, logmel, keep).transpose(2, 3)  # (B, 1, mels, frames)
        frames = image.shape[3]
        image = F.pad(image, (0, -frames % self.multiple))
        m = self._over_time(self.trunk.forward_features(image), image.shape[2:])  # type: ignore[operator]
        return m[:, : max(1, round(m.shape[1] * frames / image.shape[3]))]  # (B, T, C)

    def _over_time(self, found: Tensor, size: torch.Size) -> Tensor:
        """The last feature map of an image of `size`, averaged over frequency: (B, T, C)."""
        if not isinstance(found, Tensor) or found.dim() not in (3, 4):
            raise ValueError("it has no feature map that keeps its place in the image")
        if found.dim() == 4 and found.shape[1] == self.trunk.num_features:
            return found.mean(2).transpose(1, 2)  # (B, C, H, T)
        if found.dim() == 4:
            return found.mean(1)  # (B, H, T, C)
        found = found[
            :, getattr(self.trunk, "num_prefix_tokens", 0) :
        ]  # (B, H T, C), behind what is of the whole image
        embed = getattr(self.trunk, "patch_embed", None)
        if hasattr(embed, "dynamic_feat_size"):
            grid = embed.dynamic_feat_size(size)  # type: ignore[union-attr]
        else:  # of patches as high as long
            side = math.sqrt(size.numel() / found.shape[1])
            grid = [round(length / side) for length in size]
        if math.prod(grid) != found.shape[1]:
            raise ValueError(f"its {found.shape[1]} tokens are no grid of {' by '.join(map(str, grid))}")
        return found.reshape(len(found), *grid, -1).mean(1)

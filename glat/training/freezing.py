"""A backbone that starts from trained weights: kept as it is for some steps, and trained at a rate of its own after that."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import lightning
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..lib.errors import GlatError, tell
from ..models.backbone import Backbone
from ..models.tagger import Tagger
from ..models.twostream import TwoStream


def classifiers(tagger: Tagger) -> list[nn.Module]:
    """The modules of both streams' classifiers, as `Backbone.classifier` names them, with all that is in them, and a learned
    fusion of the two.

    Raises:
        GlatError: a name of no module of the backbone.
    """
    found: list[nn.Module] = []
    for backbone in tagger.backbones().values():
        for name in backbone.classifier:
            if not hasattr(backbone, name):
                what = f"{type(backbone).__name__}.classifier names {name!r}, which is none of its modules"
                raise GlatError(f"{what}; name those that classify (docs/backbones.md)")
            found += getattr(backbone, name).modules()
    if isinstance(tagger.network, TwoStream) and tagger.network.fusion:
        found += tagger.network.fusion.modules()
    return found


def trained_weights(tagger: Tagger) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The weights that are trained: those of the classifiers, and all others, each once."""
    heads = {weight for module in classifiers(tagger) for weight in module.parameters(recurse=False)}
    weights = [weight for weight in tagger.parameters() if weight.requires_grad]
    return [one for one in weights if one in heads], [one for one in weights if one not in heads]


def blocks(backbone: Backbone) -> list[list[nn.Parameter]]:
    """The weights of all but a backbone's classifier, block by block in the order in which it defines them, from its input on.

    A block is a module of the backbone. What holds several of one kind, as `Sequential` or `ModuleList`, is one for each of
    them, wherever it lies: the layers of a transformer, the blocks of a ResNet.
    """
    heads = {module for name in backbone.classifier for module in getattr(backbone, name).modules()}
    return [found for found in _divided(backbone, heads) if any(weight.requires_grad for weight in found)]


def _divided(module: nn.Module, apart: set[nn.Module]) -> Iterator[list[nn.Parameter]]:
    yield list(module.parameters(recurse=False))  # such as position embeddings
    for child in module.children():
        if child not in apart:
            holds = any(map(_is_stack, child.modules()))
            yield from _divided(child, apart) if holds else [list(child.parameters())]


def _is_stack(module: nn.Module) -> bool:
    if not isinstance(module, nn.Sequential | nn.ModuleList):
        return False
    return len(module) > 1 and len({type(one) for one in module}) == 1


def rates(tagger: Tagger, rate: float, factor: float, decay: float = 1.0) -> list[dict[str, Any]]:
    """The weights that are trained, as groups for an optimiser: the classifiers' at a learning rate, which is that of the
    first group, all others at `factor` times that; with a `decay`, at that times decay^d for the d-th block below the
    classifier (layer-wise decay, as BEiT and AudioMAE are fine-tuned)."""
    if decay < 1:
        heads, _ = trained_weights(tagger)
        groups, seen = [{"params": heads, "lr": rate}], set(heads)
        for backbone in tagger.backbones().values():
            for depth, weights in enumerate(reversed(blocks(backbone)), 1):
                own = [weight for weight in weights if weight.requires_grad and weight not in seen]
                seen.update(own)
                groups += [{"params": own, "lr": rate * factor * decay**depth}] if own else []
        return groups
    if factor == 1:
        return [{"params": [weight for weight in tagger.parameters() if weight.requires_grad], "lr": rate}]
    heads, rest = trained_weights(tagger)
    return [{"params": heads, "lr": rate}, {"params": rest, "lr": rate * factor}]


class FrozenStreams(lightning.Callback):
    """Streams of GL-AT that are kept as they are: no gradient, batch norm's statistics as they came, no dropout."""

    def __init__(self, streams: Collection[str]):
        self.streams = streams

    def on_train_start(self, trainer, stage) -> None:
        self.on_train_batch_start(trainer, stage)

    def on_train_batch_start(self, trainer, stage, *_) -> None:
        for name in self.streams:  # at each step: a look at the network on the way leaves all of it in training mode
            stage.tagger.backbones()[name].eval()


class FrozenBackbone(lightning.Callback):
    """For the first `steps` steps of a training, only the classifiers learn. No other weight has a gradient, so that Adam does
    not know of it before; and every other batch norm normalises by the statistics that it came with, and keeps them. Dropout
    goes on."""

    def __init__(self, steps: int):
        self.steps = steps

    def on_train_start(self, trainer, stage) -> None:
        heads = set(classifiers(stage.tagger))
        _, self.weights = trained_weights(stage.tagger)
        # Not those of a global stream that is never trained: they stay as they are.
        norms = (module for module in stage.tagger.modules() if isinstance(module, _BatchNorm) and module.training)
        self.norms = [module for module in norms if module not in heads]
        if trainer.is_global_zero and trainer.global_step < self.steps:
            tell(
                f"{stage.run.folder}: up to step {self.steps} only the classifier is trained (training.freeze_backbone)"
            )

    def on_train_batch_start(self, trainer, stage, *_) -> None:
        if trainer.global_step > self.steps:
            return
        frozen = trainer.global_step < self.steps
        for weight in self.weights:
            weight.requires_grad_(not frozen)
        for norm in self.norms:  # at each step: a look at the network on the way leaves all of it in training mode
            norm.train(not frozen)

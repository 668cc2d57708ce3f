"""Weights of a network that was trained on other classes, or on the same in another order, for one that is otherwise equal.

All is kept that has no part for each class. What has one, the last layer of a classifier as a rule, is taken over by the
classes' ids; a class that is new has the part that the network was initialised with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

COUNTS = 4, 5  # two numbers of classes: what differs between their networks belongs to the classes


def class_axes(make: Callable[[int], nn.Module]) -> dict[str, int]:
    """The weights of a network that have a part for each class, by name, and along which of their axes.

    make: the network for a number of classes; it is made twice, and nothing of it is allocated.

    >>> class_axes(lambda classes: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, classes)))
    {'1.weight': 0, '1.bias': 0}

    Raises:
        ValueError: weights that follow the number of classes in another way.
    """
    with torch.device("meta"):
        one, other = (make(classes).state_dict() for classes in COUNTS)
    axes = {}
    for name, weight in one.items():
        sizes = list(zip(weight.shape, other[name].shape, strict=True))
        differing = [axis for axis, (a, b) in enumerate(sizes) if a != b]
        if not differing:
            continue
        if len(differing) > 1 or sizes[differing[0]] != COUNTS:
            raise ValueError(f"{name} follows the number of classes, but has no part for each, so it serves no others")
        axes[name] = differing[0]
    return axes


def outputs(weights: Mapping[str, Tensor], axes: Mapping[str, int]) -> int | None:
    """The number of classes that weights are of; None where they have none of the parts that `axes` names."""
    sizes = {weights[name].shape[axis] for name, axis in axes.items() if name in weights and weights[name].dim() > axis}
    return sizes.pop() if len(sizes) == 1 else None


def onto_classes(
    weights: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    axes: Mapping[str, int],
    theirs: Sequence[str],
    ours: Sequence[str],
) -> dict[str, Tensor]:
    """`weights` of the classes `theirs` as those of a network of the classes `ours`, whose own are `own`; neither is changed.

    >>> theirs, own = {"bias": torch.tensor([1.0, 2.0, 3.0])}, {"bias": torch.zeros(2)}
    >>> onto_classes(theirs, own, {"bias": 0}, ["dog", "cat", "cow"], ["frog", "dog"])["bias"].tolist()
    [0.0, 1.0]
    """
    place = {name: i for i, name in enumerate(theirs)}
    kept = [i for i, name in enumerate(ours) if name in place]
    to, at = torch.tensor(kept, dtype=torch.long), torch.tensor([place[ours[i]] for i in kept], dtype=torch.long)
    found = dict(weights)
    for name, axis in axes.items():
        mixed = own[name].clone()
        if name in found and found[name].dim() == mixed.dim():
            part = found[name].index_select(axis, at).to(mixed.dtype)
            if part.shape == mixed.index_select(axis, to).shape:  # else it is of another network, which loading refuses
                found[name] = mixed.index_copy_(axis, to, part)
    return found

"""What a checkpoint must hold, wherever it comes from: each check raises ValueError, which says what is wrong with it."""

from __future__ import annotations

from typing import Any

import torch

from ..models.frontend import FrontEnd, LogMel


def tensors(value: Any) -> dict[str, torch.Tensor]:
    """What a file holds as weights, if it is tensors by name."""
    items = value.items() if isinstance(value, dict) else [(None, None)]
    if not all(isinstance(key, str) and isinstance(weight, torch.Tensor) for key, weight in items):
        raise ValueError("not a checkpoint of weights: it holds other things where tensors should be")
    return value


def check_classes(classes: Any, count: int) -> None:
    """Raise ValueError unless these are `count` classes, each with `mid` and `display_name`."""
    names = isinstance(classes, list) and all(
        isinstance(one, dict) and all(isinstance(one.get(key), str) for key in ("mid", "display_name"))
        for one in classes
    )
    if not names or len(classes) != count:
        raise ValueError(f"its class list does not name the {count} classes that it scores")


def check_selected(selected: Any) -> None:
    """Raise ValueError unless this is None, or numbers by name."""
    numbers = isinstance(selected, dict) and all(
        isinstance(key, str) and isinstance(value, int | float) for key, value in selected.items()
    )
    if selected is not None and not numbers:
        raise ValueError("what it says of its selection is not numbers by name")


def check_finite(weights: dict[str, torch.Tensor]) -> None:
    """Raise ValueError for a weight that is NaN or infinite."""
    if bad := [key for key, weight in weights.items() if not weight.isfinite().all()]:
        what = f"{len(bad)} of its weights are not finite, first {min(bad)}"
        raise ValueError(f"{what}; take another checkpoint or train again")


def check_front_end(ours: FrontEnd, theirs: FrontEnd) -> None:
    """Raise ValueError unless the weights behind one front end fit behind another."""
    if not (isinstance(ours, LogMel) and isinstance(theirs, LogMel)):
        if type(ours) is not type(theirs) or ours.extra_repr() != theirs.extra_repr():
            raise ValueError("trained behind another front end than this run has")
        return
    if (ours.sample_rate, ours.hop) != (theirs.sample_rate, theirs.hop):
        raise ValueError(
            f"trained on log-mels of {theirs.sample_rate} Hz and hop {theirs.hop}, "
            f"but this run has {ours.sample_rate} Hz and hop {ours.hop}"
        )
    check_window(ours, theirs.state_dict(), "this run")
    mels, known_mels = ours.mel_scale.fb, theirs.mel_scale.fb
    if known_mels.shape != mels.shape or not torch.allclose(known_mels, mels, rtol=1e-4, atol=1e-6):
        raise ValueError("trained on log-mels of other mel bands than this run has")


def check_window(ours: FrontEnd, theirs: dict[str, torch.Tensor], where: str) -> None:
    """Raise ValueError unless a front end's weights are of our STFT's window, which may differ where the hop is the same."""
    if not isinstance(ours, LogMel):
        return
    found, own = theirs.get("stft.window"), ours.stft.window
    if found is not None and found.shape != own.shape:
        raise ValueError(
            f"trained on log-mels of another STFT window: {found.numel()} samples at hop {ours.hop}, where {where} has "
            f"{own.numel()}; train it again"
        )


def check_shapes(own: dict[str, torch.Tensor], weights: dict[str, torch.Tensor]) -> None:
    """Raise ValueError unless both have weights of the same names and shapes."""
    shapes, theirs = ({key: weight.shape for key, weight in some.items()} for some in (own, weights))
    if differing := [key for key in own.keys() | weights.keys() if shapes.get(key) != theirs.get(key)]:
        raise ValueError(
            f"checkpoint of another network: {len(differing)} of {len(own)} weights missing, unexpected or of another"
            f" shape, first {min(differing)}"
        )

"""What two trainings left, compared."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch


def apart(one: Path, other: Path) -> float:
    """How far two trainings' weights are from each other, relative to their size.

    Loss and gradient of the first step are equal to float32's accuracy. Adam divides a gradient by its own size, so a
    rounded one of nearly 0 moves its weight as far as any, and later steps differ more; in float64 they do not
    (`test_training.py`).
    """
    a, b = (torch.load(folder / "checkpoint.pt", weights_only=True)["model"] for folder in (one, other))
    keys = [key for key in a if not key.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    x, y = (torch.cat([model[key].double().flatten() for key in keys]) for model in (a, b))
    curves = [pd.read_csv(folder / "train.csv")[["loss", "gradient_norm"]].to_numpy() for folder in (one, other)]
    np.testing.assert_allclose(curves[0][0], curves[1][0], rtol=2e-4)
    np.testing.assert_allclose(*curves, rtol=5e-2)
    return float((x - y).norm() / y.norm())

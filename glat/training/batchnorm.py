"""Batch norm over the clips of all processes, so that several train exactly as one would."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.distributed
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

M = TypeVar("M", bound=nn.Module)


def synchronise(module: M, accelerator: str) -> M:
    """Make every batch norm in a module one over all processes, in place where it can be; the weights and their names stay.

    torch.nn.SyncBatchNorm on a GPU, and `SyncBatchNorm` below on a CPU, for which torch has none.
    """
    if accelerator != "cpu":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.__class__ = SyncBatchNorm
    return module


class SyncBatchNorm(_BatchNorm):
    """torch's batch norm, whose mean and variance are those of the inputs of all processes together.

    Mean first and deviations from it second, two sums over the processes: the sum of squares alone would lose the
    digits of log-mels far from zero. Alone, or in evaluation mode, it is torch's own.
    """

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() < 2:
            raise ValueError(f"expected (B, C, ...), found {x.dim()} dimensions")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> the same; B may differ between the processes."""
        spread = torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1
        if not (self.training and spread):
            return super().forward(x)
        self._check_input_dim(x)
        axes, shape = [0, *range(2, x.dim())], (1, -1, *[1] * (x.dim() - 2))
        with torch.autocast(x.device.type, enabled=False):
            values = x if x.dtype == torch.float64 else x.float()
            count = values.new_full((1,), values.numel() // values.shape[1])
            total = all_reduce(torch.cat((values.sum(axes), count)))  # (C + 1,)
            count = total[-1].detach()
            mean = total[:-1] / count  # (C,)
            centred = values - mean.view(shape)
            variance = all_reduce(centred.square().sum(axes)) / count  # (C,)
            if self.track_running_stats:
                self._keep(mean.detach(), variance.detach() * count / (count - 1))
            scale = (variance + self.eps).rsqrt()
            if self.affine:
                scale = scale * self.weight
            out = centred * scale.view(shape)
            return (out + self.bias.view(shape) if self.affine else out).to(x.dtype)

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)

"""From scores of windows to a score of the clip, and from two streams to one (paper, section 2.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def max_mean(scores: Tensor) -> Tensor:
    """(max + mean) / 2 over dimension 1, so that the result is a probability (released code).

    >>> max_mean(torch.tensor([[[0.25], [0.75]]]))
    tensor([[0.6250]])
    """
    return (scores.amax(1) + scores.mean(1)) / 2


def own_scores(scores: Tensor, classes: Tensor) -> Tensor:
    """Each class scored in its own windows alone: scores (B, K, L) of windows that were chosen for `classes` (B, K) ->
    (B, L) (ours, `scoring: own`).

    Why: a window is chosen because one class is likely there. For the other classes it is an arbitrary place, and the
    maximum over such places grows with their number, whether or not the class is in the clip.

    A class with windows of its own has (max + mean) / 2 over these: the score itself where there is one. A class without
    has the mean over all windows, which is what a window that was not chosen for it is expected to say. That is not the
    global stream's score, since the local stream would then learn nothing of the classes that the global one finds
    unlikely, and the two networks would be an ensemble for N of the L classes alone; and not the maximum, which would
    give it N chances where a class with a window has one.

    >>> own_scores(torch.tensor([[[0.9, 0.2, 0.1], [0.6, 0.4, 0.3]]]), torch.tensor([[0, 1]]))
    tensor([[0.9000, 0.4000, 0.2000]])
    """
    own = classes[:, :, None] == torch.arange(scores.shape[2], device=scores.device)  # (B, K, L)
    count = own.sum(1)  # (B, L)
    kept = scores * own
    mean = kept.sum(1) / count.clamp(min=1)
    return torch.where(count > 0, (kept.amax(1) + mean) / 2, scores.mean(1))


class LearnedFusion(nn.Module):
    """y = sigmoid(a logit(y_g) + (1 - a) logit(y_l)) with a weight a = sigmoid(b) of each class (ours, `fusion: learned`).

    Why: the paper's fusion trusts both streams alike for every class, though a short event is better heard in a window
    and a long one in the clip. It begins with a = 1/2, so that y lies between the two streams' scores, as the paper's
    does, and is equal to it where they agree.

    The weights learn by BCE(y, target) of scores without a gradient: each stream is trained by its own loss alone, as in
    the paper, so that a difference in the result is that of the fusion.

    >>> LearnedFusion(1)(torch.tensor([[0.2]]), torch.tensor([[0.8]]))
    tensor([[0.5000]], grad_fn=<SigmoidBackward0>)
    """

    def __init__(self, classes: int):
        super().__init__()
        self.balance = nn.Parameter(torch.zeros(classes))

    def forward(self, y_g: Tensor, y_l: Tensor) -> Tensor:
        """Scores (B, L) of both streams -> (B, L)."""
        share = torch.sigmoid(self.balance)  # (L,)
        with torch.autocast(y_g.device.type, enabled=False):
            logit_g, logit_l = (torch.logit(y.detach().float(), eps=1e-7) for y in (y_g, y_l))
            return torch.sigmoid(share * logit_g + (1 - share) * logit_l)

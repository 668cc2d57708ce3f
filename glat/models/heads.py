"""Classifiers on the frame features of a library's network: scores of the clip and of each frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MeanHead(nn.Module):
    """Mean over time, then one layer: the common head of image networks."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.layer = nn.Linear(channels, classes)

    def clip(self, m: Tensor) -> Tensor:
        """M (B, T, C) -> probabilities (B, L)."""
        return torch.sigmoid(self.layer(m.mean(1)))

    def frames(self, m: Tensor) -> Tensor:
        """M (B, T, C) -> probabilities (B, T, L)."""
        return torch.sigmoid(self.layer(m))


class PannsHead(MeanHead):
    """Maximum plus mean over time, then two layers with dropout: the head of PANNs."""

    def __init__(self, channels: int, classes: int):
        super().__init__(channels, classes)
        self.hidden, self.dropout = nn.Linear(channels, channels), nn.Dropout(0.5)

    def clip(self, m: Tensor) -> Tensor:
        hidden = F.relu(self.hidden(self.dropout(m.amax(1) + m.mean(1))))
        return torch.sigmoid(self.layer(self.dropout(hidden)))

    def frames(self, m: Tensor) -> Tensor:
        return torch.sigmoid(self.layer(F.relu(self.hidden(m))))


class AttentionHead(nn.Module):
    """Attention pooling with several heads (PSLA, Gong et al. 2021, section III.C).

    A head h has attentions a = sigmoid(A_h m_t), normalised over time, and scores s = sigmoid(S_h m_t); the clip's are
    sum_h w_h sum_t a_t s_t, those of a frame sum_h w_h s_t. Ours: the weights w are a softmax, so that both stay
    probabilities; PSLA trains w itself, from 1 / 4 each.
    """

    def __init__(self, channels: int, classes: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.attention, self.score = (nn.Linear(channels, heads * classes) for _ in range(2))
        self.weight = nn.Parameter(torch.zeros(heads))

    def scores(self, m: Tensor) -> Tensor:
        return torch.sigmoid(self.score(m)).reshape(*m.shape[:2], self.heads, -1)  # (B, T, heads, L)

    def clip(self, m: Tensor) -> Tensor:
        attention = torch.sigmoid(self.attention(m)).clamp(1e-7, 1 - 1e-7).reshape(*m.shape[:2], self.heads, -1)
        pooled = (attention / attention.sum(1, keepdim=True) * self.scores(m)).sum(1)  # (B, heads, L)
        return torch.einsum("h,bhl->bl", self.weight.softmax(0), pooled).clamp(0, 1)

    def frames(self, m: Tensor) -> Tensor:
        return torch.einsum("h,bthl->btl", self.weight.softmax(0), self.scores(m)).clamp(0, 1)


HEADS = {"mean": MeanHead, "pooled": PannsHead, "attention": AttentionHead}

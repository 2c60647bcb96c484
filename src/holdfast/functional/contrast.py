"""Contrastive losses with several positives, as Bi-Tuning has them."""

from __future__ import annotations

import torch
from torch import Tensor


def unit(v: Tensor) -> Tensor:
    """Each row divided by its norm; a row of zeros stays, with a finite gradient."""
    norm: Tensor = torch.linalg.vector_norm(v, dim=1, keepdim=True)
    return v / torch.where(norm > 0, norm, torch.ones_like(norm))


def extended(rep: Tensor) -> Tensor:
    """(rep, 1) on the unit sphere: what a classifier's row with its bias is compared with; (B, D) to (B, D + 1)."""
    return unit(torch.cat([rep, rep.new_ones(len(rep), 1)], 1))


def contrast(query: Tensor, own: Tensor, keys: Tensor, positive: Tensor, filled: Tensor, tau: float) -> Tensor:
    r"""Mean over queries of the cross-entropy to the keys of their class.

    .. math:: \ell_i = -\frac1{|P_i|} \sum_{k \in P_i} \log \frac{\exp(s_{ik}/\tau)}{\sum_j \exp(s_{ij}/\tau)}

    where :math:`s_{ik}` are inner products, over the query's own key and those of the queue, and :math:`P_i` holds the
    own key and the queue's of its class.

    Args:
        query: unit vectors (B, P).
        own: the first key of each query (B, P).
        keys: the queue's keys (N, P).
        positive: which keys are of the query's class (B, N).
        filled: which keys count at all (N,).
        tau: temperature, > 0.
    """
    others = (query @ keys.T).masked_fill(~filled, -torch.inf)
    log_p = (torch.cat([(query * own).sum(1, keepdim=True), others], 1) / tau).log_softmax(1)
    counts = torch.cat([positive.new_ones(len(query), 1), positive & filled], 1)
    return -(torch.where(counts, log_p, torch.zeros_like(log_p)).sum(1) / counts.sum(1)).mean()

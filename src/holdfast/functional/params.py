"""Maths on lists of parameters: distances to a reference and their gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def squared_distances(params: Sequence[Tensor], anchors: Sequence[Tensor | None]) -> Tensor:
    r""":math:`\|w_i - w_i^0\|_2^2` for each tensor, stacked: (n,).

    Args:
        params: n tensors.
        anchors: their references, of the same shapes; None stands for 0.
    """
    if params and params[0].device.type != "cpu":
        return torch.stack(torch._foreach_norm(differences(params, anchors))).square()
    # one tensor at a time: the difference stays in cache, and no copy of all parameters is made
    return torch.stack([_squared_norm(p if a is None else p - a) for p, a in zip(params, anchors, strict=True)])


def differences(params: Sequence[Tensor], anchors: Sequence[Tensor | None]) -> list[Tensor]:
    r""":math:`w_i - w_i^0` for each tensor, in fresh memory; None stands for a reference of 0."""
    if all(a is not None for a in anchors):
        return list(torch._foreach_sub(list(params), [a for a in anchors if a is not None]))
    return [p.clone() if a is None else p - a for p, a in zip(params, anchors, strict=True)]


def weighted_squares(d: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    r""":math:`\sum_jF_jd_j^2` for each tensor, stacked: (n,)."""
    return torch.stack([(x * f).mul_(x).sum() for x, f in zip(d, weights, strict=True)])


def _squared_norm(d: Tensor) -> Tensor:
    flat = d.detach().reshape(-1)
    return torch.dot(flat, flat)

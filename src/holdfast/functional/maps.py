"""Maths on feature maps of two networks: (B, C, H, W), (B, H, W, C), tokens (B, N, D) or vectors (B, D)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def squared_distance(F: Tensor, F0: Tensor, weights: Tensor | None = None) -> Tensor:
    r""":math:`\sum_{i} a_i (F_i - F^0_i)^2` over all entries, a scalar, differentiable in F.

    One pass forward and one back; sums run in float32 at least.

    Args:
        F: features.
        F0: what they are compared with, of the same shape, in any layout.
        weights: a, broadcast against F; ones where None.
    """
    result: Tensor = _SquaredDistance.apply(F, F0, weights)
    return result


class _SquaredDistance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, F: Tensor, F0: Tensor, weights: Tensor | None) -> Tensor:
        wide = _wide(F)
        d = torch.sub(wide, F0.to(wide.dtype), out=torch.empty_like(wide))
        weighted = d if weights is None else d * weights.to(d.dtype)
        ctx.save_for_backward(weighted.to(F.dtype))
        return torch.dot(_flat(d), _flat(weighted))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, go: Tensor) -> tuple[Tensor, None, None]:
        (weighted,) = ctx.saved_tensors
        return weighted * (2 * go), None, None


def _wide(F: Tensor) -> Tensor:
    """In float32 at least: squares overflow in float16, and sums stall in bfloat16."""
    return F.to(torch.promote_types(F.dtype, torch.float32))


def _flat(z: Tensor) -> Tensor:
    """All entries in the order in which they lie in memory, without a copy where they are dense."""
    strides = z.stride()
    return z.permute(sorted(range(z.ndim), key=lambda axis: -strides[axis])).reshape(-1)

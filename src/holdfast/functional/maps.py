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


def attention(F: Tensor, axis: int, p: float) -> Tensor:
    r"""Normalised spatial attention of each sample: where its features are large.

    .. math:: Q/\|Q\|_2, \qquad Q = \mathrm{vec}\Big(\sum_c |F_c|^p\Big)

    Args:
        F: features (B, ...).
        axis: of the channels c.
        p: power, p >= 1.

    Returns:
        (B, positions), in float32 at least; 0 where a map is 0 everywhere.
    """
    wide = _wide(F)
    powers = wide.square() if p == 2 else wide.abs().pow(p)
    return torch.nn.functional.normalize(powers.sum(axis).flatten(1), dim=1)


def channel_attention(rise: Tensor, temperature: float = 5.0) -> Tensor:
    r"""DELTA's weights of a layer's channels, from the rises of the loss: they sum to 1.

    .. math:: a = \mathrm{softmax}(z/T), \qquad z = (r - \bar r)/\sigma(r)

    with the population deviation σ; where all rises agree, so do the weights.

    Args:
        rise: r, (C,).
        temperature: T.
    """
    centred = rise - rise.mean()
    deviation = centred.square().mean().sqrt()
    z = torch.where(deviation > 0, centred / deviation, torch.zeros_like(centred))
    return torch.softmax(z / temperature, 0)


def distances(Q: Tensor, Q0: Tensor) -> Tensor:
    r""":math:`\|Q_i - Q^0_i\|_2` for each sample, (B,), of unit vectors (B, P).

    The norm has no gradient at 0 and a unit gradient however near: below the square root of the type's precision the
    direction is rounding, and both value and gradient are 0.
    """
    d = Q - Q0
    real = torch.linalg.vector_norm(d.detach(), dim=1, keepdim=True) > torch.finfo(d.dtype).eps ** 0.5
    norms: Tensor = torch.linalg.vector_norm(torch.where(real, d, torch.zeros_like(d)), dim=1)
    return norms


def flow(F1: Tensor, F2: Tensor) -> Tensor:
    r"""The FSP matrix of two layers, for each sample: how their channels go together.

    .. math:: G_{ab} = \frac1{hw}\sum_{s,t} F^1_{s,t,a} F^2_{s,t,b}

    Args:
        F1: maps (B, C₁, H, W), or anything with channels on axis 1 and positions behind.
        F2: the same; where the sizes differ, the larger maps are max-pooled to the smaller.

    Returns:
        (B, C₁, C₂), in float32 at least.
    """
    maps = [_wide(F1), _wide(F2)]
    if F1.ndim == F2.ndim == 4 and F1.shape[2:] != F2.shape[2:]:
        size = [min(a, b) for a, b in zip(F1.shape[2:], F2.shape[2:], strict=True)]
        maps = [torch.nn.functional.adaptive_max_pool2d(F, size) for F in maps]
    first, second = (F.flatten(2) for F in maps)
    with torch.autocast(F1.device.type, enabled=False):  # products of features lose too much in half precision
        return first @ second.transpose(1, 2) / first.shape[2]


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

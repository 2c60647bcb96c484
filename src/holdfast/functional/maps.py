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


def flow_distance(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> Tensor:
    r"""Squared distance of the FSP matrices of two networks, :math:`\sum_i \|G_i - G^0_i\|_F^2`, a scalar.

    .. math:: G_{ab} = \frac1{hw}\sum_{s,t} F^1_{s,t,a} F^2_{s,t,b}

    Where there are more channels than positions the matrices are not made: as
    :math:`G - G^0 = \frac1{hw} A B^\top` with :math:`A = [F^1 - F^{0,1}, F^{0,1}]` and
    :math:`B = [F^2, F^2 - F^{0,2}]`, its square is :math:`\frac1{(hw)^2}\langle A^\top A, B^\top B\rangle`.

    Args:
        student: maps (B, C₁, H, W) and (B, C₂, H, W), or anything with channels on axis 1 and positions behind; where
            the sizes differ, the larger maps are max-pooled to the smaller.
        teacher: what they are compared with, of the same shapes.
    """
    first, second = _at_common_positions(*student)
    first0, second0 = _at_common_positions(*teacher)
    positions = first.shape[2]
    with torch.autocast(first.device.type, enabled=False):  # products of features lose too much in half precision
        if first.shape[1] * second.shape[1] <= (2 * positions) ** 2:
            G, G0 = first @ second.transpose(1, 2), first0 @ second0.transpose(1, 2)
            return squared_distance(G, G0) / positions**2
        A = torch.cat([first - first0, first0], 2)
        B = torch.cat([second, second - second0], 2)
        return ((A.transpose(1, 2) @ A) * (B.transpose(1, 2) @ B)).sum() / positions**2


def _at_common_positions(F1: Tensor, F2: Tensor) -> list[Tensor]:
    """Two maps of one sample as (B, C, positions), in float32 at least."""
    maps = [_wide(F1), _wide(F2)]
    if F1.ndim == F2.ndim == 4 and F1.shape[2:] != F2.shape[2:]:
        size = torch.Size(min(a, b) for a, b in zip(F1.shape[2:], F2.shape[2:], strict=True))
        maps = [F if F.shape[2:] == size else _pooled(F, size) for F in maps]
    return [F.flatten(2) for F in maps]


def _pooled(F: Tensor, size: torch.Size) -> Tensor:
    if all(large % small == 0 for large, small in zip(F.shape[2:], size, strict=True)):
        window = [large // small for large, small in zip(F.shape[2:], size, strict=True)]
        return torch.nn.functional.max_pool2d(F, window)  # the same, and quicker
    return torch.nn.functional.adaptive_max_pool2d(F, list(size))


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

"""Leaving things out at random: entries of features, connections, weights in favour of others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def kept(shape: Sequence[int], q: float, gen: torch.Generator, rank: int = 0, ranks: int = 1) -> Tensor:
    r"""Independent coins, true with probability q.

    Args:
        shape: of the result, (B, ...).
        q: probability that an entry is kept, 0 to 1; taken to the nearest multiple of :math:`2^{-16}`, for a coin costs
            16 random bits. The same coins fall whatever the type of the features.
        gen: source of the numbers.
        rank: which rank's slice is returned, of ``ranks`` equal batches drawn as one along the first axis.
        ranks: number of ranks.

    Returns:
        A boolean tensor on the generator's device.
    """
    each, level = math.prod(shape), round(q * 2**16)
    if level == 2**16:
        return torch.ones(tuple(shape), dtype=torch.bool, device=gen.device)
    words = torch.empty(-(-each * ranks // 4), dtype=torch.int64, device=gen.device)
    drawn = words.random_(-(2**63), None, generator=gen).view(torch.int16)
    return (drawn[each * rank : each * (rank + 1)] < level - 2**15).view(tuple(shape))


def upscale(q: float) -> float:
    """1/q, which keeps the expectation of what is kept with probability q; 0 where nothing is kept."""
    return 1 / q if q else 0.0


def dropped(x: Tensor, keep: Tensor, p: float) -> Tensor:
    r""":math:`m \circ x / (1 - p)`.

    Args:
        x: features or weights.
        keep: m, boolean, of a shape that broadcasts to that of ``x``.
        p: probability that an entry is dropped; at 1 the result is 0.
    """
    result: Tensor = _Dropped.apply(x, keep, upscale(1 - p))
    return result


def connected(rep: Tensor, weight: Tensor, bias: Tensor | None, keep: Tensor, p: float) -> Tensor:
    r""":math:`z_i = (M_i \circ W)\,rep_i / (1 - p) + b`, (B, C).

    Args:
        rep: (B, D).
        weight: W, (C, D).
        bias: b, (C,), never dropped.
        keep: M, boolean: (B, C, D) for a mask for each sample, (C, D) for one mask.
        p: probability that a connection is dropped.
    """
    kept_weight = dropped(weight, keep, p)
    if keep.ndim == 2:
        return F.linear(rep, kept_weight, bias)
    z = torch.bmm(kept_weight, rep.unsqueeze(2)).squeeze(2)
    return z if bias is None else z + bias.to(z.dtype)


def mixed(w: Tensor, w0: Tensor, keep: Tensor, p: float, *, code_gradient: bool = False) -> Tensor:
    r"""Mixout's weight, :math:`\tilde w = (M w^0 + (1 - M) w - p w^0)/(1 - p) = w^0 + (1 - M)(w - w^0)/(1 - p)`.

    Args:
        w: the weight.
        w0: its starting value.
        keep: 1 - M, boolean, of the same shape: true where w is kept.
        p: probability that an entry is replaced; at 1 the result is :math:`w^0`.
        code_gradient: the gradient without its factor 1/(1 - p), as the authors' code has it.
    """
    result: Tensor = _Mixed.apply(w, w0, keep, upscale(1 - p), 1.0 if code_gradient else upscale(1 - p))
    return result


class _Dropped(torch.autograd.Function):
    """x times the coins times a factor, which keeps nothing but the coins for its backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor, factor: float) -> Tensor:
        ctx.save_for_backward(keep)
        ctx.shape, ctx.factor = x.shape, factor
        return _masked(x, keep, factor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (keep,) = ctx.saved_tensors
        return _masked(g, keep, ctx.factor).sum_to_size(ctx.shape), None, None


class _Mixed(torch.autograd.Function):
    """The second form of w̃, which keeps nothing but the coins for its backward pass."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, w0: Tensor, keep: Tensor, factor: float, grad_factor: float) -> Tensor:
        ctx.save_for_backward(keep)
        ctx.grad_factor = grad_factor
        return torch.lerp(w0, w, keep.to(w.dtype).mul_(factor))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (keep,) = ctx.saved_tensors
        return _masked(g, keep, ctx.grad_factor), None, None, None, None


def _masked(x: Tensor, keep: Tensor, factor: float) -> Tensor:
    coins = keep.to(x.dtype)
    return (coins.mul_(x) if coins.shape == x.shape else coins * x).mul_(factor)

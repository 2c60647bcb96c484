"""Leaving things out at random: entries of features, connections, weights in favour of others."""

from __future__ import annotations

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
        q: probability that an entry is kept, 0 to 1.
        gen: source of the numbers; drawn in float32 whatever the features' type, so that a run in half precision keeps
            the same entries.
        rank: which rank's slice is returned, of ``ranks`` equal batches drawn as one along the first axis.
        ranks: number of ranks.

    Returns:
        A boolean tensor on the generator's device.
    """
    first = shape[0] if shape else 1
    drawn = torch.rand((first * ranks, *shape[1:]), generator=gen, device=gen.device, dtype=torch.float32)
    return (drawn[first * rank : first * (rank + 1)] < q).view(tuple(shape))


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
    return torch.where(keep, x * upscale(1 - p), 0.0)


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


class _Mixed(torch.autograd.Function):
    """The second form of w̃, which keeps nothing but the coins for its backward pass."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, w0: Tensor, keep: Tensor, factor: float, grad_factor: float) -> Tensor:
        ctx.save_for_backward(keep)
        ctx.grad_factor = grad_factor
        return torch.where(keep, w - w0, 0.0).mul_(factor).add_(w0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (keep,) = ctx.saved_tensors
        return torch.where(keep, g, 0.0).mul_(ctx.grad_factor), None, None, None, None

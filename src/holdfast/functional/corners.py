r"""Distances with a corner at 0: their values and gradients, smoothed by ε, and the steps that give exact zeros.

Every function takes lists over the same n tensors: differences :math:`d = w - w^0`, and weights F of the same shapes or
None. Groups are the rows of a tensor, its slices along the first dimension: the fan-in of one output channel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Weights = Sequence[Tensor | None]
_NEWTON = 16  # steps; ten are enough where F spans six orders of magnitude within a group


def lasso(d: list[Tensor], eps: float) -> Tensor:
    r""":math:`\sum_j\sqrt{d_j^2 + \varepsilon}` of each tensor, stacked: (n,)."""
    return torch.stack([x.sum() for x in (_roots(d, eps) if eps else torch._foreach_abs(d))])


def lasso_grads(d: list[Tensor], eps: float) -> list[Tensor]:
    r""":math:`d_j/\sqrt{d_j^2 + \varepsilon}`, or the sign of :math:`d_j` where ε = 0; may reuse the memory of d."""
    if not eps:
        return list(torch._foreach_sign(d))
    torch._foreach_div_(d, _roots(d, eps))
    return d


def soft_threshold(d: list[Tensor], thresholds: Sequence[float]) -> list[Tensor]:
    r""":math:`\mathrm{sign}(d_j)\max(|d_j| - c, 0)`, the minimiser of :math:`\frac12(v - d_j)^2 + c|v|`; changes d.

    Args:
        d: differences.
        thresholds: c > 0 of each tensor.
    """
    inside = torch._foreach_clamp_max(d, list(thresholds))
    torch._foreach_clamp_min_(inside, [-c for c in thresholds])
    torch._foreach_sub_(d, inside)
    return d


def group_lasso(d: list[Tensor], F: Weights, eps: float) -> Tensor:
    r""":math:`\sum_g\sqrt{p_g}\,(\sum_{j\in g}F_jd_j^2 + \varepsilon)^{1/2}` of each tensor, stacked: (n,).

    Args:
        d: differences.
        F: weights ≥ 0; None stands for ones.
        eps: ε ≥ 0.
    """
    return torch.stack([_root_p(x) * _norms(x, f, eps).sum() for x, f in zip(d, F, strict=True)])


def group_lasso_grads(d: list[Tensor], F: Weights, eps: float) -> list[Tensor]:
    r""":math:`\sqrt{p_g}F_jd_j/(\sum_{j\in g}F_jd_j^2 + \varepsilon)^{1/2}`, 0 where the root is 0; changes d."""
    for x, f in zip(d, F, strict=True):
        norms = _norms(x, f, eps)
        x.mul_(torch.where(norms > 0, _root_p(x) / norms, 0))
        if f is not None:
            x.mul_(f)
    return d


def shrink_groups(d: list[Tensor], F: Weights, thresholds: Sequence[float]) -> list[Tensor]:
    r"""For each group the minimiser of :math:`\frac12\|v - d\|^2 + c\sqrt{p_g}(\sum_jF_jv_j^2)^{1/2}`; changes d.

    Without weights it is :math:`d\max(1 - c\sqrt{p_g}/\|d\|, 0)`. With them see ``_shrink_weighted``.

    Args:
        d: differences.
        F: weights ≥ 0; None stands for ones.
        thresholds: c > 0 of each tensor.
    """
    for x, f, threshold in zip(d, F, thresholds, strict=True):
        c = threshold * _root_p(x)
        if f is None:
            norms = _norms(x, None, 0.0)
            x.mul_(torch.where(norms > c, 1 - c / norms, 0))
        else:
            for part, weights in zip(*(t.split(_rows(x)) for t in (x, f)), strict=True):
                _shrink_weighted(part, weights, c)
    return d


def zero_groups(d: Tensor) -> Tensor:
    """How many groups are 0, a whole number; numbers whose squares vanish move no weight either."""
    return (_norms(d, None, 0.0) == 0).sum()


def _shrink_weighted(d: Tensor, F: Tensor, c: float) -> None:
    r"""In place :math:`v_j = d_j/(1 + cF_j/r)`, with r > 0 the root of :math:`\sum_jF_jd_j^2/(r + cF_j)^2 = 1`.

    Where :math:`F_j > 0`, v is 0 if :math:`(\sum_jd_j^2/F_j)^{1/2} \le c`; entries with :math:`F_j = 0` stay.
    """
    axes = tuple(range(1, d.dim()))
    frozen = torch.where(F > 0, d.square() / F, 0).sum(axes, keepdim=True).sqrt_() <= c
    b = c * F
    v = d / (b / _root(F.sqrt().mul_(d.abs()), b, frozen)).add_(1)
    d.copy_(torch.where(F > 0, torch.where(frozen, 0, v), d))


def _root(sizes: Tensor, b: Tensor, frozen: Tensor) -> Tensor:
    r"""For each group the r > 0 with :math:`S(r) = \sum_j(q_j/(r + b_j))^2 = 1`, where it is not frozen.

    Newton's method on :math:`S^{-1/2} = 1`: concave in r, so that the steps rise to the root from the left. The largest
    q of a group is the unit of its r, for squares of tiny numbers vanish.
    """
    axes, eps = tuple(range(1, b.dim())), torch.finfo(b.dtype).eps
    unit = sizes.amax(axes, keepdim=True).clamp_(min=torch.finfo(b.dtype).tiny)
    sizes, b = sizes / unit, b / unit
    high: Tensor = torch.linalg.vector_norm(sizes, dim=axes, keepdim=True)  # S ≤ 1 there
    low, r = high * eps, high
    for _ in range(_NEWTON):
        shifted = r + b
        terms = (sizes / shifted).square_()
        S, slope = terms.sum(axes, keepdim=True), terms.div_(shifted).sum(axes, keepdim=True)
        before, r = r, torch.maximum(r + (S.sqrt() - 1) * S / slope, low)
        # on an accelerator the look would cost a sync
        if b.device.type == "cpu" and not bool((((r - before).abs() > max(1e-12, 8 * eps) * r) & ~frozen).any()):
            break
    return r * unit


def _roots(d: list[Tensor], eps: float) -> list[Tensor]:
    squares = torch._foreach_mul(d, d)
    torch._foreach_add_(squares, eps)
    torch._foreach_sqrt_(squares)
    return list(squares)


def _norms(d: Tensor, F: Tensor | None, eps: float) -> Tensor:
    axes = tuple(range(1, d.dim()))
    if F is None:
        norms: Tensor = torch.linalg.vector_norm(d, dim=axes, keepdim=True)
        return norms.square_().add_(eps).sqrt_() if eps else norms
    return d.square().mul_(F).sum(axes, keepdim=True).add_(eps).sqrt_()


def _rows(d: Tensor, limit: int = 1 << 16) -> int:
    """How many groups to work on at a time, so that what is made of them stays in cache; all on an accelerator."""
    return max(1, len(d) if d.device.type != "cpu" else limit * len(d) // max(1, d.numel()))


def _root_p(d: Tensor) -> float:
    """√p, with p the number of entries of a group."""
    return math.sqrt(d.numel() / len(d)) if len(d) else 0.0

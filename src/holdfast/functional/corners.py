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
_FAINT = 1e-18  # beside it, an F whose products with squares vanish holds nothing


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
    r"""In place :math:`v_j = d_j/(1 + F_j/\rho)`, with ρ > 0 the root of :math:`\sum_jF_jd_j^2/(\rho + F_j)^2 = c^2`.

    Where :math:`(\sum_jd_j^2/F_j)^{1/2} \le c` there is no root, and v is 0; entries with :math:`F_j = 0` stay.
    """
    rho = _root((d / c).square_().mul_(F), F)
    # F/ρ is infinite where ρ = 0, and 0/0 where F = 0 there
    d.div_((F / rho).nan_to_num_(nan=0.0, posinf=math.inf).add_(1))


def _root(e: Tensor, F: Tensor) -> Tensor:
    r"""For each group the ρ > 0 with :math:`S(\rho) = \sum_je_j/(\rho + F_j)^2 = 1`; 0 where there is none.

    Newton's method on :math:`S^{-1/2} = 1`, from the root of its asymptote: concave in ρ, so that the steps rise to the
    root from the left. One of relative size s leaves an error of at most 3/2·s²: the last needs no other to confirm it.
    """
    axes, eps = tuple(range(1, e.dim())), torch.finfo(e.dtype).eps
    enough = math.sqrt(max(1e-12, 8 * eps))
    total = e.sum(axes, keepdim=True)
    high = total.sqrt().clamp_(min=_FAINT)
    # 0/0, here and below, where every e is 0
    rho = high - (e * F).sum(axes, keepdim=True).div_(total).nan_to_num_(nan=0.0)
    low = high * eps
    rho = torch.maximum(rho, low)
    for _ in range(_NEWTON):
        shifted = F + rho
        terms = (e / shifted).div_(shifted)
        S = terms.sum(axes, keepdim=True)
        slope = terms.div_(shifted).sum(axes, keepdim=True)
        step = S.sqrt().sub_(1).mul_(S).div_(slope).nan_to_num_(nan=0.0)
        before, rho = rho, torch.maximum(rho + step, low)
        # on an accelerator the look would cost a sync
        if e.device.type == "cpu" and bool(((rho - before).abs_() <= enough * rho).all()):
            break
    return rho.masked_fill_(rho <= low, 0)


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


def _rows(d: Tensor, limit: int = 1 << 18) -> int:
    """How many groups to work on at a time, so that what is made of them stays in cache; all on an accelerator."""
    return max(1, len(d) if d.device.type != "cpu" else limit * len(d) // max(1, d.numel()))


def _root_p(d: Tensor) -> float:
    """√p, with p the number of entries of a group."""
    return math.sqrt(d.numel() / len(d)) if len(d) else 0.0

"""Maths between two gradients, given as lists over the same parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Grads = Sequence[Tensor | None]


def inner_product(a: Grads, b: Grads, like: Tensor) -> Tensor:
    r""":math:`\langle a, b\rangle = \sum_i a_i^\top b_i`, a scalar; a missing entry counts as 0.

    Args:
        a: gradients.
        b: gradients of the same shapes.
        like: gives the device and, where the lists are empty, the type.
    """
    terms = [_dot(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    return torch.stack(terms).sum() if terms else torch.zeros((), device=like.device, dtype=like.dtype)


def conflict(inner: Tensor, task_sq: Tensor) -> Tensor:
    r"""The coefficient c of :math:`\nabla J` in what DTNH removes from :math:`\nabla\Omega`.

    .. math:: c = \min(\langle\nabla J, \nabla\Omega\rangle, 0) / \|\nabla J\|^2

    and 0 where :math:`\nabla J = 0`. The rest :math:`\nabla\Omega - c\nabla J` is orthogonal to :math:`\nabla J`
    wherever they were in conflict.

    Args:
        inner: :math:`\langle\nabla J, \nabla\Omega\rangle`, a scalar.
        task_sq: :math:`\|\nabla J\|^2`, a scalar.
    """
    return torch.where(task_sq > 0, inner.clamp(max=0) / task_sq, torch.zeros_like(inner))


def angle(inner: Tensor, a_sq: Tensor, b_sq: Tensor) -> Tensor:
    """The angle between two gradients in degrees, from their inner product and squared norms; NaN where one is 0."""
    # The product of the squares would leave the range of float32 long before they do.
    return torch.rad2deg(torch.arccos((inner / (a_sq.sqrt() * b_sq.sqrt())).clamp(-1, 1)))


def products(g: Grads, h: Grads, like: Tensor) -> Tensor:
    r""":math:`(\langle g, h\rangle, \|g\|^2, \|h\|^2)`, shape (3,); see ``inner_product``."""
    return torch.stack([inner_product(a, b, like) for a, b in ((g, h), (g, g), (h, h))])


def descent(g: Sequence[Tensor | None], h: Grads, lam: float, c: Tensor) -> list[Tensor | None]:
    r""":math:`d = (1 - \lambda c)\,g + \lambda h`, written into the memory of g where there is a tensor.

    Args:
        g: the task's gradient; changed.
        h: the penalties' gradient, of the same shapes.
        lam: λ.
        c: see ``conflict``, a scalar.
    """
    mine = [a for a in g if a is not None]
    # on an accelerator the look at c would cost a sync
    if mine and (c.device.type != "cpu" or bool(c != 0)):
        torch._foreach_mul_(mine, 1 - lam * c)
    both = [(a, b) for a, b in zip(g, h, strict=True) if a is not None and b is not None]
    if both:
        torch._foreach_add_([a for a, _ in both], [b for _, b in both], alpha=lam)
    return [a if a is not None or b is None else lam * b for a, b in zip(g, h, strict=True)]


def with_descent(found: Tensor, a: Tensor, lam: float) -> Tensor:
    r""":math:`(\langle d, g\rangle, \langle d, h\rangle, \|d\|^2)` for :math:`d = a g + \lambda h`, shape (3,).

    Args:
        found: ``products`` of g and h.
        a: factor of g, a scalar.
        lam: λ.
    """
    inner, g_sq, h_sq = found
    with_g, with_h = a * g_sq + lam * inner, a * inner + lam * h_sq
    return torch.stack([with_g, with_h, a * with_g + lam * with_h])


def sum_angles(found: Tensor, lam: float) -> dict[str, Tensor]:
    r"""How two gradients and their sum :math:`s = g + \lambda h` lie to each other.

    Args:
        found: ``products`` of g and h.
        lam: λ.

    Returns:
        Scalars: ``angle`` between g and h, ``conflict`` (1 where it is obtuse, else 0), ``angle3`` between s and g and
        ``angle4`` between s and h; angles in degrees, NaN where one of the two is 0.
    """
    inner, g_sq, h_sq = found
    s_g, s_h, s_sq = with_descent(found, torch.ones_like(inner), lam)
    return {
        "angle": angle(inner, g_sq, h_sq),
        "conflict": (inner < 0).to(inner.dtype),
        "angle3": angle(s_g, s_sq, g_sq),
        "angle4": angle(s_h, s_sq, h_sq),
    }


def plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """The sum of two gradients, where a missing one counts as 0."""
    return b if a is None else a if b is None else a + b


def _dot(x: Tensor, y: Tensor) -> Tensor:
    if x.dtype in (torch.float16, torch.bfloat16):  # sums of squares overflow or stall there
        x, y = x.float(), y.float()
    if x.stride() == y.stride() and x.is_contiguous():
        return torch.dot(x.reshape(-1), y.reshape(-1))
    return (x * y).sum()

"""Maths on features (B, D, ...) and on the gradient that arrives there."""

from __future__ import annotations

import torch
from torch import Tensor


def pseudo_regression_grad(z: Tensor, t: Tensor, loss: str) -> Tensor:
    r"""Gradient of the pseudo-task loss on each sample's features, summed over them.

    .. math:: u_i = \partial f_{reg}(z_i, t_i) / \partial z_i

    where :math:`f_{reg}` is smooth-L1 with β = 1 (:math:`u = \mathrm{clip}(z - t, -1, 1)`) or
    :math:`\frac12\|z - t\|^2` (:math:`u = z - t`).

    Args:
        z: features (B, D, ...).
        t: targets of the same shape.
        loss: ``"smooth_l1"`` or ``"l2"``.
    """
    return (z - t).clamp_(-1, 1) if loss == "smooth_l1" else z - t


def half_mean_square(z: Tensor) -> Tensor:
    r"""Half the mean squared norm of the samples, :math:`\frac1{2B}\sum_i\|z_i\|_2^2`, for z of shape (B, ...).

    Computed in float32 at least.
    """
    return 0.5 * at_least_single(z).square().sum() / z.shape[0]


def at_least_single(z: Tensor) -> Tensor:
    """The features in float32, or in float64 where they are."""
    return z if z.dtype == torch.float64 else z.float()


def mean_norm(g: Tensor) -> Tensor:
    r"""Mean over the batch of the samples' norms, :math:`\frac1B\sum_i\|g_i\|_2`, for g of shape (B, ...)."""
    norms: Tensor = torch.linalg.vector_norm(g.flatten(1), dim=1)
    return norms.mean()


def balancing_weight(g_task: Tensor, g_other: Tensor, R: float) -> Tensor:
    r"""The weight that makes the mean gradient norms stand in the ratio R.

    .. math:: w = \bar G_{ce} / (\bar G_{other} R)

    Args:
        g_task: mean norm of the task's gradient, a scalar.
        g_other: mean norm of the other loss's gradient, a scalar.
        R: wanted ratio, R > 0; infinity gives 0.

    Returns:
        w, a scalar; 0 where either norm is 0, never NaN for finite norms.
    """
    weight = g_task / (g_other * R)
    return torch.where(g_other > 0, weight, torch.zeros_like(weight))


def smallest_spectrum(F: Tensor, k: int) -> Tensor:
    r"""Sum of the k smallest squared singular values of F, of which there are min(B, D).

    The eigenvectors U of the smaller Gram matrix are held constant in :math:`\|U^\top F\|^2`: to first order they do
    not count, and no difference of eigenvalues enters the gradient, so equal ones do no harm.

    Args:
        F: features (B, D).
        k: number of values, k >= 1; all where there are fewer.

    Returns:
        A scalar, in float32 at least; NaN or infinite where F is, without an error.
    """
    with torch.autocast(F.device.type, enabled=False):
        F = at_least_single(F)
        F = F if F.shape[0] <= F.shape[1] else F.T
        with torch.no_grad():
            gram = torch.nan_to_num(F @ F.T, nan=0.0, posinf=0.0, neginf=0.0)  # eigh raises on those
            U = torch.linalg.eigh(gram).eigenvectors[:, :k]
        total: Tensor = (U.T @ F).square().sum()
        return total

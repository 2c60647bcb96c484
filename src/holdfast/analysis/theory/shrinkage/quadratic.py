"""The minimum of a quadratic with a pull to a starting point: in the Hessian's eigenbasis, and found numerically."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize  # type: ignore[import-untyped]
from torch import Tensor

from holdfast.functional.noise import generator


@dataclass(frozen=True)
class Quadratic:
    """J(w) = ½(w − ŵ)ᵀ H (w − ŵ) with H = PΛPᵀ, and a starting point.

    Attributes:
        eigenvalues: Λ (p,), at least 0.
        basis: P (p, p), one direction a column.
        minimum: ŵ (p,).
        start: w⁰ (p,).
    """

    eigenvalues: Tensor
    basis: Tensor
    minimum: Tensor
    start: Tensor


def draw_quadratic(eigenvalues: Sequence[float]) -> Quadratic:
    """A quadratic of these eigenvalues, in a drawn basis, with drawn minimum and starting point."""
    gen, p = generator("cpu", "shrinkage", "quadratic", len(eigenvalues)), len(eigenvalues)
    drawn = torch.randn(p, p + 2, generator=gen, dtype=torch.float64)
    basis = torch.linalg.qr(drawn[:, :p])[0]
    return Quadratic(torch.tensor(eigenvalues, dtype=torch.float64), basis, drawn[:, p], drawn[:, p + 1])


def share_of_minimum(eigenvalues: Tensor, alpha: float) -> Tensor:
    """λ/(λ + α): how much of ŵ the minimiser keeps in each direction; the rest is w⁰'s, or with L2 the origin's."""
    return eigenvalues / (eigenvalues + alpha)


def minimum_near_start(quadratic: Quadratic, alpha: float) -> Tensor:
    r"""The minimiser of :math:`J(w) + \frac\alpha2\|w - w^0\|^2` by the eigenbasis, for α > 0.

    .. math:: P^T \hat w_{SP} = (\Lambda + \alpha I)^{-1} \Lambda P^T \hat w + \alpha (\Lambda + \alpha I)^{-1} P^T w^0

    Source: Li et al. 2020 (L2-SP), eq. 8.
    """
    share, P = share_of_minimum(quadratic.eigenvalues, alpha), quadratic.basis
    return P @ (share * (P.T @ quadratic.minimum) + (1 - share) * (P.T @ quadratic.start))


def found_minimum(quadratic: Quadratic, alpha: float) -> Tensor:
    """The same minimiser found by a general optimiser (BFGS) that knows the objective and its gradient alone."""
    P = quadratic.basis
    hessian, best, start = (P * quadratic.eigenvalues @ P.T).numpy(), quadratic.minimum.numpy(), quadratic.start.numpy()

    def objective(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope = hessian @ (w - best)
        value = 0.5 * (w - best) @ slope + 0.5 * alpha * (w - start) @ (w - start)
        return float(value), slope + alpha * (w - start)

    found = minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 10_000})
    return torch.from_numpy(found.x)


@dataclass(frozen=True)
class Keeping:
    """How much of the task's minimum is kept at one strength, per eigenvalue.

    Attributes:
        alpha: the strength.
        eigenvalues: λ, of the Hessian.
        closed: λ/(λ + α).
        found: the same share, read off the minimum that the optimiser found.
        off: largest difference of that minimum from the formula's, over the parameters.
    """

    alpha: float
    eigenvalues: list[float]
    closed: list[float]
    found: list[float]
    off: float


def keeping(quadratic: Quadratic, alpha: float) -> Keeping:
    """Compare formula and optimiser at one strength."""
    P, found = quadratic.basis, found_minimum(quadratic, alpha)
    moved = P.T @ (found - quadratic.start) / (P.T @ (quadratic.minimum - quadratic.start))
    off = float((found - minimum_near_start(quadratic, alpha)).abs().max())
    closed = share_of_minimum(quadratic.eigenvalues, alpha)
    return Keeping(alpha, quadratic.eigenvalues.tolist(), closed.tolist(), moved.tolist(), off)

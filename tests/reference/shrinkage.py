"""Shrinkage in linear regression, §5.5 of the L2-SP paper (2020 extension), written out number by number.

J(w) = ½‖Xw − y‖²,  XᵀX = I_p,  y = Xw* + noise of variance σ² per entry,  w⁰ = w* + ε     (§5.5.2)

ŵ = Xᵀy,   ŵ_L2 = Xᵀy/(1+α),   ŵ_SP = Xᵀy/(1+α) + α w⁰/(1+α)                              (eq. 9)
bias²:     0,   α²‖w*‖²/(1+α)²,   α²‖ε‖²/(1+α)²                                            (eq. 10)
variance:  pσ², pσ²/(1+α)²,       pσ²/(1+α)²     (the trace of eq. 11's matrices)
L2-SP beats ŵ for every α if ‖ε‖² < pσ², else for α < 2pσ²/(‖ε‖² − pσ²).

Pᵀŵ_SP = (Λ + αI)⁻¹ Λ Pᵀŵ + α(Λ + αI)⁻¹ Pᵀw⁰,  H = PΛPᵀ                                   (eq. 8, §5.5.1)
"""

from collections.abc import Sequence

Vector = Sequence[float]


def estimates(X: Sequence[Vector], y: Vector, w0: Vector, alpha: float) -> dict[str, list[float]]:
    """Eq. 9: the three estimates."""
    least = [sum(X[i][j] * y[i] for i in range(len(y))) for j in range(len(w0))]
    return {
        "plain": least,
        "l2": [w / (1 + alpha) for w in least],
        "l2_sp": [w / (1 + alpha) + alpha / (1 + alpha) * start for w, start in zip(least, w0, strict=True)],
    }


def risks(truth: Vector, w0: Vector, sigma: float, alpha: float) -> dict[str, tuple[float, float]]:
    """Eqs. 10 and 11: squared bias and summed variance of each estimate."""
    p = len(truth)
    shrunk = 1 / (1 + alpha)
    pulled = alpha / (1 + alpha)
    return {
        "plain": (0.0, sum(sigma**2 for _ in range(p))),
        "l2": (sum((-pulled * w) ** 2 for w in truth), sum((shrunk * sigma) ** 2 for _ in range(p))),
        "l2_sp": (
            sum((pulled * (start - w)) ** 2 for w, start in zip(truth, w0, strict=True)),
            sum((shrunk * sigma) ** 2 for _ in range(p)),
        ),
    }


def beats_least_squares(distance2: float, p: int, sigma: float, alpha: float) -> bool:
    """Whether L2-SP's squared error is below that of ŵ, by the paper's two conditions."""
    spread = p * sigma**2
    return distance2 <= spread or alpha < 2 * spread / (distance2 - spread)


def minimum(eigenvalues: Vector, P: Sequence[Vector], w: Vector, w0: Vector, alpha: float) -> list[float]:
    """Eq. 8, one direction of the eigenbasis after the other; column i of P belongs to eigenvalue i."""
    p = len(w)
    result = [0.0] * p
    for i, eigenvalue in enumerate(eigenvalues):
        along = sum(P[j][i] * w[j] for j in range(p))
        along0 = sum(P[j][i] * w0[j] for j in range(p))
        mixed = eigenvalue / (eigenvalue + alpha) * along + alpha / (eigenvalue + alpha) * along0
        for j in range(p):
            result[j] += P[j][i] * mixed
    return result

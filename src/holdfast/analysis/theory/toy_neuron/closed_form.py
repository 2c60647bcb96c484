"""One neuron that regresses to a target: the variance of its gradient in closed form."""

from __future__ import annotations

LOW, HIGH = 0.5, 1.5
"""Ends of the weight's uniform distribution; positive, so that the neuron is active."""


def feature_variance(x: float) -> float:
    """Var f of f = a·x with a uniform on [LOW, HIGH]."""
    return x**2 * (HIGH - LOW) ** 2 / 12


def gradient_variance(x: float, m: float, kind: str) -> float:
    r"""The corrected eq. 7.

    .. math:: \mathrm{Var}\,\frac{\partial E}{\partial a} = x^2 (\mathrm{Var} f + \mathrm{Var}\,t)

    where Var t = m²/3 for uniform targets and the normal ones that have their variance, 0 for a constant one.

    Source: Zhong & Maki 2020, eqs. 6 and 7, which lack the x² and have a modulus too many.
    """
    return x**2 * (feature_variance(x) + (0.0 if kind == "constant" else m**2 / 3))


def modulus_variance(x: float, m: float) -> float:
    r"""The variance of the printed eq. 6, |f − t|·x, with uniform targets.

    .. math:: x^2 (\mathrm{E}(f-t)^2 - (\mathrm{E}|f-t|)^2)
    """
    square = feature_variance(x) + m**2 / 3 + (x * (LOW + HIGH) / 2 - m) ** 2
    return x**2 * (square - mean_modulus(LOW * x, HIGH * x, m) ** 2)


def mean_modulus(low: float, high: float, m: float) -> float:
    """E|f − t| for f uniform on [low, high], 0 ≤ low < high, and t uniform on [0, 2m)."""
    return (_integral(high, m) - _integral(low, m)) / (high - low)


def _integral(f: float, m: float) -> float:
    """The integral of E|s − t| over s from 0 to f: (s² + (2m − s)²)/4m up to 2m, s − m beyond."""
    if m == 0:
        return f**2 / 2
    inside = min(f, 2 * m)
    return (inside**3 - (2 * m - inside) ** 3 + (2 * m) ** 3) / (12 * m) + ((f - m) ** 2 - m**2) / 2 * (f > 2 * m)


def printed_variance(x: float, m: float) -> float:
    """Var f + Var t for uniform targets, as eq. 7 prints it."""
    return feature_variance(x) + m**2 / 3

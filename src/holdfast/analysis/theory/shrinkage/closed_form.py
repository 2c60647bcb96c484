"""Least squares, L2 and L2-SP in linear regression: bias, variance and thresholds in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Estimator = Literal["plain", "l2", "l2_sp"]
ESTIMATORS: tuple[Estimator, ...] = ("plain", "l2", "l2_sp")


@dataclass(frozen=True)
class Setting:
    """A linear regression of fixed orthonormal design.

    Attributes:
        samples: n, rows of the design.
        predictors: p, at most n.
        noise: σ, deviation of the response's noise.
        size: ‖w*‖, of the true parameters.
        distance: ‖ε‖, from the true parameters to the starting point.
    """

    samples: int = 60
    predictors: int = 20
    noise: float = 0.5
    size: float = 5.0
    distance: float = 1.0

    @property
    def spread(self) -> float:
        """pσ²: the squared error of least squares."""
        return self.predictors * self.noise**2

    def offset(self, estimator: Estimator) -> float:
        """Squared distance from the true parameters to what the estimator shrinks to; 0 for least squares."""
        return {"plain": 0.0, "l2": self.size**2, "l2_sp": self.distance**2}[estimator]


@dataclass(frozen=True)
class Risk:
    """The two parts of an estimator's expected squared error, both in the parameters' unit squared.

    Attributes:
        bias2: squared norm of the bias.
        variance: variances summed over the parameters.
    """

    bias2: float
    variance: float

    @property
    def error(self) -> float:
        """Their sum, the expected squared error."""
        return self.bias2 + self.variance


def risk(estimator: Estimator, alpha: float, setting: Setting) -> Risk:
    r"""The risk in closed form.

    .. math:: \text{bias}^2 = \frac{\alpha^2}{(1+\alpha)^2} d^2, \qquad \text{variance} = \frac{p\sigma^2}{(1+\alpha)^2}

    where d² is ‖w*‖² for L2 and ‖ε‖² for L2-SP; least squares is α = 0.

    Source: Li et al. 2020 (L2-SP), eqs. 10 and 11.
    """
    if estimator == "plain":
        return Risk(0.0, setting.spread)
    return Risk((alpha / (1 + alpha)) ** 2 * setting.offset(estimator), setting.spread / (1 + alpha) ** 2)


def largest_alpha(offset: float, spread: float) -> float:
    r"""The strength up to which shrinking has a smaller squared error than least squares.

    .. math:: \frac{2p\sigma^2}{d^2 - p\sigma^2} \text{ where } d^2 > p\sigma^2, \text{ else } \infty

    Args:
        offset: d², squared distance from the true parameters to what is shrunk to.
        spread: pσ².
    """
    return math.inf if offset <= spread else 2 * spread / (offset - spread)


def largest_offset(alpha: float, spread: float) -> float:
    """The same threshold for d² at a given strength α > 0: pσ²(2 + α)/α."""
    return spread * (2 + alpha) / alpha

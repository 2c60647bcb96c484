"""How well straight lines fit, for many pairs of variables at once, seen batch by batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_ROUNDING = torch.finfo(torch.float32).eps
"""Relative variation below which numbers that were computed in float32 are one number."""


@dataclass(frozen=True)
class Fit:
    """The coefficients of determination.

    Attributes:
        r2: of each pair that has one, in [0, 1], float64.
        constant_before: pairs left out because x does not vary.
        constant_after: pairs left out because y does not vary, though x does.
    """

    r2: Tensor
    constant_before: int
    constant_after: int


class LinearFits:
    r"""R² of the least-squares line from x to y, for each of U pairs of variables.

    .. math:: R^2 = \frac{S_{xy}^2}{S_{xx} S_{yy}}, \qquad S_{xy} = \sum_i (x_i - \bar x)(y_i - \bar y)

    With an intercept it is the squared correlation: the line from y to x has the same. The sums are of differences
    from the first observation, in float64: a constant gives exactly zero, and a mean far from zero costs few digits. A
    variable is constant where its standard deviation is at most float32's rounding of its mean.
    """

    def __init__(self) -> None:
        self.count = 0

    def add(self, x: Tensor, y: Tensor) -> None:
        """Take in observations, both of shape (n, U)."""
        x, y = x.double(), y.double()
        if not self.count:
            self._x0, self._y0 = x[0].clone(), y[0].clone()
            self._sums = x.new_zeros(5, x.shape[1])
        u, v = x - self._x0, y - self._y0
        self._sums += torch.stack([each.sum(0) for each in (u, v, u * u, v * v, u * v)])
        self.count += len(x)

    def fit(self) -> Fit:
        """R² of what was seen so far; every variable is constant after one observation."""
        n = self.count
        su, sv, suu, svv, suv = self._sums
        sxx, syy, sxy = suu - su * su / n, svv - sv * sv / n, suv - su * sv / n
        still_x = sxx / n <= (_ROUNDING * (self._x0 + su / n)) ** 2
        still_y = syy / n <= (_ROUNDING * (self._y0 + sv / n)) ** 2
        varies = ~still_x & ~still_y
        r2 = (sxy[varies] ** 2 / (sxx[varies] * syy[varies])).clamp(0, 1)
        return Fit(r2.cpu(), int(still_x.sum()), int((still_y & ~still_x).sum()))

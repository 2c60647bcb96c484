"""BSS: shrink the smallest singular values of the batch's features (Chen et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from holdfast.core import world
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Step
from holdfast.functional.features import smallest_spectrum


@register
@dataclass(frozen=True)
class BSS(Method):
    r"""Shrinks the smallest singular values of the batch's feature matrix.

    .. math:: \Omega = \eta\sum_{i=1}^k \sigma_{-i}^2

    where :math:`\sigma_{-i}` is the i-th smallest of the min(B, D) singular values of the representations (B, D) of the
    batch, and η = ``eta``. A sum, not a mean.

    No singular value decomposition: the vectors come from the smaller Gram matrix, and with U the k that belong to its
    smallest eigenvalues :math:`\Omega = \eta\|U^\top F\|^2`, whose gradient at constant U, :math:`2\eta UU^\top F`, is
    the exact one.

    Not additive over micro-batches: each has a spectrum of its own. Over ranks it is that of the joined batch.

    Source: Chen et al. 2019.
    """

    stem: ClassVar[str] = "bss"
    taps: ClassVar[tuple[str, ...]] = ("rep",)
    additive: ClassVar[bool] = False

    eta: float = hyper(1e-3, low=0, doc="strength")
    k: int = hyper(1, low=1, doc="how many of the smallest singular values are shrunk")

    def at_zero_strength(self) -> BSS:
        """η = 0."""
        return replace(self, eta=0.0)

    def describe(self, state: State) -> str:
        """Which values are shrunk."""
        which = (
            "smallest squared singular value"
            if self.k == 1
            else f"sum of the {self.k} smallest squared singular values"
        )
        return f"{self.eta:g} × {which} of the batch's representations"

    def penalty(self, step: Step, state: State) -> Tensor | None:
        """η times the sum of the k smallest squared singular values; None at zero strength."""
        if self.eta == 0:
            return None
        return self.eta * smallest_spectrum(world.gathered(step.features("rep").flatten(1)), self.k)

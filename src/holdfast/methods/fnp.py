"""FNP: keep the representation small (Hariharan & Girshick 2017; compared with PtR by Zhong & Maki 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from holdfast.core import balance
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Step
from holdfast.functional.features import half_mean_square, pseudo_regression_grad


@register
@dataclass(frozen=True)
class FNP(Method):
    r"""Penalises the squared norm of the representation.

    .. math:: \Omega = \frac\lambda{2B}\sum_i\|rep_i\|_2^2

    where :math:`rep` (B, D) is the last activation before the final linear layer and any dropout, and λ = ``lam``; a
    batch mean, so micro-batches add up. With ``R`` the strength is not λ but PtR's rule: what is added to the gradient
    at ``rep`` is :math:`w\,rep_i`, with w such that the mean norms of the task's gradient and of the addition stand in
    the ratio R. That is PtR with targets 0 and the squared error, from the first step on; w is a ratio of batch means
    and so not additive, and the addition is no penalty, so it cannot stand inside ``dtnh(...)``.

    Source: Hariharan & Girshick 2017; named FNP in Zhong & Maki 2020, who do not print λ.
    """

    stem: ClassVar[str] = "fnp"
    presets: ClassVar[dict[str, dict[str, object]]] = {"hariharan2017": {"lam": 0.1}}
    taps: ClassVar[tuple[str, ...]] = ("rep",)

    lam: float = hyper(0.001, low=0, doc="strength of the penalty; search 0.0001, 0.001, 0.01, 0.1 on validation")
    R: float | None = hyper(
        None, above=0, infinite=True, doc="balance by the ratio of mean gradient norms in place of lam; 3 as in PtR"
    )

    @property
    def additive(self) -> bool:  # type: ignore[override]
        """Whether micro-batches add up: not where the strength is a ratio of batch means."""
        return self.R is None

    @property
    def penalises(self) -> bool:
        """Without R."""
        return self.R is None

    @property
    def edits_features(self) -> bool:
        """With R."""
        return self.R is not None

    def at_zero_strength(self) -> FNP:
        """λ = 0, or an infinite ratio."""
        return replace(self, lam=0.0) if self.R is None else replace(self, R=math.inf)

    def describe(self, state: State) -> str:
        """The penalty, or the rule of its strength."""
        if self.R is None:
            return f"{self.lam / 2:g}·‖rep‖², mean over the batch"
        return f"½‖rep‖², weighted so that the mean gradient norms stand {self.R:g} to 1"

    def penalty(self, step: Step, state: State) -> Tensor | None:
        """λ times half the mean squared norm; None at zero strength, and where the rule of R acts."""
        if self.R is not None or self.lam == 0:
            return None
        return self.lam * half_mean_square(step.features("rep"))

    def feature_grad(self, tap: str, z: Tensor, g: Tensor, step: Step, state: State) -> Tensor | None:
        """:math:`w rep_i` for each sample, where the rule of R acts."""
        if self.R is None:
            return None
        features = balance.exact(z)
        u = pseudo_regression_grad(features, features.new_zeros(()), "l2")
        w = balance.weight(g, u, self.R)
        balance.report(w, z, step, state)
        return w * u

"""Attention transfer: look where the starting point looks (Zagoruyko & Komodakis 2017)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import Tensor

from holdfast.core.layers import STAGES, ComparesLayers
from holdfast.core.method import State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Step
from holdfast.functional.maps import attention, distances


@register
@dataclass(frozen=True)
class AttentionTransfer(ComparesLayers):
    r"""Pulls the spatial attention of each stage to that of the frozen starting point.

    .. math::
        \Omega = \frac\beta2 \sum_l \frac1n \sum_{i=1}^n
        \Big\|\frac{Q^l_i}{\|Q^l_i\|_2} - \frac{Q^{0,l}_i}{\|Q^{0,l}_i\|_2}\Big\|_2, \qquad
        Q^l_i = \mathrm{vec}\Big(\sum_c |F^l_c(w, x_i)|^p\Big)

    where l runs over the layers, by default the ends of the stages, and Q over positions. A mean over the batch; the
    norm is not squared, with gradient 0 where both agree. Channels and scale of the features are free.

    Source: Zagoruyko & Komodakis 2017, eq. 2, there between two networks; here the teacher is the starting point.
    ``@zagoruyko2017code`` is their repository's objective: squared, a mean over positions too, without ½.
    """

    stem: ClassVar[str] = "attention_transfer"
    spatial: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, object]]] = {
        "zagoruyko2017code": {"beta": 1000.0, "distance": "squared", "half": False},
    }

    beta: float = hyper(0.1, low=0, doc="strength; 0.1 in the paper, 1000 in its code's form")
    layers: str = hyper(STAGES, doc="'stages', or paths of modules joined by commas: 'layer3,layer4'")
    p: float = hyper(2.0, low=1, doc="power of the features")
    distance: Literal["norm", "squared"] = hyper(
        "norm", doc="the norm of each sample's difference, or its square as a mean over positions"
    )
    half: bool = hyper(True, doc="with the factor 1/2 of the paper")

    def at_zero_strength(self) -> AttentionTransfer:
        """β = 0."""
        return replace(self, beta=0.0)

    def describe(self, state: State) -> str:
        """The distance and where it is taken."""
        form = "‖Q/‖Q‖ − Q⁰/‖Q⁰‖‖" + ("" if self.distance == "norm" else "² / positions")
        half = "½·" if self.half else ""
        return (
            f"{self.beta:g}·{half}{form} of Q = Σ_c |F_c|^{self.p:g} at {', '.join(self.tap_names(state))}; "
            "mean over the batch"
        )

    def penalty(self, step: Step, state: State) -> Tensor | None:
        """The weighted sum over the layers; None at zero strength."""
        if self.beta == 0:
            return None
        total = step.task_loss.new_zeros(())
        for layer, F, F0 in self.both(step, state):
            Q, Q0 = (attention(z, layer.axis(z), self.p) for z in (F, F0))
            total = total + (distances(Q, Q0) if self.distance == "norm" else (Q - Q0).square().mean(1)).mean()
        return self.beta * (0.5 if self.half else 1.0) * total

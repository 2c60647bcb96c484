"""L2-SP: pull the network to its starting point, the new head to zero (Li et al. 2018, 2020)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import nn

from holdfast.core.anchored import Anchored, AnchoredState, Pull, in_words
from holdfast.core.closed_form import ClosedForm
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Context, Include, Step


@register
@dataclass(frozen=True)
class L2SP(Method):
    r"""Pulls each pre-trained parameter to its starting value, and the new head to zero.

    .. math:: \Omega(w) = \frac\alpha2\|w_S - w_S^0\|_2^2 + \frac\beta2\|w_{\bar S}\|_2^2

    where :math:`w_S` are the parameters that exist in the source network, :math:`w_S^0` their values when
    ``prepare`` was called, and :math:`w_{\bar S}` the new head's. The gradient, :math:`\alpha(w_S - w_S^0)` and
    :math:`\beta w_{\bar S}`, is written in closed form. Replaces the optimiser's weight decay on what it owns.

    Source: Li, Grandvalet, Davoine 2018; eqs. 2-3 of the 2020 extension. Deviation: all shared parameters by
    default, normalisation and biases included; the authors' code takes weights only (``l2_sp@li2018``). The other
    presets are the objectives of public ports; see the card.
    """

    stem: ClassVar[str] = "l2_sp"
    presets: ClassVar[dict[str, dict[str, object]]] = {
        "li2018": {"include": "weights"},
        "delta2019": {"alpha": 0.01},
        "tllib": {"alpha": 0.01},
        "wan2019": {"half": False, "head": "free"},
        "li2020": {"half": False, "head": "free"},
        "renofeation": {"half": False, "head": "start"},
        "paddle": {"half": False, "squared": False},
    }

    alpha: float = hyper(0.1, low=0, doc="strength on the shared parameters; search 0.001, 0.01, 0.1, 1")
    beta: float = hyper(0.01, low=0, doc="strength on the new head")
    include: Include = hyper("all", doc="which kinds of parameters: weights, then +bias, then +norm, then all")
    half: bool = hyper(True, doc="with the factor 1/2 of the paper")
    head: Literal["zero", "free", "start"] = hyper("zero", doc="the head's reference: zero, none, or its random start")
    squared: bool = hyper(True, doc="squared distances; false sums the distances of the tensors")

    def at_zero_strength(self) -> L2SP:
        """Both strengths 0."""
        return replace(self, alpha=0.0, beta=0.0)

    def bind(self, model: nn.Module, ctx: Context) -> AnchoredState:
        """Copy the starting point, where a pull refers to it."""
        body = ctx.shared(self.include)
        head = [] if self.head == "free" else ctx.head(self.include)
        ctx.start.keep(body if self.head != "start" else [*body, *head])
        return AnchoredState(body, head, ctx.start)

    def owned_parameters(self, state: State) -> list[str]:
        """All that are pulled."""
        assert isinstance(state, AnchoredState)
        return state.names()

    def _pulls(self, state: AnchoredState) -> list[Pull]:
        factor = 0.5 if self.half else 1.0
        # a port that pulls the head to its start uses one strength for both
        beta = self.alpha if self.head == "start" else self.beta
        return [
            Pull(factor * self.alpha, state.body, True),
            Pull(factor * beta, state.head, self.head == "start"),
        ]

    def describe(self, state: State) -> str:
        """Both pulls."""
        assert isinstance(state, AnchoredState)
        return in_words(self._pulls(state), self.include, squared=self.squared)

    def penalty(self, step: Step, state: State) -> ClosedForm | None:
        """The penalty in closed form; None at zero strength."""
        assert isinstance(state, AnchoredState)
        form = Anchored(self._pulls(state), state.start, squared=self.squared)
        return form if form.params else None

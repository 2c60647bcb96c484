"""L2: weight decay as a penalty (Li et al. 2018, 2020)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from holdfast.core.anchored import Anchored, AnchoredState, Pull, in_words
from holdfast.core.closed_form import ClosedForm
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Context, Include, Step


@register
@dataclass(frozen=True)
class L2(Method):
    r"""Pulls every parameter to zero.

    .. math:: \Omega(w) = \frac\alpha2\|w_S\|_2^2 + \frac\beta2\|w_{\bar S}\|_2^2

    where :math:`w_S` are the parameters that exist in the source network and :math:`w_{\bar S}` those of the new
    head. The paper's eq. 1 has one α for both, which is the default here. Replaces the optimiser's weight decay
    on what it owns.

    Source: Li, Grandvalet, Davoine 2018; eq. 1 of the 2020 extension; the separate β is eq. 3's. ``half=false`` gives
    :math:`\alpha\|w\|^2`, as the DTNH and RIFLE papers write it (``l2@wan2019``, ``l2@li2020``).
    """

    stem: ClassVar[str] = "l2"
    presets: ClassVar[dict[str, dict[str, object]]] = {"wan2019": {"half": False}, "li2020": {"half": False}}

    alpha: float = hyper(1e-4, low=0, doc="strength on the parameters of the source network")
    beta: float | None = hyper(None, low=0, doc="strength on the new head; as alpha where not given")
    include: Include = hyper("all", doc="which kinds of parameters: weights, then +bias, then +norm, then all")
    half: bool = hyper(True, doc="with the factor 1/2 of the paper's eq. 1")

    def at_zero_strength(self) -> L2:
        """Both strengths 0."""
        return replace(self, alpha=0.0, beta=0.0)

    def bind(self, model: nn.Module, ctx: Context) -> AnchoredState:
        """Find the parameters."""
        return AnchoredState(ctx.shared(self.include), ctx.head(self.include), ctx.start)

    def owned_parameters(self, state: State) -> list[str]:
        """All that are pulled."""
        assert isinstance(state, AnchoredState)
        return state.names()

    def _pulls(self, state: AnchoredState) -> list[Pull]:
        factor = 0.5 if self.half else 1.0
        beta = self.alpha if self.beta is None else self.beta
        return [Pull(factor * self.alpha, state.body, False), Pull(factor * beta, state.head, False)]

    def describe(self, state: State) -> str:
        """Both pulls."""
        assert isinstance(state, AnchoredState)
        return in_words(self._pulls(state), self.include)

    def penalty(self, step: Step, state: State) -> ClosedForm | None:
        """The penalty in closed form; None at zero strength."""
        assert isinstance(state, AnchoredState)
        form = Anchored(self._pulls(state), state.start)
        return form if form.params else None

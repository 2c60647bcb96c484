"""L2-SP-Fisher: L2-SP with each parameter weighed by its Fisher information (Li et al. 2018, 2020)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from holdfast.core.anchored import REPLACES, Anchored, AnchoredState, Pull, Weighted, counted
from holdfast.core.closed_form import ClosedForm, Joined
from holdfast.core.fisher import Kind
from holdfast.core.information import Information, Sampling
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Batch, Context, Include, Step


@register
@dataclass(frozen=True)
class L2SPFisher(Method):
    r"""Pulls each pre-trained parameter to its starting value, the harder the more the source task depends on it.

    .. math:: \Omega(w) = \frac\alpha2\sum_{j\in S}F_{jj}(w_j - w_j^0)^2 + \frac\beta2\|w_{\bar S}\|_2^2, \qquad
        F_{jj} = \frac1m\sum_i\sum_kf_k(x_i; w^0)\Big(\frac{\partial\log f_k(x_i; w^0)}{\partial w_j}\Big)^2

    where :math:`w_S` are the parameters that exist in the source network, :math:`w_S^0` their values when ``prepare``
    was called, :math:`w_{\bar S}` the new head's, f the source network's class probabilities in evaluation mode
    and :math:`x_i` source inputs. A sum over parameters. F is tiny, so α needs its own grid: ``describe`` gives
    its mean, and α times that compares with the α of ``l2_sp``. F comes from the file that ``holdfast fisher``
    wrote; without one ``calibrate`` measures it on the *target's* training inputs through the source head.

    Source: Li, Grandvalet, Davoine 2018; eq. 4 of the 2020 extension. Deviations: all shared parameters by default, the
    authors' code takes weights only (``l2_sp_fisher@li2018``); it adds ε to F, which is 0 by default there too
    (``fisher_eps``). ``calibrate`` draws one label for each sample by default, where the paper sums over all
    (``kind='exact'``).
    """

    stem: ClassVar[str] = "l2_sp_fisher"
    presets: ClassVar[dict[str, dict[str, object]]] = {"li2018": {"include": "weights"}}

    alpha: float = hyper(1.0, low=0, doc="strength on the shared parameters; see the mean of F")
    beta: float = hyper(0.01, low=0, doc="strength on the new head")
    include: Include = hyper("all", doc="which kinds of parameters: weights, then +bias, then +norm, then all")
    fisher: str | None = hyper(None, doc="file that holdfast fisher wrote; none: calibrate measures F")
    fisher_eps: float = hyper(0.0, low=0, doc="constant that is added to F")
    kind: Kind = hyper("monte_carlo", doc="how calibrate forms the expectation over labels")
    labels: int = hyper(1, low=1, doc="labels of each sample that calibrate draws, or takes as the most probable ones")
    samples: int | None = hyper(None, low=1, doc="training samples that calibrate reads; all where not given")

    def at_zero_strength(self) -> L2SPFisher:
        """Both strengths 0."""
        return replace(self, alpha=0.0, beta=0.0)

    def bind(self, model: nn.Module, ctx: Context) -> AnchoredState:
        """Copy the starting point; find out where F comes from."""
        body = ctx.shared(self.include)
        ctx.start.keep(body)
        sampling = Sampling(self.kind, self.labels, self.samples)
        information = Information(self, self.fisher, self.fisher_eps, body, sampling, ctx) if self.alpha else None
        return AnchoredState(body, ctx.head(self.include), ctx.start, information)

    def owned_parameters(self, state: State) -> list[str]:
        """All that are pulled."""
        assert isinstance(state, AnchoredState)
        return state.names()

    def calibrate(self, model: nn.Module, loader: Iterable[Batch], state: State) -> None:
        """Measure F where no file is given."""
        assert isinstance(state, AnchoredState)
        if state.information is not None:
            state.information.measure(model, loader)

    def describe(self, state: State) -> str:
        """Both pulls, and F's mean and origin."""
        assert isinstance(state, AnchoredState)
        body = f"{self.alpha / 2:g}·Σ F (w − w⁰)² {counted('body', state.body, self.include)}"
        head = f"{self.beta / 2:g}·‖w‖² {counted('head', state.head, self.include)}"
        return "; ".join([body, *([state.information.in_words()] if state.information else []), head]) + REPLACES

    def penalty(self, step: Step, state: State) -> ClosedForm | None:
        """The penalty in closed form; None at zero strength."""
        assert isinstance(state, AnchoredState)
        weighted = [Weighted(self.alpha / 2, state)] if state.information else []
        form = Joined([*weighted, Anchored([Pull(self.beta / 2, state.head, False)], state.start)])
        return form if form.params else None

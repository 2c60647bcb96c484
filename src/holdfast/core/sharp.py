"""Penalties whose gradient jumps at w = w⁰: smoothed for the optimiser, or a proximal step after the optimiser's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Protocol, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from holdfast.core.anchored import REPLACES, Anchored, AnchoredState, Pull, counted
from holdfast.core.clock import Clock
from holdfast.core.closed_form import ClosedForm, Joined, chunks
from holdfast.core.information import Information, weights_of
from holdfast.core.method import Method, State, hyper
from holdfast.core.taken import TakenRates
from holdfast.core.types import Context, Include, ParamRef, Step, trainable
from holdfast.functional import corners
from holdfast.functional.params import differences


class Corner(Protocol):
    """A distance with a corner at 0, on lists of differences d and weights F; see ``functional.corners``."""

    unit: str

    def value(self, d: list[Tensor], F: corners.Weights, eps: float) -> Tensor:
        """Of each tensor, stacked: (n,)."""

    def grads(self, d: list[Tensor], F: corners.Weights, eps: float) -> list[Tensor]:
        """Its gradient; may reuse the memory of d."""

    def shrink(self, d: list[Tensor], F: corners.Weights, thresholds: Sequence[float]) -> list[Tensor]:
        """Its proximal step; may reuse the memory of d."""

    def zeros(self, d: Tensor) -> Tensor:
        """How many units are exactly 0."""

    def units(self, d: Tensor) -> int:
        """How many there are."""


class Entries:
    """The sum of absolute values; a unit is one number. Knows no weights."""

    unit = "numbers"

    def value(self, d: list[Tensor], F: corners.Weights, eps: float) -> Tensor:
        """See ``lasso``."""
        return corners.lasso(d, eps)

    def grads(self, d: list[Tensor], F: corners.Weights, eps: float) -> list[Tensor]:
        """See ``lasso_grads``."""
        return corners.lasso_grads(d, eps)

    def shrink(self, d: list[Tensor], F: corners.Weights, thresholds: Sequence[float]) -> list[Tensor]:
        """See ``soft_threshold``."""
        return corners.soft_threshold(d, thresholds)

    def zeros(self, d: Tensor) -> Tensor:
        """Numbers that are 0."""
        return d.numel() - torch.count_nonzero(d)

    def units(self, d: Tensor) -> int:
        """Numbers."""
        return d.numel()


class Groups:
    """The sum of the norms of groups, a group being the fan-in of one output channel."""

    unit = "channels"
    value = staticmethod(corners.group_lasso)
    grads = staticmethod(corners.group_lasso_grads)
    shrink = staticmethod(corners.shrink_groups)
    zeros = staticmethod(corners.zero_groups)

    def units(self, d: Tensor) -> int:
        """Groups."""
        return len(d)


@dataclass
class SharpState(AnchoredState):
    """Beside the pulled parameters those under the sharp term, the rest of the body, and the rates of the last step.

    ``factor`` is what the run multiplies penalties by in this step.
    """

    sharp: list[ParamRef] = field(default_factory=list)
    rest: list[ParamRef] = field(default_factory=list)
    rates: TakenRates = field(default_factory=TakenRates)
    factor: float = 1.0


class Sharp(ClosedForm):
    """The smoothed sharp term in closed form, on parameters that require a gradient now.

    Args:
        strength: its factor.
        state: of the run.
        corner: the distance.
        eps: what smooths it.
    """

    def __init__(self, strength: float, state: SharpState, corner: Corner, eps: float) -> None:
        refs = list(trainable(state.sharp))
        super().__init__([r.param for r in refs])
        self._anchors, self._weights = state.start.of(refs), weights_of(state.information, refs)
        self._strength, self._corner, self._eps = strength, corner, eps

    def value(self) -> Tensor:
        """The term, a scalar."""
        with torch.no_grad():
            parts = [self._corner.value(*self._at(part), self._eps) for part in chunks(self.params)]
            return self._strength * torch.cat(parts).sum()

    def grads(self, part: slice) -> list[Tensor]:
        """Its gradient, in pieces that stay in cache."""
        result: list[Tensor] = []
        with torch.no_grad():
            for piece in chunks(self.params[part]):
                begin = (part.start or 0) + piece.start
                found = self._corner.grads(*self._at(slice(begin, begin + piece.stop - piece.start)), self._eps)
                torch._foreach_mul_(found, self._strength)
                result += found
        return [g.to(p.dtype) for g, p in zip(result, self.params[part], strict=True)]

    def _at(self, part: slice) -> tuple[list[Tensor], list[Tensor | None]]:
        return in_full(differences(self.params[part], self._anchors[part])), self._weights[part]


def in_full(d: list[Tensor]) -> list[Tensor]:
    """The same in at least 32 bits: ε is lost in 16."""
    return [x.float() if x.dtype in (torch.float16, torch.bfloat16) else x for x in d]


@torch.no_grad()
def proximal_step(state: SharpState, alpha: float, corner: Corner) -> None:
    """Shrink w − w⁰ with thresholds η·α, where η is the rate of the step just taken; report what stays frozen.

    Args:
        state: of the run.
        alpha: strength > 0.
        corner: the distance.
    """
    refs = [r for r in trainable(state.sharp) if state.rates.of(r.param) > 0]
    if not refs:
        return
    params: list[Tensor] = [r.param for r in refs]
    anchors = state.start.of(refs)
    weights, thresholds = weights_of(state.information, refs), [alpha * state.rates.of(r.param) for r in refs]
    zeros = []
    for part in chunks(params):
        d = corner.shrink(in_full(differences(params[part], anchors[part])), weights[part], thresholds[part])
        zeros += [corner.zeros(x) for x in d]
        torch._foreach_add_(d, anchors[part])
        torch._foreach_copy_(params[part], d)
    frozen = torch.stack(zeros).sum()
    state.figures |= {"frozen": frozen, "frozen_share": frozen / sum(corner.units(p) for p in params)}


@dataclass(frozen=True)
class SharpPenalty(Method):
    """What penalties with a corner at w⁰ share; each says which distance, and on which parameters.

    The rest of the shared parameters is under ½α‖w − w⁰‖², the head under ½β‖w‖².
    """

    corner: ClassVar[Corner]
    symbol: ClassVar[str]

    alpha: float = hyper(1e-3, low=0, doc="strength on the shared parameters, no factor 1/2; search 1e-4, 1e-3, 1e-2")
    beta: float = hyper(0.01, low=0, doc="strength on the new head")
    include: Include = hyper("all", doc="which kinds of parameters: weights, then +bias, then +norm, then all")
    form: Literal["smoothed", "proximal"] = hyper(
        "smoothed", doc="a smoothed gradient, or a step after the optimiser's that gives exact zeros of w - w0"
    )
    eps: float = hyper(1e-16, low=0, doc="what is added under the roots of the smoothed form; 0: the sub-gradient")

    @property
    def proximal(self) -> bool:
        """Whether the sharp term acts after the optimiser's step."""
        return self.form == "proximal"

    def at_zero_strength(self) -> Self:
        """Both strengths 0."""
        return replace(self, alpha=0.0, beta=0.0)

    def in_corner(self, ref: ParamRef) -> bool:
        """Whether a shared parameter is under the sharp term; the others are the rest."""
        return True

    def informed(self, refs: list[ParamRef], ctx: Context) -> Information | None:
        """What weighs the entries under the sharp term, if anything."""
        return None

    def bind(self, model: nn.Module, ctx: Context) -> SharpState:
        """Copy the starting point and tell the parameters apart."""
        body = ctx.shared(self.include)
        ctx.start.keep(body)
        sharp = [r for r in body if self.in_corner(r)]
        rest = [r for r in body if not self.in_corner(r)]
        state = SharpState(body, ctx.head(self.include), ctx.start, self.informed(sharp, ctx))
        state.sharp, state.rest, state.rates = sharp, rest, ctx.rates
        return state

    def owned_parameters(self, state: State) -> list[str]:
        """All that are pulled."""
        assert isinstance(state, SharpState)
        return state.names()

    def describe(self, state: State) -> str:
        """The sharp term, its form, the rest and the head."""
        assert isinstance(state, SharpState)
        units = f", {sum(self.corner.units(r.param) for r in state.sharp)} {self.corner.unit}"
        how = f"smoothed by {self.eps:g}" if self.form == "smoothed" else "as a step after the optimiser's"
        on = counted("body", state.sharp, self.include if not state.rest else "weights")
        terms = [f"{self.alpha:g}·{self.symbol}, {how}, {on}{'' if self.corner.unit in on else units}"]
        if state.information is not None and self.alpha:
            terms.append(state.information.in_words())
        if state.rest:
            terms.append(f"{self.alpha / 2:g}·‖w − w⁰‖² {counted('rest of the body', state.rest, self.include)}")
        return "; ".join([*terms, f"{self.beta / 2:g}·‖w‖² {counted('head', state.head, self.include)}"]) + REPLACES

    def penalty(self, step: Step, state: State) -> ClosedForm | None:
        """What reaches the optimiser as a gradient; None at zero strength."""
        assert isinstance(state, SharpState)
        state.factor = step.clock.penalty_factor
        sharp = [Sharp(self.alpha, state, self.corner, self.eps)] if self.alpha and not self.proximal else []
        pulls = [Pull(self.alpha / 2, state.rest, True), Pull(self.beta / 2, state.head, False)]
        form = Joined([*sharp, Anchored(pulls, state.start)])
        return form if form.params else None

    def after_step(self, clock: Clock, state: State, optimizer: Optimizer) -> None:
        """The proximal step, in that form."""
        assert isinstance(state, SharpState)
        if self.proximal and self.alpha:
            proximal_step(state, self.alpha * state.factor, self.corner)

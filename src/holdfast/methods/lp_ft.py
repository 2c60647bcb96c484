"""LP-FT: train the new head alone, then everything from there (Kumar et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn
from torch.optim import Optimizer

from holdfast.core.asleep import Asleep, Probe
from holdfast.core.clock import Clock
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Context


@dataclass
class LPFTState(State):
    """The first phase: its length, and the body that sleeps in it."""

    probe: Probe

    def state_dict(self) -> dict[str, object]:
        """Nothing: ``bind`` finds the body again, and the clock says which phase it is."""
        return {}


@register
@dataclass(frozen=True)
class LPFT(Method):
    r"""Trains the head alone on the starting point's features, then everything.

    .. math::
        t < k: \quad \min_{w_{\bar S}} J(w^0_S, w_{\bar S}), \qquad t \ge k: \quad \min_{w} J(w)

    where t counts optimiser steps, k = ``probe`` · total_steps to the nearest step, :math:`w_{\bar S}` is the new head
    and :math:`w_S` the body. While t < k the body takes no step and is in evaluation mode, so that its features and
    batch-norm's statistics stand still; no backward pass is made through it. From then on it trains, in the modes that
    it had. Additive over micro-batches.

    Source: Kumar et al. 2022, §3.4. Deviations: one optimiser and one schedule run through both phases, so the head's
    momentum is carried over; the paper tunes a rate for each phase, and trains the head to the end on features that it
    computed once.
    """

    stem: ClassVar[str] = "lp_ft"

    probe: float = hyper(0.5, low=0, high=1, doc="share of all optimiser steps in which the head trains alone")

    def at_zero_strength(self) -> LPFT:
        """Everything trains from the first step on."""
        return replace(self, probe=0.0)

    def bind(self, model: nn.Module, ctx: Context) -> LPFTState:
        """Find the body and the length of the first phase."""
        return LPFTState(Probe.of(model, ctx, self.probe, self))

    def describe(self, state: State) -> str:
        """Both phases, in steps."""
        assert isinstance(state, LPFTState)
        body = state.probe.body.parameters
        return (
            f"the head alone for the first {state.probe.steps} steps, in which the body of {len(body)} tensors, "
            f"{sum(p.numel() for p in body)} numbers sleeps in evaluation mode; then everything"
        )

    def asleep(self, clock: Clock, state: State) -> Asleep | None:
        """The body, in the first phase."""
        assert isinstance(state, LPFTState)
        return state.probe.at(clock)

    def after_step(self, clock: Clock, state: State, optimizer: Optimizer) -> None:
        """Log the phase of the step that was taken."""
        assert isinstance(state, LPFTState)
        state.figures["probing"] = float(clock.step <= state.probe.steps)

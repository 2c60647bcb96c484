"""Cyclic learning rate: the whole network's rate runs in equal cycles (Smith 2017; Loshchilov & Hutter 2017)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import nn

from holdfast.core.clock import Clock
from holdfast.core.errors import UsageError
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Context
from holdfast.functional.schedules import annealed, period_at, triangular


@register
@dataclass(frozen=True)
class CyclicLR(Method):
    r"""Splits training into N equal cycles of the learning rate, on every parameter.

    .. math::
        \eta_t = \tfrac12\eta(\cos(\pi\tau/L) + 1) \quad\text{or}\quad
        \eta_t = \eta\,(f + (1 - f)(1 - |2\tau/L - 1|))

    where η is the initial rate of each parameter group, τ counts the steps since the cycle began, L is its length,
    total_steps // N optimiser steps, and f is ``floor``; the second form is ``shape='triangular'``. The last cycle
    takes the remainder of the steps. The method owns the rates of head and body: the host's scheduler is without
    effect.

    Source: comparator of the RIFLE paper, N in {2, 3, 4}. It cites Smith 2017 and describes sharp drops at each
    restart, which only the cosine has: that is the default.

    Raises:
        UsageError: ``total_steps`` is unknown or less than N; a floor is given for the cosine, which has none.
    """

    stem: ClassVar[str] = "cyclic_lr"

    cycles: int = hyper(3, low=0, doc="number of cycles; 2, 3 or 4; 0 leaves the host's rates alone")
    shape: Literal["cosine", "triangular"] = hyper("cosine", doc="shape of the rate within a cycle")
    floor: float = hyper(0.0, low=0, high=1, doc="lowest factor of the triangular shape")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.floor and self.shape == "cosine":
            raise UsageError(
                f"cyclic_lr: floor={self.floor:g} has no meaning for the cosine, which ends at 0: "
                "write shape='triangular', or leave floor out"
            )

    @property
    def owned_rates(self) -> tuple[str, ...]:
        """Those of head and body."""
        return ("head", "body") if self.cycles else ()

    def at_zero_strength(self) -> CyclicLR:
        """No cycles."""
        return replace(self, cycles=0)

    def bind(self, model: nn.Module, ctx: Context) -> State:
        """Check that every cycle has a step."""
        if self.cycles and ctx.clock.require("total_steps", str(self)) < self.cycles:
            total = ctx.clock.total_steps
            raise UsageError(f"{self}: {self.cycles} cycles need as many optimiser steps, total_steps is {total}")
        return State()

    def describe(self, state: State) -> str:
        """The cycles and whose they are."""
        if not self.cycles:
            return "no cycles: the host's rates stay"
        lowest = self.floor if self.shape == "triangular" else 0.0
        return (
            f"rates of head and body in {self.cycles} {self.shape} cycles between {lowest:g} and 1 of their initial "
            "values, whatever the host's schedule"
        )

    def lr_scale(self, clock: Clock, state: State) -> dict[str, float]:
        """The cycle's factor for the step to come."""
        if not self.cycles:
            return {}
        _, tau, length = period_at(clock.step, clock.require("total_steps", str(self)), self.cycles)
        factor = annealed(tau, length) if self.shape == "cosine" else triangular(tau, length, self.floor)
        state.figures["lr_factor"] = factor
        return dict.fromkeys(self.owned_rates, factor)

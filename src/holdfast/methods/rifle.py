"""RIFLE: re-initialise the head in cycles so that gradients reach deep layers again (Li et al. 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.optim import Optimizer

from holdfast.core.clock import Clock
from holdfast.core.errors import UsageError
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Context
from holdfast.functional.noise import generator
from holdfast.functional.schedules import annealed, period_at, printed


@dataclass
class RIFLEState(State):
    """The head, and how often it was re-initialised."""

    head: nn.Linear
    resets: int = 0

    def state_dict(self) -> dict[str, object]:
        """The count; the head is the network's."""
        return {"resets": self.resets}


@register
@dataclass(frozen=True)
class RIFLE(Method):
    r"""Draws the head anew at the start of each period and anneals its learning rate within the period.

    .. math:: W_{FC} \sim N(0, \delta^2), \quad b_{FC} = 0, \qquad \eta_{FC} = \tfrac12\eta(\cos(\pi\tau/P) + 1)

    where :math:`P` = total_steps // periods optimiser steps, τ counts the steps since the period began, η is the
    head group's initial rate and δ = ``std``, by default :math:`1/\sqrt{3\,fan\_in}`, the scale of a fresh linear
    layer. The first period keeps the head it starts with, so there are ``periods`` - 1 re-initialisations; the last
    period takes the remainder of the steps, so none is shorter than P. The body keeps the host's schedule; the
    head's rate does not follow it.

    Source: Li et al. 2020, §3.2. Deviations: the printed formula :math:`\cos(2\pi\tau/P)` ends each period at its
    highest rate, against the text's purpose, so the annealed one is the default (``cycle='printed'`` gives the
    other); Algorithm 1 applies the cycle to all parameters and updates from the weights before the reset, where the
    prose says the head alone and the reset weights must train: we follow the prose. Optimiser state of the head is
    cleared at a reset (``keep_state=true`` keeps it, as the authors' code does).
    """

    stem: ClassVar[str] = "rifle"

    periods: int = hyper(4, low=1, doc="number of periods; the head is drawn anew at the start of all but the first")
    variant: Literal["full", "A", "B"] = hyper("full", doc="A: re-initialisation only; B: cyclic rate only")
    cycle: Literal["annealed", "printed"] = hyper("annealed", doc="shape of the head's rate within a period")
    std: float | None = hyper(
        None, above=0, doc="deviation of the new head's weights; 1/sqrt(3 fan_in) where not given"
    )
    keep_state: bool = hyper(False, doc="keep the optimiser's state of the head at a reset")

    @property
    def owned_rates(self) -> tuple[str, ...]:
        """The head's, unless the variant has no cycle."""
        return () if self.variant == "A" else ("head",)

    def at_zero_strength(self) -> RIFLE:
        """One period without a cycle."""
        return replace(self, periods=1, variant="A")

    def bind(self, model: nn.Module, ctx: Context) -> RIFLEState:
        """Check that every period has a step."""
        total = ctx.clock.require("total_steps", str(self))
        if total < self.periods:
            raise UsageError(f"{self}: {self.periods} periods need as many optimiser steps, total_steps is {total}")
        head = model.get_submodule(ctx.located.head)
        assert isinstance(head, nn.Linear)
        return RIFLEState(head)

    def describe(self, state: State) -> str:
        """Resets and rate, in steps."""
        assert isinstance(state, RIFLEState)
        parts = []
        if self.variant != "B":
            weights = tuple(state.head.weight.shape)
            parts.append(f"head {weights} drawn anew {self.periods - 1} times, deviation {self._deviation(state):.3g}")
        if self.variant != "A":
            parts.append(f"its rate on its own {self.cycle} cycle of {self.periods} periods, whatever the schedule")
        return "; ".join(parts)

    def _deviation(self, state: RIFLEState) -> float:
        return 1 / math.sqrt(3 * state.head.in_features) if self.std is None else self.std

    def lr_scale(self, clock: Clock, state: State) -> dict[str, float]:
        """The cycle's factor for the step to come."""
        if self.variant == "A":
            return {}
        total = clock.require("total_steps", str(self))
        _, tau, length = period_at(clock.step, total, self.periods)
        factor = annealed(tau, length) if self.cycle == "annealed" else printed(tau, total // self.periods)
        state.figures["head_lr_factor"] = factor
        return {"head": factor}

    def after_step(self, clock: Clock, state: State, optimizer: Optimizer) -> None:
        """Re-initialise the head where a new period begins."""
        assert isinstance(state, RIFLEState)
        total = clock.require("total_steps", str(self))
        index, tau, _ = period_at(clock.step, total, self.periods)
        if index > 0 and tau == 0 and self.variant != "B":
            self._reinitialise(state, clock)
            if not self.keep_state:
                for param in state.head.parameters():
                    optimizer.state.pop(param, None)
        state.figures["resets"] = float(state.resets)

    @torch.no_grad()
    def _reinitialise(self, state: RIFLEState, clock: Clock) -> None:
        weight = state.head.weight
        # drawn on the processor, so that every device and every rank gets the same head
        drawn = torch.randn(
            weight.shape, generator=generator("cpu", clock.seed, clock.step, state.key), dtype=weight.dtype
        )
        weight.copy_(drawn * self._deviation(state))
        if state.head.bias is not None:
            state.head.bias.zero_()
        state.resets += 1
        clock.head_resets += 1

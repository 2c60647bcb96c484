"""PtR: regress the representation to random targets, balanced by gradient norms (Zhong & Maki 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from holdfast.core import balance, world
from holdfast.core.clock import Clock
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Context, Step
from holdfast.functional.features import pseudo_regression_grad
from holdfast.functional.noise import pseudo_targets


@dataclass
class PtRState(State):
    """Whether the gate is open, how many head re-initialisations it has seen, and the latch of ``gate='iteration'``."""

    active: bool
    resets_seen: int = 0
    latched: Tensor | float = 0.0


@register
@dataclass(frozen=True)
class PtR(Method):
    r"""Distracts the representation with a regression task that has no solution.

    .. math::
        L_{PtR} = \frac1{BD}\sum_{ij} f_{reg}(rep_{ij}, t_{ij}), \quad t_{ij} \sim U[0, 2m), \qquad
        w = \frac{\bar G_{ce}}{\bar G_{PtR} R}, \qquad \min J + w L_{PtR}

    where :math:`f_{reg}` is smooth-L1 with β = 1 or the squared error, :math:`rep` (B, D) is the last activation
    before the final linear layer and any dropout,
    :math:`\bar G = \frac1B\sum_i\|\partial L / \partial rep_i\|_2` for the task loss J and for :math:`L_{PtR}`, and w
    is a constant for the backward pass. Active once an epoch's mean J has fallen below T.

    One backward pass: the addition to the gradient at ``rep`` is :math:`w\,\partial L_{PtR}/\partial rep` in closed
    form. Homogeneous in the loss scale. Not additive over micro-batches: w is a ratio of batch means, taken per
    micro-batch; over ranks both mean norms are averaged first. w = 0 where either norm is 0.

    Source: Zhong & Maki 2020, Algorithm 1, eqs. 1-5. The text leaves the gate open; here it looks at the previous
    epoch's mean and latches. Normal and constant targets are ours, for ablations.
    """

    stem: ClassVar[str] = "ptr"
    taps: ClassVar[tuple[str, ...]] = ("rep",)
    additive: ClassVar[bool] = False

    R: float = hyper(
        3.0, above=0, infinite=True, doc="wanted ratio of the mean gradient norms; 3 for ResNets, 3 to 5 for VGG-16"
    )
    m: float = hyper(1.0, low=0, doc="mean of the targets; 1 for ResNets, 10 to 15 for VGG-16")
    T: float = hyper(
        1.0, low=0, infinite=True, doc="an epoch's mean task loss below which the gate opens; inf: from the first step"
    )
    loss: Literal["smooth_l1", "l2"] = hyper("smooth_l1", doc="regression loss: smooth_l1 (beta 1) or l2")
    targets: Literal["element", "instance", "gaussian", "constant"] = hyper(
        "element", doc="uniform, for each entry or each sample; normal of the same mean and variance; all equal to m"
    )
    latch: bool = hyper(True, doc="once open, the gate stays open")
    gate: Literal["epoch", "iteration"] = hyper("epoch", doc="what is compared with T: the epoch's mean, or this batch")
    regate: bool = hyper(False, doc="a re-initialised head closes the gate again")

    def at_zero_strength(self) -> PtR:
        """An infinite ratio."""
        return replace(self, R=math.inf)

    def bind(self, model: nn.Module, ctx: Context) -> PtRState:
        """Open the gate where T is infinite."""
        if self.gate == "epoch" and math.isfinite(self.T):
            ctx.clock.require("steps_per_epoch", f"{self} (its gate compares epochs with T)")
        return PtRState(active=math.isinf(self.T))

    def describe(self, state: State) -> str:
        """The regression, its weight and its gate."""
        regression = "smooth-L1" if self.loss == "smooth_l1" else "squared error"
        drawn = {
            "element": f"from U[0, {2 * self.m:g}) for each entry, anew each batch",
            "instance": f"from U[0, {2 * self.m:g}) for each sample, anew each batch",
            "gaussian": f"from N({self.m:g}, {self.m**2 / 3:g}) for each entry, anew each batch",
            "constant": f"that all equal {self.m:g}",
        }[self.targets]
        opens = "at once" if math.isinf(self.T) else f"when the {self.gate}'s task loss falls below {self.T:g}"
        return (
            f"{regression} of rep to targets {drawn}; "
            f"weighted so that the mean gradient norms stand {self.R:g} to 1; active {opens}"
            f"{'' if self.latch else ', not latched'}"
        )

    def feature_grad(self, tap: str, z: Tensor, g: Tensor, step: Step, state: State) -> Tensor | None:
        """:math:`w u_i` for each sample, with u the gradient of its regression loss."""
        assert isinstance(state, PtRState)
        self._heed_resets(step.clock, state)
        state.figures["active"] = float(state.active)
        if self.gate == "epoch" and not state.active:
            return None
        features, gen = balance.exact(z), step.generator(state, z.device)
        t = pseudo_targets(features, self.m, self.targets, gen, world.rank(), world.size())
        u = pseudo_regression_grad(features, t, self.loss)
        w = balance.weight(g, u, self.R)
        if self.gate == "iteration":
            w = w * self._open_now(step, state)
        balance.report(w, z, step, state)
        return w * u

    def after_step(self, clock: Clock, state: State, optimizer: Optimizer) -> None:
        """Look at the epoch that ended."""
        assert isinstance(state, PtRState)
        if clock.epoch_begins and clock.epoch_loss is not None and self.gate == "epoch" and math.isfinite(self.T):
            state.active = clock.epoch_loss < self.T or (self.latch and state.active)
        self._heed_resets(clock, state)

    def _heed_resets(self, clock: Clock, state: PtRState) -> None:
        """Shut the gate where the head is new; asked again before each edit, for RIFLE may act after this method."""
        if self.regate and clock.head_resets > state.resets_seen and math.isfinite(self.T):
            state.active, state.latched, state.resets_seen = False, 0.0, clock.head_resets

    def _open_now(self, step: Step, state: PtRState) -> Tensor:
        """1 where this batch's task loss lies below T, without reading it back from the device."""
        now = (world.mean_over_ranks(step.task_loss.detach()) < self.T).float()
        if self.latch:
            now = torch.maximum(now, torch.as_tensor(state.latched, device=now.device))
            state.latched = now
        state.figures["active"] = now
        return now

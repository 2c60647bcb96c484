"""DisturbLabel: train on a fraction of wrong labels, new ones in every batch (Xie et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from holdfast.core import world
from holdfast.core.clock import Clock
from holdfast.core.errors import UsageError
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Batch, Context
from holdfast.functional.noise import disturbed, generator


@dataclass
class DisturbState(State):
    """The run's clock, and C, the number of classes."""

    clock: Clock
    classes: int

    def state_dict(self) -> dict[str, object]:
        """Nothing: draws are a function of the clock."""
        return {}


@register
@dataclass(frozen=True)
class DisturbLabel(Method):
    r"""Redraws each label with probability p, uniformly over all classes.

    .. math:: \tilde y_i = y_i \text{ with probability } 1 - p, \text{ else } \tilde y_i \sim U\{1, \dots, C\}

    where C is the number of the head's outputs. The true class is among those drawn, so a label becomes wrong with
    probability :math:`p(C - 1)/C`. Every sample decides for itself, anew in every micro-batch; numbers are keyed by
    seed, step and micro-batch, and ranks take slices of one draw. Acts on the labels that ``on_batch`` returns.

    In expectation micro-batches add up; the numbers drawn for four of 8 are not those drawn for one of 32.

    Source: Xie et al. 2016; compared with RIFLE by Li et al. 2020, with p in {0.05, 0.1, 0.2}.
    """

    stem: ClassVar[str] = "disturb_label"
    additive: ClassVar[bool] = False

    p: float = hyper(0.1, low=0, high=1, doc="fraction of labels that are redrawn; 0.05, 0.1 or 0.2")

    def at_zero_strength(self) -> DisturbLabel:
        """No label is redrawn."""
        return replace(self, p=0.0)

    def bind(self, model: nn.Module, ctx: Context) -> DisturbState:
        """Remember the clock and the number of classes."""
        return DisturbState(ctx.clock, ctx.located.out_features)

    def describe(self, state: State) -> str:
        """How many labels are redrawn and how many become wrong."""
        assert isinstance(state, DisturbState)
        wrong = self.p * (state.classes - 1) / state.classes
        return f"{self.p:.3g} of the labels redrawn over all {state.classes} classes in each batch: {wrong:.3g} wrong"

    def on_batch(self, batch: Batch, state: State) -> Batch:
        """The batch with some labels redrawn; the log says which fraction changed."""
        assert isinstance(state, DisturbState)
        y = batch.y
        if self.p == 0:
            return batch
        if y.dim() != 1 or y.is_floating_point():
            raise UsageError(
                f"{self} redraws class indices, one for each sample, got labels of shape {tuple(y.shape)} and type "
                f"{y.dtype}: let what mixes labels stand after it"
            )
        gen = generator(y.device, state.clock.seed, state.clock.step, state.clock.micro, state.key)
        redrawn = disturbed(y, self.p, state.classes, gen, world.rank(), world.size())
        state.figures["changed"] = (redrawn != y).float().mean()
        return replace(batch, y=redrawn)

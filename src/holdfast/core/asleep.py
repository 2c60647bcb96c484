"""Parts of the network that do not train, for a while or for good: no gradient, no step, evaluation mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from holdfast.core import world
from holdfast.core.taps import Inert
from holdfast.functional.schedules import first_steps

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.member import Member
    from holdfast.core.types import Context


@dataclass(frozen=True, eq=False)
class Asleep:
    """What a method puts to sleep.

    Attributes:
        parameters: get no gradient, hence no step, no momentum and no decay.
        modules: are in evaluation mode, each for itself: name children too.
        for_good: throughout the run, so that the parameters are left out of the optimiser's groups.
    """

    parameters: Sequence[nn.Parameter] = ()
    modules: Sequence[nn.Module] = ()
    for_good: bool = False


@dataclass(frozen=True)
class Probe:
    """The first steps of a run, in which the new head trains alone.

    Attributes:
        body: what sleeps meanwhile.
        steps: how many they are.
    """

    body: Asleep
    steps: int

    @classmethod
    def of(cls, model: nn.Module, ctx: Context, share: float, asks: object, *beside: nn.Module) -> Probe:
        """The first share of all optimiser steps; everything but the head, and the network's own mode, is its body.

        Args:
            model: the network.
            ctx: of the run.
            share: 0 ≤ share ≤ 1.
            asks: the method, for the message.
            beside: modules that the method adds, and that sleep too.

        Raises:
            UsageError: the run's ``total_steps`` are not known; names who asks.
        """
        steps = first_steps(share, ctx.clock.require("total_steps", str(asks))) if share else 0
        head = set(model.get_submodule(ctx.located.head).modules())
        modules = [m for m in model.modules() if m not in head and m is not model]
        added = [p for module in beside for p in module.parameters()]
        return cls(Asleep([*(r.param for r in ctx.shared()), *added], modules), steps)

    def at(self, clock: Clock) -> Asleep | None:
        """What sleeps in the step to come."""
        return self.body if clock.step < self.steps else None


class Sleep:
    """Keeps asleep what the methods ask for, whatever mode the host puts the network into.

    It looks before every training forward: a host may call ``train()`` at any time. What wakes trains again in the mode
    that it had. Copies of the network are awake at their next ``train()``.

    Args:
        model: the network.
        members: the bound methods that put something to sleep.
        clock: of the run.
    """

    def __init__(self, model: nn.Module, members: Sequence[Member], clock: Clock) -> None:
        self._model, self._members, self._clock = model, members, clock
        self._own = {id(p) for p in model.parameters()}
        self._now: list[Asleep] = []
        self._parameters: dict[int, nn.Parameter] = {}
        self._modules: dict[int, nn.Module] = {}
        self._trained: dict[int, nn.Module] = {}
        self._handle = model.register_forward_pre_hook(_BeforeForward(self)) if members else None
        self._put([a for a in self._asked() if a.for_good])

    def settle(self) -> None:
        """Put to sleep and wake what the step to come wants so."""
        wanted = self._asked()
        if len(wanted) != len(self._now) or any(a is not b for a, b in zip(wanted, self._now, strict=True)):
            self._put(wanted)
        self._quieten()

    def drop_gradients(self) -> None:
        """Take away what gave a sleeping parameter a gradient all the same, before the optimiser sees it."""
        for p in self._parameters.values():
            p.grad = None

    def bridge(self, loss: Tensor) -> Tensor:
        """The loss, led past the network's parameters that sleep for a while.

        ``DistributedDataParallel`` waits for a sign of every parameter that it saw when it was made.
        """
        lasting = {id(p) for a in self._now if a.for_good for p in a.parameters}
        waiting = [p for key, p in self._parameters.items() if key in self._own and key not in lasting]
        if world.size() == 1 or not waiting:
            return loss
        for p in waiting:
            p.requires_grad_(True)
        bridged: Tensor = _Bridge.apply(loss, *waiting)
        for p in waiting:
            p.requires_grad_(False)
        return bridged

    def remove(self) -> None:
        """Wake everything and let the network alone."""
        if self._handle is not None:
            self._handle.remove()
        self._put([])

    def _asked(self) -> list[Asleep]:
        asked = [m.method.asleep(self._clock, m.state) for m in self._members]
        return [a for a in asked if a is not None]

    def _put(self, wanted: list[Asleep]) -> None:
        parameters = {id(p): p for a in wanted for p in a.parameters}
        modules = {id(m): m for a in wanted for m in a.modules}
        for key, p in self._parameters.items():
            if key not in parameters:
                p.requires_grad_(True)
        for key in [key for key in self._trained if key not in modules]:
            self._trained.pop(key).training = self._model.training
        # one that the user froze is none of ours to wake
        self._parameters = {k: p for k, p in parameters.items() if p.requires_grad or k in self._parameters}
        for p in self._parameters.values():
            p.requires_grad_(False)
        self._now, self._modules = wanted, modules
        self._quieten()

    def _quieten(self) -> None:
        for key, module in self._modules.items():
            if module.training:
                self._trained[key] = module
                module.training = False


class _BeforeForward:
    """The hook on the network; a deep copy or a pickle of it does nothing."""

    def __init__(self, sleep: Sleep) -> None:
        self._sleep = sleep

    def __reduce__(self) -> tuple[type[Inert], tuple[()]]:
        return Inert, ()

    @torch.compiler.disable
    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if torch.is_grad_enabled() and torch._C._current_graph_task_id() == -1:  # no recomputation within backward
            self._sleep.settle()


class _Bridge(torch.autograd.Function):
    """Identity on a loss, with parameters that get no gradient as further leaves."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, *params: Tensor) -> Tensor:
        ctx.count = len(params)
        return loss.view_as(loss)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, go: Tensor) -> tuple[Tensor | None, ...]:
        return go, *([None] * ctx.count)

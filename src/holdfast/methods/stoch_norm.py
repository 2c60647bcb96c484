"""Stochastic normalisation: each channel by the batch's or by the moving statistics, at random (Kou et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from holdfast.core.errors import ModelError
from holdfast.core.inside import Around, Draw, Edit, Places
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Context


@dataclass
class StochNormState(Places):
    """The layers; and for each pass of this step the moving statistics from before it, which a checkpoint needs.

    ``frozen`` counts the layers that were in evaluation mode in a network in training mode.
    """

    frozen: int = field(default=0, kw_only=True)
    before: dict[tuple[object, ...], tuple[Tensor, Tensor]] = field(default_factory=dict, kw_only=True)


@register
@dataclass(frozen=True)
class StochNorm(Method):
    r"""Replaces batch normalisation in training by a random choice of statistics for each channel.

    .. math::
        \hat x_0 = \frac{x - \tilde\mu}{\sqrt{\tilde\sigma^2 + \epsilon}}, \quad
        \hat x_1 = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \quad
        y = \gamma\,((1 - s)\,\hat x_0 + s\,\hat x_1) + \beta, \quad s_c \sim \mathrm{Bernoulli}(p)

    where x (B, C, ...) is the layer's input, :math:`\tilde\mu, \tilde\sigma^2` are its moving statistics from before
    this batch, constants for the gradient, μ, σ² those of the batch, and s (C,) is drawn anew for each layer in each
    training forward. The moving statistics go on as in batch-norm. Evaluation is that of batch-norm.

    p is the probability of the *batch's* statistics: 1 is plain batch-norm. A layer in evaluation mode, frozen by the
    host or by another method, is left as it is. Not additive over micro-batches, as batch-norm is not; all ranks share
    one draw, and each has its own statistics.

    Source: Kou et al. 2020, eqs. 4-6. ``stoch_norm@tllib`` is what that port computes whatever probability it is given.

    Raises:
        ModelError: the network has batch-norm, but none of it keeps moving statistics.
    """

    stem: ClassVar[str] = "stoch_norm"
    presets: ClassVar[dict[str, dict[str, object]]] = {"tllib": {"p": 0.5}}
    additive: ClassVar[bool] = False

    p: float = hyper(0.5, low=0, high=1, doc="probability that a channel is normalised by the batch's statistics")

    def at_zero_strength(self) -> StochNorm:
        """The batch's statistics throughout."""
        return replace(self, p=1.0)

    def bind(self, model: nn.Module, ctx: Context) -> StochNormState:
        """Find the batch-norm layers that keep moving statistics."""
        layers = [(path, module) for path, module in model.named_modules() if isinstance(module, _BatchNorm)]
        paths = [path for path, module in layers if module.running_mean is not None]
        if layers and not paths:
            raise ModelError(
                f"{self}: the batch-norm of {type(model).__name__} keeps no moving statistics to choose from: "
                "build it with track_running_stats=True"
            )
        frozen = sum(model.training and not model.get_submodule(path).training for path in paths)
        return StochNormState(paths=tuple(paths), frozen=frozen)

    def describe(self, state: State) -> str:
        """The layers and the probability; whether they are frozen, so that nothing would happen."""
        assert isinstance(state, StochNormState)
        if not state.paths:
            return "no batch-norm in this network: nothing to do"
        count = len(state.paths)
        if state.frozen == count:
            return f"all {count} batch-norm layers are frozen: nothing to do; let them train (--bn train)"
        frozen = f", {state.frozen} of them frozen" if state.frozen else ""
        return (
            f"{count} batch-norm layers{frozen}, where in training mode: each channel by the batch's statistics "
            f"with probability {self.p:g}, else by the moving ones"
        )

    def edit_forward(self, model: nn.Module, state: State) -> Mapping[str, Edit]:
        """The choice between two outputs of each layer."""
        assert isinstance(state, StochNormState)

        def choose(module: nn.Module, args: tuple[Any, ...], draw: Draw) -> Around:
            return self._choose(module, args, draw, state)

        return dict.fromkeys(state.paths, choose) if self.p < 1 else {}

    def _choose(self, module: nn.Module, args: tuple[Any, ...], draw: Draw, state: StochNormState) -> Around:
        assert isinstance(module, _BatchNorm)
        mean, variance = _before(module, draw, state)
        args, by_batch = yield args
        by_moving = _evaluated(module, args, mean, variance)
        s = draw.shared((module.num_features,), self.p, by_batch.device)
        return torch.where(s.view(-1, *(1,) * (by_batch.ndim - 2)), by_batch, by_moving)


def _before(module: _BatchNorm, draw: Draw, state: StochNormState) -> tuple[Tensor, Tensor]:
    """The moving statistics before this pass; a repeated pass takes those of the first time."""
    if draw.replayed:
        return state.before[draw.key]
    assert module.running_mean is not None
    assert module.running_var is not None
    state.before = {key: kept for key, kept in state.before.items() if key[1] == draw.key[1]}  # this step's
    state.before[draw.key] = module.running_mean.clone(), module.running_var.clone()
    return state.before[draw.key]


def _evaluated(module: _BatchNorm, args: tuple[Any, ...], mean: Tensor, variance: Tensor) -> Any:
    """What the layer gives in evaluation mode by these statistics; an activation that it contains is applied too."""
    now = module.running_mean, module.running_var
    module.running_mean, module.running_var, module.training = mean, variance, False
    try:
        return module.forward(*args)
    finally:
        (module.running_mean, module.running_var), module.training = now, True

"""WiSE-FT: interpolate between the starting point and the fine-tuned weights (Wortsman et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from holdfast.core.errors import UsageError
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.start import StartingPoint
from holdfast.core.types import Context, ParamRef

GRID = tuple(k / 10 for k in range(11))
"""The factors among which ``choose`` looks."""


@dataclass
class WiSEFTState(State):
    """The body's parameters and the starting point, its floating-point buffers there, and what a choice goes by."""

    body: list[ParamRef]
    start: StartingPoint
    buffers: dict[str, Tensor]
    score: Callable[[], float] | None

    def state_dict(self) -> dict[str, Any]:
        """The buffers; ``bind`` finds the rest again, and the composition saves the starting point."""
        return {"buffers": self.buffers}


@register
@dataclass(frozen=True)
class WiSEFT(Method):
    r"""Moves the fine-tuned weights a part of the way back, once, after training.

    .. math:: w_S \leftarrow (1 - a)\, w^0_S + a\, w_S

    where a = ``factor``, :math:`w_S` are the parameters of the body and its floating-point buffers (batch-norm's
    statistics), and :math:`w^0_S` their values when ``prepare`` was called; a = 1 keeps the fine-tuned weights.
    Training itself is left alone. With ``choose`` the factor of the highest validation score among 0, 0.1, …, 1 is
    taken; ties go to the larger one, the less change.

    Source: Wortsman et al. 2022, eq. 1. Deviation: the new head stays as trained. The paper interpolates it too, for
    its starting point classifies without training.
    """

    stem: ClassVar[str] = "wise_ft"

    factor: float = hyper(0.5, low=0, high=1, doc="part of the way from the starting point to the fine-tuned weights")
    choose: bool = hyper(False, doc="take the best of 0, 0.1, …, 1 on validation in place of factor")

    def at_zero_strength(self) -> WiSEFT:
        """The fine-tuned weights."""
        return replace(self, factor=1.0, choose=False)

    def bind(self, model: nn.Module, ctx: Context) -> WiSEFTState:
        """Keep the starting point of the body, and of its buffers."""
        body, head = ctx.shared(), f"{ctx.located.head}."
        ctx.start.keep(body)
        found = {n: b for n, b in model.named_buffers() if b.is_floating_point() and not n.startswith(head)}
        buffers = {name: value.detach().clone() for name, value in found.items()}
        return WiSEFTState(body, ctx.start, buffers, ctx.validation_score(self) if self.choose else None)

    def describe(self, state: State) -> str:
        """What is interpolated, and by which factor."""
        assert isinstance(state, WiSEFTState)
        chosen = "the best on validation of 0, 0.1, …, 1" if self.choose else f"{self.factor:g}"
        return (
            f"after training {len(state.body)} tensors and {len(state.buffers)} buffers of the body go to "
            f"(1 − a)·w⁰ + a·w, a = {chosen}"
        )

    @torch.no_grad()
    def on_fit_end(self, model: nn.Module, state: State) -> dict[str, float]:
        """Interpolate; returns the factor, and the score that it was chosen by."""
        assert isinstance(state, WiSEFTState)
        ways = self._ways(model, state)
        if state.score is None:
            _go(ways, self.factor)
            return {"factor": self.factor}
        tuned = [(here, start, here.clone()) for here, start, _ in ways]
        scores: dict[float, float] = {}
        for factor in GRID:
            _go(tuned, factor)
            found = float(state.score())
            scores[factor] = -math.inf if math.isnan(found) else found
        best = max(scores, key=lambda factor: (scores[factor], factor))
        _go(tuned, best)
        return {"factor": best, "score": scores[best]}

    def _ways(self, model: nn.Module, state: WiSEFTState) -> list[tuple[Tensor, Tensor, Tensor]]:
        """What is overwritten, and both ends of its way."""
        here = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        starts = dict(zip((r.name for r in state.body), state.start.of(state.body), strict=True)) | state.buffers
        if missing := sorted(starts.keys() - here.keys()):
            raise UsageError(f"{self}: no {missing[0]!r} in the network: pass the one that was prepared, or a copy")
        return [(here[name], start.to(here[name].device), here[name]) for name, start in starts.items()]


def _go(ways: list[tuple[Tensor, Tensor, Tensor]], factor: float) -> None:
    for here, start, end in ways:
        here.copy_(torch.lerp(start, end, factor))

"""LwF: keep the source head and its answers on the target's images (Li & Hoiem 2016)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from holdfast.core.asleep import Asleep, Probe
from holdfast.core.clock import Clock
from holdfast.core.locate import Located, representation
from holdfast.core.method import Method, State, hyper
from holdfast.core.recorded import Recorded
from holdfast.core.registry import register
from holdfast.core.types import Batch, Context, Step


@dataclass
class LwFState(State):
    """The source head, which trains along; its values at the start; the answers recorded there; the warm-up."""

    source_head: nn.Module
    start: dict[str, Tensor]
    recorded: Recorded
    located: Located
    probe: Probe

    def state_dict(self) -> dict[str, Any]:
        """Without what ``bind`` finds again."""
        return {name: value for name, value in super().state_dict().items() if name not in ("located", "probe")}


@register
@dataclass(frozen=True)
class LwF(Method):
    r"""Distils the answers that the starting point gives for its own classes.

    .. math::
        \Omega = -\lambda T^2 \frac1B\sum_i\sum_c y'_{ic}\log\hat y'_{ic}, \qquad
        y' = \mathrm{softmax}(z^0/T), \quad \hat y' = \mathrm{softmax}(z/T)

    where z (B, C) are the logits of the source head on the network's representation, :math:`z^0` those of the starting
    point, C the number of source classes, λ = ``lam``. The source head begins as a copy of the pre-trained network's
    own and trains along; it reads the representation before any dropout. A batch mean, so micro-batches add up. In the
    warm-up, the first ``warmup`` of all optimiser steps, the new head trains alone.

    Source: Li & Hoiem 2016, eqs. 2–3. Deviations: :math:`z^0` is computed in every step on the very view that the
    network is trained on, and the term is multiplied by :math:`T^2`, which keeps its gradient's size; the text records
    :math:`z^0` once before training and has no :math:`T^2` (``lwf@li2016``). It trains the new head "to convergence"
    first, which here is a share of the steps.
    """

    stem: ClassVar[str] = "lwf"
    presets: ClassVar[dict[str, dict[str, object]]] = {
        "li2016": {"squared_T": False, "targets": "recorded"},
        "tllib": {"lam": 4.0, "T": 3.0, "warmup": 0.0, "squared_T": False, "targets": "recorded"},
        "avalanche": {"warmup": 0.0, "squared_T": False},
    }
    taps: ClassVar[tuple[str, ...]] = ("rep",)

    lam: float = hyper(1.0, low=0, doc="strength")
    T: float = hyper(2.0, above=0, doc="temperature of both softmaxes")
    warmup: float = hyper(0.1, low=0, high=1, doc="share of all optimiser steps in which the new head trains alone")
    squared_T: bool = hyper(True, doc="multiply by the squared temperature")  # noqa: N815
    targets: Literal["view", "recorded"] = hyper(
        "view", doc="the starting point's answers on the view that is trained on, or recorded once per sample"
    )

    @property
    def needs_teacher(self) -> bool:  # type: ignore[override]
        """Unless the answers are recorded."""
        return self.targets == "view"

    @property
    def calibrates(self) -> bool:
        """Where the answers are recorded."""
        return self.targets == "recorded"

    def at_zero_strength(self) -> LwF:
        """λ = 0 and no warm-up."""
        return replace(self, lam=0.0, warmup=0.0)

    def bind(self, model: nn.Module, ctx: Context) -> LwFState:
        """Copy the source head, and find the body for the warm-up."""
        head = ctx.source_head(self)
        start = {name: value.detach().clone() for name, value in head.state_dict().items()}
        return LwFState(head, start, Recorded(), ctx.located, Probe.of(model, ctx, self.warmup, self, head))

    def describe(self, state: State) -> str:
        """The distillation, what its targets are, and the warm-up."""
        assert isinstance(state, LwFState)
        factor = self.lam * (self.T**2 if self.squared_T else 1)
        when = "recorded before training" if self.targets == "recorded" else "on the same view"
        return (
            f"{factor:g} × cross-entropy of the source head with the starting point's answers {when}, both at "
            f"T={self.T:g}, a batch mean; the source head trains along; the new head alone for the first "
            f"{state.probe.steps} steps"
        )

    def calibrate(self, model: nn.Module, loader: Iterable[Batch], state: State) -> None:
        """Record the starting point's logits of every sample, in evaluation mode."""
        assert isinstance(state, LwFState)
        model.eval()
        with torch.no_grad():
            seen = [(b.index, self._source_logits(representation(model, b.x, state.located), state)) for b in loader]
        state.recorded.keep(seen, self)

    def asleep(self, clock: Clock, state: State) -> Asleep | None:
        """In the warm-up the body and the source head."""
        assert isinstance(state, LwFState)
        return state.probe.at(clock)

    def penalty(self, step: Step, state: State) -> Tensor | None:
        """Ω on the body and the source head; none in the warm-up, in which both sleep."""
        assert isinstance(state, LwFState)
        if self.lam == 0 or state.probe.at(step.clock) is not None:
            return None
        rep = step.features("rep").flatten(1)
        z = state.source_head(rep.to(next(state.source_head.parameters()).dtype))
        if self.targets == "view":
            z0 = self._source_logits(step.teacher("rep").flatten(1), state)
        else:
            z0 = state.recorded.of(step.batch, len(z), self).to(z.device)
        factor = self.lam * (self.T**2 if self.squared_T else 1.0)
        return factor * F.cross_entropy(z / self.T, torch.softmax(z0 / self.T, 1))

    @torch.no_grad()
    def _source_logits(self, rep: Tensor, state: LwFState) -> Tensor:
        """:math:`z^0` (B, C): the source head as it was at the start."""
        if next(iter(state.start.values())).device != rep.device:
            state.start = {name: value.to(rep.device) for name, value in state.start.items()}
        like = next(iter(state.start.values()))
        answers: Tensor = functional_call(state.source_head, state.start, (rep.to(like.dtype),))
        return answers

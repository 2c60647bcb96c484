"""DTNH: a regulariser that never hurts the task loss (Wan et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from holdfast.core.clock import Clock
from holdfast.core.closed_form import chunks
from holdfast.core.errors import ConflictError, UsageError
from holdfast.core.method import Method, State, Sum, hyper
from holdfast.core.registry import register
from holdfast.core.types import Context, Step
from holdfast.functional.grads import angle, conflict, descent, plus, products, sum_angles, with_descent

Grads = list[Tensor | None]


@dataclass
class DTNHState(State):
    """Sums over the micro-batches of one optimiser step, and what was handed out of them (``when='step'``)."""

    task: Grads | None = None
    penalty: Grads | None = None
    given: Grads | None = None

    def state_dict(self) -> dict[str, object]:
        """Nothing: the sums live within one step."""
        return {}


@register
@dataclass(frozen=True)
class DTNH(Method):
    r"""Projects the wrapped penalties' gradient so that it never works against the task's.

    .. math::
        g = \nabla J + \lambda(\nabla\Omega - c\nabla J), \qquad
        c = \min(\langle\nabla J, \nabla\Omega\rangle, 0) / \|\nabla J\|^2

    where J is the task loss, Ω the weighted sum of the wrapped penalties, and the inner product runs over all
    trainable parameters (``scope='all'``: a missing ∇Ω counts as 0, so the head's gradient changes too) or over
    each layer by itself (``scope='layer'``). c = 0 where ∇J = 0. λ = lam · decay^epoch.

    The projection uses gradients averaged over all ranks. Under accumulation it is made per micro-batch, so it is not
    additive; ``when='step'`` projects the accumulated gradients instead, at the cost of three copies
    of them. PtR beside it is part of ∇J; penalties beside it are added unprojected.

    Source: Wan et al. 2019, eqs. 6-7 and Algorithm 1, whose :math:`\nabla J + \lambda\nabla\Omega^y` we follow; the
    text's :math:`d = \lambda J + \ldots` is a misprint.
    """

    stem: ClassVar[str] = "dtnh"
    additive: ClassVar[bool] = False

    inner: Method | Sum
    lam: float = hyper(1.0, low=0, doc="factor of the wrapped sum")
    decay: float = hyper(1.0, above=0, high=1, doc="lam is multiplied by this after each epoch")
    scope: Literal["all", "layer"] = hyper("all", doc="one projection for all parameters, or one per layer")

    when: Literal["batch", "step"] = hyper("batch", doc="project each micro-batch's gradients, or the accumulated ones")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.inner, Method | Sum):
            raise UsageError(f"dtnh wraps a method, got {self.inner!r}: write dtnh(l2_sp(alpha=0.1))")
        object.__setattr__(self, "inner", Sum() + self.inner)
        if not self.children:
            raise UsageError("dtnh wraps at least one penalty: write dtnh(l2_sp(alpha=0.1))")
        for method in self.children:
            if not method.penalises or method.combines_grads:
                raise ConflictError(
                    f"dtnh projects the gradient of penalties, and {method} is none: write it beside dtnh(...) with +"
                )
            if method.proximal:
                raise ConflictError(
                    f"dtnh projects gradients, and the proximal part of {method} is none: write it beside "
                    "dtnh(...) with +, or wrap its smoothed form"
                )

    @property
    def children(self) -> tuple[Method, ...]:
        """The wrapped penalties."""
        return self.inner.methods if isinstance(self.inner, Sum) else (self.inner,)

    def at_zero_strength(self) -> DTNH:
        """λ = 0."""
        return replace(self, lam=0.0)

    def bind(self, model: nn.Module, ctx: Context) -> DTNHState:
        """Start with empty sums."""
        if self.decay < 1:
            ctx.clock.require("steps_per_epoch", f"{self} (lam decays per epoch)")
            if ctx.clock.penalty_decay < 1:
                raise ConflictError(f"{self} and the run's penalty_decay both decay λ: keep one of them")
        return DTNHState()

    def describe(self, state: State) -> str:
        """What is projected, over which parameters, and the strength in effect."""
        over = "all trainable parameters" if self.scope == "all" else "each layer by itself"
        when = "each micro-batch" if self.when == "batch" else "the accumulated gradients"
        decay = "" if self.decay == 1 else f" · {self.decay:g}^epoch"
        wrapped = " + ".join(f"{self.lam:g}{decay} × [{m}]" for m in self.children)
        return f"{wrapped}, the part against the task's gradient removed over {over}, for {when}"

    def wrapped_weight(self, clock: Clock) -> float:
        """λ in the current epoch."""
        return self.lam * self.decay**clock.epoch

    def combine_grads(self, g_task: Grads, g_pen: Sequence[Tensor | None], step: Step, state: State) -> Grads:
        """The task's gradient plus the harmless part of the penalties'; ``g_task`` is changed in place."""
        assert isinstance(state, DTNHState)
        lam = self.wrapped_weight(step.clock)
        state.figures["lam"] = lam
        if lam == 0:
            return g_task
        if self.when == "batch":
            return self._projected(g_task, g_pen, lam, step, state)
        return self._projected_sums(g_task, g_pen, lam, step, state)

    def _projected(self, g: Grads, h: Sequence[Tensor | None], lam: float, step: Step, state: DTNHState) -> Grads:
        total = torch.zeros(3, dtype=step.params[0].dtype, device=step.params[0].device)
        result: Grads = []
        dots = torch.zeros_like(total)
        for region in self._regions(step):
            parts = [slice(region.start + s.start, region.start + s.stop) for s in chunks(step.params[region])]
            found = torch.stack([products(g[part], h[part], total) for part in parts]).sum(0)
            c = conflict(found[0], found[1])
            for part in parts:
                result += descent(g[part], h[part], lam, c)
            total += found
            a = 1 - lam * c
            dots += with_descent(found, a, lam)
        self._report(total, dots, lam, state)
        return result

    def _projected_sums(self, g: Grads, h: Sequence[Tensor | None], lam: float, step: Step, state: DTNHState) -> Grads:
        """What must be added so that the gradients handed out so far sum to the projection of the sums."""
        if state.task is None or step.fresh:
            state.task = state.penalty = state.given = [None] * len(g)
        state.task = [plus(a, b) for a, b in zip(state.task, g, strict=True)]
        state.penalty = [plus(a, b) for a, b in zip(state.penalty or [], h[:], strict=True)]
        copies: Grads = [None if x is None else x.clone() for x in state.task]
        wanted = self._projected(copies, state.penalty, lam, step, state)
        before, state.given = state.given or [], wanted
        return [w if b is None or w is None else w - b for w, b in zip(wanted, before, strict=True)]

    def _regions(self, step: Step) -> list[slice]:
        """Slices of the parameter list that share one projection."""
        if self.scope == "all":
            return [slice(0, len(step.params))]
        regions, begin = [], 0
        for _, group in groupby(step.names, key=lambda name: name.rpartition(".")[0]):
            regions.append(slice(begin, begin := begin + len(list(group))))
        return regions

    def _report(self, total: Tensor, dots: Tensor, lam: float, state: DTNHState) -> None:
        """The angles of the paper's case study, in degrees, from the sums of inner products."""
        _, task_sq, pen_sq = total
        d_task, d_pen, d_sq = dots
        state.figures |= {
            **sum_angles(total, lam),
            "angle1": angle(d_task, d_sq, task_sq),
            "angle2": angle(d_pen, d_sq, pen_sq),
        }

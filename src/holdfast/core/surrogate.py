"""The surrogate loss: its value is J + Ω, its gradient the one that a gradient rule makes of both.

The surgery happens in this function's own backward, so it sees the host's true upstream scale (a gradient scaler,
a division by accumulation steps), and the host only calls ``loss.backward()``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from holdfast.core import world
from holdfast.core.closed_form import ClosedForm, scaled
from holdfast.core.errors import ConflictError
from holdfast.core.types import Step

Term = Tensor | ClosedForm
Grads = list[Tensor | None]


class PenaltyGrads(Sequence[Tensor | None]):
    """The gradient of a sum of penalties on a parameter list, made slice by slice.

    Graph-built terms are differentiated once; closed forms are evaluated when a slice is read, so that no
    full copy of the parameters is kept.
    """

    def __init__(
        self, params: Sequence[Tensor], graph: Grads | None, forms: Sequence[ClosedForm], scale: Tensor
    ) -> None:
        self._params, self._graph, self._scale = params, graph, scale
        self._forms = [(form, {id(p): i for i, p in enumerate(form.params)}) for form in forms]

    def __len__(self) -> int:
        return len(self._params)

    @overload
    def __getitem__(self, index: int) -> Tensor | None: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tensor | None]: ...
    def __getitem__(self, index: int | slice) -> Tensor | list[Tensor | None] | None:
        if isinstance(index, int):
            return self[slice(index, index + 1)][0]
        params = self._params[index]
        total: Grads = [None] * len(params) if self._graph is None else list(self._graph[index])
        for form, at in self._forms:
            mine = [i for i, p in enumerate(params) if id(p) in at]
            for run in _runs(mine, [at[id(params[i])] for i in mine]):
                first = at[id(params[run[0]])]
                grads = scaled(form.grads(slice(first, first + len(run))), self._scale)
                for i, g in zip(run, grads, strict=True):
                    before = total[i]
                    total[i] = g if before is None else before + g
        return total


@dataclass
class Surgery:
    """One step's work for the surrogate's backward.

    Args:
        task: J, with its graph.
        inside: penalties that the rule combines with the task's gradient.
        outside: penalties that are added as they are.
        weight: factor of the inside penalties in the value; ``combine`` applies it to their gradient.
        step: whose ``params`` are everything that trains; told the upstream factor before anything is differentiated,
            and that features are edited on the task's way back alone.
        combine: (task gradient, penalty gradient) → gradient.
        keep: whether the graph is differentiated once more afterwards.
    """

    task: Tensor
    inside: list[Term]
    outside: list[Term]
    weight: float
    step: Step
    combine: Callable[[Grads, Sequence[Tensor | None]], Grads]
    keep: bool = False

    def loss(self) -> Tensor:
        """The scalar that the host differentiates."""
        with torch.no_grad():
            value = self.task.detach().clone()
            for weight, terms in ((self.weight, self.inside), (1.0, self.outside)):
                for term in terms:
                    value = value + weight * (term.total if isinstance(term, ClosedForm) else term.detach())
        result: Tensor = _Surrogate.apply(self, value, *self.step.params)
        return result

    def gradients(self, go: Tensor) -> Grads:
        """The combined gradient on ``params``, scaled by the upstream factor ``go``."""
        step, params = self.step, self.step.params
        step.begins(go)
        inside, outside = _graph_sum(self.inside), _graph_sum(self.outside)
        g_task = self._differentiate(self.task, go, keep=self.keep or inside is not None or outside is not None)
        step.edits = False
        g_in = None if inside is None else self._differentiate(inside, go, keep=self.keep or outside is not None)
        g_out = None if outside is None else self._differentiate(outside, go, keep=False)
        g_task = unshared(world.mean_gradients(g_task, params), [go])
        if g_in is not None:
            g_in = world.mean_gradients(g_in, params)
        result = self.combine(g_task, PenaltyGrads(params, g_in, _forms(self.inside), go))
        rest = PenaltyGrads(params, g_out, _forms(self.outside), go)
        return _added(result, rest) if self.outside else result

    def _differentiate(self, scalar: Tensor, go: Tensor, keep: bool) -> Grads:
        try:
            return list(
                torch.autograd.grad(scalar, self.step.params, go.to(scalar.dtype), retain_graph=keep, allow_unused=True)
            )
        except RuntimeError as error:
            if "heckpoint" in str(error):
                raise ConflictError(
                    "a gradient rule needs torch.autograd.grad, which reentrant checkpointing forbids: "
                    "pass use_reentrant=False to torch.utils.checkpoint.checkpoint"
                ) from error
            raise


class _Surrogate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, surgery: Surgery, value: Tensor, *params: Tensor) -> Tensor:
        ctx.surgery = surgery
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, go: Tensor) -> tuple[Tensor | None, ...]:
        surgery, ctx.surgery = ctx.surgery, None
        if surgery is None:
            raise RuntimeError("this loss was differentiated before: under a gradient rule it can be only once")
        return None, None, *surgery.gradients(go)


class ScaleProbe(torch.autograd.Function):
    """Identity that tells the upstream factor when backward begins."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, tell: Callable[[Tensor], None]) -> Tensor:
        """Pass the loss on."""
        ctx.tell = tell
        return loss.view_as(loss)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, go: Tensor) -> tuple[Tensor, None]:
        """Tell the factor and pass it on."""
        ctx.tell(go)
        return go, None


@torch.enable_grad()  # called inside a backward, where gradients are off
def _graph_sum(terms: Sequence[Term]) -> Tensor | None:
    tensors = [t for t in terms if isinstance(t, Tensor) and t.requires_grad]
    return torch.stack([t.reshape(()) for t in tensors]).sum() if tensors else None


def _forms(terms: Sequence[Term]) -> list[ClosedForm]:
    return [t for t in terms if isinstance(t, ClosedForm)]


def _added(grads: Grads, more: Sequence[Tensor | None]) -> Grads:
    extra = more[slice(None)]
    return [b if a is None else a if b is None else a + b for a, b in zip(grads, extra, strict=True)]


def _runs(mine: Sequence[int], places: Sequence[int]) -> list[list[int]]:
    """``mine`` cut into runs whose ``places`` are consecutive: a form may list the parameters in another order."""
    runs: list[list[int]] = []
    for k, i in enumerate(mine):
        if k and places[k] == places[k - 1] + 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    return runs


def unshared(grads: Grads, others: Sequence[Tensor] = ()) -> Grads:
    """The same gradients, so that a rule may change them in place: none shares memory with another or with others."""
    seen = {t.untyped_storage().data_ptr() for t in others}
    result: Grads = []
    for g in grads:
        if g is not None and (g.untyped_storage().data_ptr() in seen or 0 in g.stride()):
            g = g.clone(memory_format=torch.contiguous_format)
        if g is not None:
            seen.add(g.untyped_storage().data_ptr())
        result.append(g)
    return result


def leaves(scalar: Tensor) -> list[Tensor]:
    """Every leaf that the scalar's graph would accumulate a gradient into."""
    found, seen, queue = [], set(), [scalar.grad_fn]
    while queue:
        node = queue.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        queue.extend(parent for parent, _ in node.next_functions)
    return found

"""Penalties on parameters that know their gradient: no graph, no second copy kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class ClosedForm(ABC):
    """A weighted penalty on a list of parameters.

    Args:
        params: what it acts on, each once.
    """

    def __init__(self, params: Sequence[Tensor]) -> None:
        self.params = list(params)

    @abstractmethod
    def value(self) -> Tensor:
        """The penalty, a scalar."""

    @abstractmethod
    def grads(self, part: slice) -> list[Tensor]:
        """Its gradient on ``params[part]``, in fresh tensors."""

    @cached_property
    def total(self) -> Tensor:
        """``value``, computed once: parameters do not change within a step."""
        return self.value()

    def as_tensor(self) -> Tensor:
        """The value as a differentiable scalar whose backward writes the closed form."""
        result: Tensor = _Value.apply(self, *self.params)
        return result


class Joined(ClosedForm):
    """The sum of closed forms that share no parameter.

    Args:
        forms: those without parameters are left out.
    """

    def __init__(self, forms: Sequence[ClosedForm]) -> None:
        self._forms = [form for form in forms if form.params]
        super().__init__([p for form in self._forms for p in form.params])

    def value(self) -> Tensor:
        """The penalty, a scalar."""
        return torch.stack([form.total for form in self._forms]).sum()

    def grads(self, part: slice) -> list[Tensor]:
        """Each form's gradient on its own parameters."""
        begin, end, _ = part.indices(len(self.params))
        result: list[Tensor] = []
        for form in self._forms:
            size = len(form.params)
            if (first := max(begin, 0)) < (last := min(end, size)):
                result += form.grads(slice(first, last))
            begin, end = begin - size, end - size
        return result


class Times(ClosedForm):
    """A closed form times a number.

    Args:
        form: the penalty.
        factor: of its value and its gradient.
    """

    def __init__(self, form: ClosedForm, factor: float) -> None:
        super().__init__(form.params)
        self._form, self._factor = form, factor

    def value(self) -> Tensor:
        """The penalty, a scalar."""
        return self._factor * self._form.total

    def grads(self, part: slice) -> list[Tensor]:
        """The form's gradient times the factor."""
        grads = self._form.grads(part)
        if grads:
            torch._foreach_mul_(grads, self._factor)
        return grads


class _Value(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, form: ClosedForm, *params: Tensor) -> Tensor:
        ctx.form = form
        return form.total.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, go: Tensor) -> tuple[Tensor | None, ...]:
        return None, *scaled(ctx.form.grads(slice(None)), go)


def scaled(grads: list[Tensor], scale: Tensor) -> list[Tensor]:
    """Gradients times the upstream factor, in place; no pass over them where the factor is seen to be 1."""
    if scale.device.type != "cpu" or scale.item() != 1:  # on an accelerator the look would cost a sync
        torch._foreach_mul_(grads, scale)
    return grads


def chunks(params: Sequence[Tensor], limit: int = 1 << 20) -> list[slice]:
    """Slices of a parameter list of about ``limit`` entries each: small enough that temporaries stay in cache.

    On an accelerator one slice holds everything: there fused kernels count, not the cache.
    """
    if params and params[0].device.type != "cpu":
        return [slice(0, len(params))]
    result, begin, filled = [], 0, 0
    for i, p in enumerate(params):
        if filled and filled + p.numel() > limit:
            result.append(slice(begin, i))
            begin, filled = i, 0
        filled += p.numel()
    return [*result, slice(begin, len(params))] if params else []

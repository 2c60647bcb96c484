"""Mixout: weights are replaced at random by those of the starting point (Lee, Cho & Kang 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import nn

from holdfast.core.errors import ModelError
from holdfast.core.inside import Around, Draw, Edit
from holdfast.core.meta import called
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.start import StartingPoint
from holdfast.core.types import Context, ParamRef
from holdfast.functional.dropping import mixed


@dataclass
class MixoutState(State):
    """The kernels by the module whose forward reads them, and the starting point that all methods share."""

    kernels: dict[str, list[ParamRef]]
    start: StartingPoint

    def state_dict(self) -> dict[str, object]:
        """Nothing: ``bind`` finds the kernels again, and the composition saves the starting point."""
        return {}


@register
@dataclass(frozen=True)
class Mixout(Method):
    r"""Computes training forwards with weights that are mixed with the starting point.

    .. math::
        \tilde w = \frac{M \circ w^0 + (1 - M) \circ w - p\,w^0}{1 - p}, \qquad M_j \sim \mathrm{Bernoulli}(p)

    where w is a kernel of a linear layer or a convolution of the body, :math:`w^0` its value when ``prepare`` was
    called, and M has its shape, drawn anew in each training forward. The expectation of :math:`\tilde w` is w, and
    evaluation uses w. The gradient that reaches w is that of the formula, :math:`(1 - M)/(1 - p)` times the one at
    :math:`\tilde w`. Biases, normalisation, embeddings of tokens and the head stay as they are.

    p is the probability to *replace*. Not additive over micro-batches, for each draws its own masks; all ranks share
    one draw.

    Source: Lee, Cho & Kang 2020, eq. 4. Deviation: the authors' code leaves out 1/(1 - p) in the gradient
    (``code_gradient=true``, ``mixout@lee2020``), and mixes the head with 0, which is dropout on its weights.

    Raises:
        ModelError: the body has no such kernel.
    """

    stem: ClassVar[str] = "mixout"
    presets: ClassVar[dict[str, dict[str, object]]] = {"lee2020": {"code_gradient": True}}
    additive: ClassVar[bool] = False

    p: float = hyper(0.7, low=0, high=1, doc="probability to replace a weight; 0.7, 0.8 or 0.9")
    code_gradient: bool = hyper(False, doc="the gradient without 1/(1 - p), as in the authors' code")

    def at_zero_strength(self) -> Mixout:
        """Nothing is replaced."""
        return replace(self, p=0.0)

    def bind(self, model: nn.Module, ctx: Context) -> MixoutState:
        """Find the kernels and copy their starting values."""
        refs = [r for r in ctx.shared("weights") if not isinstance(_owner(model, r), nn.Embedding)]
        if not refs:
            raise ModelError(f"{self}: {type(model).__name__} has no linear layer and no convolution beside its head")
        kernels: dict[str, list[ParamRef]] = {}
        ran = called(model)
        for ref in refs:
            kernels.setdefault(_reader(ref.name, ran), []).append(ref)
        if self.p:
            ctx.start.keep(refs)
        return MixoutState(kernels, ctx.start)

    def describe(self, state: State) -> str:
        """The kernels and the probability."""
        assert isinstance(state, MixoutState)
        refs = [ref for group in state.kernels.values() for ref in group]
        return (
            f"{len(refs)} kernels of the body, {sum(r.param.numel() for r in refs)} numbers: each replaced by its "
            f"starting value with probability {self.p:g} in training"
        )

    def edit_forward(self, model: nn.Module, state: State) -> Mapping[str, Edit]:
        """Mixed kernels in the forward of each module that reads them."""
        assert isinstance(state, MixoutState)
        if not self.p:
            return {}
        return {path: self._edit(model, refs, state.start) for path, refs in state.kernels.items()}

    def _edit(self, model: nn.Module, refs: list[ParamRef], start: StartingPoint) -> Edit:
        owners = [_owner(model, ref) for ref in refs]

        def edit(module: nn.Module, args: tuple[Any, ...], draw: Draw) -> Around:
            for ref, owner, w0 in zip(refs, owners, start.of(refs), strict=True):
                keep = draw.shared(w0.shape, 1 - self.p, w0.device, ref.name)
                w = mixed(ref.param, w0, keep, self.p, code_gradient=self.code_gradient)
                owner._parameters[_leaf(ref)] = w  # type: ignore[assignment]  # as torch.func.functional_call does
            try:
                yield args
            finally:
                for ref, owner in zip(refs, owners, strict=True):
                    owner._parameters[_leaf(ref)] = ref.param

        return edit


def _owner(model: nn.Module, ref: ParamRef) -> nn.Module:
    return model.get_submodule(ref.name.rpartition(".")[0])


def _leaf(ref: ParamRef) -> str:
    return ref.name.rpartition(".")[2]


def _reader(name: str, ran: set[str]) -> str:
    """The module whose forward reads a parameter: its layer, or where that is never called the one around it."""
    path = name.rpartition(".")[0]
    while path and path not in ran:
        path = path.rpartition(".")[0]
    return path

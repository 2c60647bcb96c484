"""DropConnect on the head: connections are left out at random (Wan et al. 2013)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from torch import nn

from holdfast.core.inside import Around, Draw, Edit, Places
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Context
from holdfast.functional.dropping import connected


@register
@dataclass(frozen=True)
class DropConnect(Method):
    r"""Drops each of the head's weights with probability p.

    .. math:: z_i = (M_i \circ W)\,rep_i/(1 - p) + b, \qquad M_{icd} \sim \mathrm{Bernoulli}(1 - p)

    where :math:`rep` (B, D) is the head's input, W (C, D) and b (C,) are its weights and bias, and M (B, C, D) has
    independent entries, drawn anew in each training forward; ``mask='batch'`` draws one (C, D) for the batch. The
    bias is never dropped. Scaled in training, so that evaluation is that of the plain network.

    p is the probability to *drop*. Not additive over micro-batches, for each draws its own masks; over ranks one draw
    is sliced.

    Source: Wan et al. 2013; a comparator of the RIFLE paper with p in {0.1, 0.2, 0.5}. Deviation: the paper's
    evaluation averages activations over draws from a Gaussian; here it uses W as it is.
    """

    stem: ClassVar[str] = "drop_connect"
    additive: ClassVar[bool] = False

    p: float = hyper(0.5, low=0, high=1, doc="probability to drop a weight; 0.1, 0.2 or 0.5")
    mask: Literal["sample", "batch"] = hyper("sample", doc="a mask for each sample, as in the paper, or for the batch")

    def at_zero_strength(self) -> DropConnect:
        """Nothing is dropped."""
        return replace(self, p=0.0)

    def bind(self, model: nn.Module, ctx: Context) -> Places:
        """The head."""
        return Places(paths=(ctx.located.head,))

    def describe(self, state: State) -> str:
        """The probability and the place."""
        assert isinstance(state, Places)
        where = f"each weight of '{state.paths[0]}' dropped with probability {self.p:g} in training"
        return f"{where}, anew for each {self.mask}; its bias is kept"

    def edit_forward(self, model: nn.Module, state: State) -> Mapping[str, Edit]:
        """Masks on the head's weights."""
        assert isinstance(state, Places)
        return dict.fromkeys(state.paths, self._masks) if self.p else {}

    def _masks(self, module: nn.Module, args: tuple[Any, ...], draw: Draw) -> Around:
        assert isinstance(module, nn.Linear)
        args, _ = yield args  # as others left them, a dropout of the features say
        rep, shape = args[0], module.weight.shape
        if self.mask == "sample":
            keep = draw.per_sample((len(rep), *shape), 1 - self.p, rep.device)
        else:
            keep = draw.shared(shape, 1 - self.p, rep.device)
        return connected(rep, module.weight, module.bias, keep, self.p)

"""Dropout on the head: features are left out at random (Srivastava et al. 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import nn

from holdfast.core.inside import Around, Draw, Edit, Places
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Context
from holdfast.functional.dropping import dropped


@register
@dataclass(frozen=True)
class Dropout(Method):
    r"""Drops each feature of the head's input with probability p.

    .. math:: z = W(m \circ rep)/(1 - p) + b, \qquad m_{ij} \sim \mathrm{Bernoulli}(1 - p)

    where :math:`rep` (B, D) is the representation, m (B, D) has independent entries, drawn anew in each training
    forward, and W, b are the head's. Scaled in training, so that evaluation is that of the plain network. Methods
    that look at ``rep`` see it before the dropout.

    p is the probability to *drop*. A dropout that the network has of its own stays, and the two act one after the
    other. Not additive over micro-batches, for each draws its own mask; over ranks one draw is sliced.

    Source: Srivastava et al. 2014; a comparator of the RIFLE paper with p in {0.1, 0.2, 0.5}.
    """

    stem: ClassVar[str] = "dropout"
    additive: ClassVar[bool] = False

    p: float = hyper(0.5, low=0, high=1, doc="probability to drop a feature; 0.1, 0.2 or 0.5")

    def at_zero_strength(self) -> Dropout:
        """Nothing is dropped."""
        return replace(self, p=0.0)

    def bind(self, model: nn.Module, ctx: Context) -> Places:
        """The head."""
        return Places(paths=(ctx.located.head,))

    def describe(self, state: State) -> str:
        """The probability and the place."""
        assert isinstance(state, Places)
        return f"each feature that enters '{state.paths[0]}' dropped with probability {self.p:g} in training"

    def edit_forward(self, model: nn.Module, state: State) -> Mapping[str, Edit]:
        """A mask on the head's input."""
        assert isinstance(state, Places)
        return dict.fromkeys(state.paths, self._mask) if self.p else {}

    def _mask(self, module: nn.Module, args: tuple[Any, ...], draw: Draw) -> Around:
        rep, *rest = args
        yield dropped(rep, draw.per_sample(rep.shape, 1 - self.p, rep.device), self.p), *rest

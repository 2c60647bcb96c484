"""Dropout on convolutional layers: entries or channels of their maps are left out at random."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from holdfast.core.errors import ModelError
from holdfast.core.inside import Around, Draw, Edit, Places, named, suggestion
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Context
from holdfast.functional.dropping import dropped


@register
@dataclass(frozen=True)
class ConvDropout(Method):
    r"""Drops entries of what convolutions give, with probability p.

    .. math:: F \leftarrow m \circ F/(1 - p), \qquad m \sim \mathrm{Bernoulli}(1 - p)

    where F (B, C, H, W) is what a module gives and m has independent entries of the same shape, drawn anew in each
    training forward; ``unit='channel'`` draws one for each sample and channel, (B, C, 1, 1). Scaled in training, so
    that evaluation is that of the plain network. Methods that look at a map see it before the dropout.

    p is the probability to *drop*. The modules are the network's convolutions, or those that ``after`` names. Not
    additive over micro-batches, for each draws its own masks; over ranks one draw is sliced.

    Source: "dropout on convolutional layers" among the comparators of the RIFLE paper, p in {0.1, 0.2, 0.5}; which
    layers, and whether entries or channels, is not printed. Channels: Tompson et al. 2015.

    Raises:
        ModelError: the network has no convolution, or none of the modules that ``after`` names.
    """

    stem: ClassVar[str] = "conv_dropout"
    additive: ClassVar[bool] = False

    p: float = hyper(0.1, low=0, high=1, doc="probability to drop an entry; 0.1, 0.2 or 0.5")
    unit: Literal["element", "channel"] = hyper("element", doc="what is dropped: entries, or whole channels")
    after: str = hyper("conv", doc="after which modules: conv, each convolution; or module paths joined by commas")

    def at_zero_strength(self) -> ConvDropout:
        """Nothing is dropped."""
        return replace(self, p=0.0)

    def bind(self, model: nn.Module, ctx: Context) -> Places:
        """Find the modules."""
        if self.after != "conv":
            return Places(paths=tuple(named(model, self.after, self)))
        paths = [path for path, module in model.named_modules() if isinstance(module, nn.modules.conv._ConvNd)]
        if not paths:
            raise ModelError(f"{self}: {type(model).__name__} has no convolution; {suggestion(model)}, as after='...'")
        return Places(paths=tuple(paths))

    def describe(self, state: State) -> str:
        """The probability and the places."""
        assert isinstance(state, Places)
        first, last, count = state.paths[0], state.paths[-1], len(state.paths)
        where = f"'{first}'" if count == 1 else f"each of {count} modules, '{first}' to '{last}',"
        return f"each {self.unit} of the output of {where} dropped with probability {self.p:g} in training"

    def edit_forward(self, model: nn.Module, state: State) -> Mapping[str, Edit]:
        """A mask on each module's output."""
        assert isinstance(state, Places)
        return dict.fromkeys(state.paths, self._mask) if self.p else {}

    def _mask(self, module: nn.Module, args: tuple[Any, ...], draw: Draw) -> Around:
        _, F = yield args
        if not isinstance(F, Tensor):
            raise ModelError(f"{self}: expected a tensor from each module, {type(module).__name__} gives {type(F)}")
        shape = F.shape if self.unit == "element" else (*F.shape[:2], *(1,) * (F.ndim - 2))
        return dropped(F, draw.per_sample(shape, 1 - self.p, F.device), self.p)

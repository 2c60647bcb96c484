"""Stochastic depth: residual branches are left out at random, deep ones more often (Huang et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from torch import nn

from holdfast.core import residual
from holdfast.core.inside import Around, Draw, Edit, Places, named
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Context
from holdfast.functional.dropping import dropped
from holdfast.functional.schedules import survival

_DROP_PATHS = ("DropPath", "StochasticDepth")  # timm's and Hugging Face's, torchvision's


@dataclass
class Branches(Places):
    """The ends of the residual branches, the probability that each is kept, and the drop paths of the network's own."""

    kept: tuple[float, ...] = field(default=(), kw_only=True)
    own: tuple[str, ...] = field(default=(), kw_only=True)


@register
@dataclass(frozen=True)
class StochasticDepth(Method):
    r"""Leaves out residual branches at random.

    .. math::
        H_l = act\bigl(b_l f_l(H_{l-1})/p_l + id(H_{l-1})\bigr), \quad b_l \sim \mathrm{Bernoulli}(p_l), \quad
        p_l = 1 - \tfrac lL (1 - p_L)

    where :math:`f_l` is the branch of the l-th of L residual sums in the order of the forward, id its shortcut, and
    :math:`b_l` is drawn anew in each training forward, once for the batch, or for each sample with ``unit='sample'``.
    What is kept is divided by :math:`p_l` in training, so that evaluation is that of the plain network.

    :math:`p_L` is the probability to *keep* the last branch. Drop paths that the network has of its own are without
    effect while this acts. Not additive over micro-batches, for each draws anew; the batch's coins are the same on
    all ranks, the samples' are one draw that is sliced.

    Source: Huang et al. 2016; a comparator of the RIFLE paper with :math:`p_0 = 1, p_L = 0.5`. Deviation: the paper
    multiplies :math:`f_l` by :math:`p_l` in evaluation instead; and every branch is computed here, so no time is saved.

    Raises:
        ModelError: the network has no residual sums, they cannot be found, or a module that is named does not exist.
    """

    stem: ClassVar[str] = "stochastic_depth"
    additive: ClassVar[bool] = False

    p_L: float = hyper(0.5, low=0, high=1, doc="probability to keep the last branch; 0.5")  # noqa: N815
    unit: Literal["batch", "sample"] = hyper("batch", doc="one coin for the batch, as in the paper, or for each sample")
    branches: str = hyper("found", doc="found: read off the network; or paths of modules, joined by commas, in order")

    def at_zero_strength(self) -> StochasticDepth:
        """Every branch is kept."""
        return replace(self, p_L=1.0)

    def bind(self, model: nn.Module, ctx: Context) -> Branches:
        """Find the branches."""
        paths = tuple(named(model, self.branches, self) if self.branches != "found" else residual.branches(model))
        own = tuple(path for path, module in model.named_modules() if type(module).__name__.endswith(_DROP_PATHS))
        return Branches(paths=paths, kept=tuple(survival(len(paths), self.p_L)), own=own)

    def describe(self, state: State) -> str:
        """The branches and their probabilities."""
        assert isinstance(state, Branches)
        count, first, last = len(state.paths), state.paths[0], state.paths[-1]
        return (
            f"{count} residual branches, '{first}' kept with probability {state.kept[0]:.3g} to '{last}' with "
            f"{state.kept[-1]:.3g}, by {self.unit}; divided by it in training"
        )

    def edit_forward(self, model: nn.Module, state: State) -> Mapping[str, Edit]:
        """A coin on each branch, and none of the network's own."""
        assert isinstance(state, Branches)
        if self.p_L == 1:
            return {}
        kept = dict.fromkeys(state.own, 1.0) | dict(zip(state.paths, state.kept, strict=True))
        return {path: self._edit(q, path in state.own) for path, q in kept.items()}

    def _edit(self, q: float, own: bool) -> Edit:
        def edit(module: nn.Module, args: tuple[Any, ...], draw: Draw) -> Around:
            args, output = yield args
            f = args[0] if own else output
            if q == 1:
                return f
            if self.unit == "batch":
                b = draw.shared((), q, f.device)
            else:
                b = draw.per_sample((len(f), *(1,) * (f.ndim - 1)), q, f.device)
            return dropped(f, b, 1 - q)

        return edit

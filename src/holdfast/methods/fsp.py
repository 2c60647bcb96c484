"""FSP: keep the flow between layers as in the starting point (Yim et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from holdfast.core.errors import UsageError
from holdfast.core.layers import STAGES, ComparesLayers, LayersState, compared
from holdfast.core.method import State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Context, Step
from holdfast.functional.maps import flow_distance


@dataclass
class FSPState(LayersState):
    """The layers, and which of them are two ends of a flow."""

    pairs: Sequence[tuple[int, int]] = field(default=(), kw_only=True)


@register
@dataclass(frozen=True)
class FSP(ComparesLayers):
    r"""Pulls the flow between layers, their channels' inner products, to that of the frozen starting point.

    .. math::
        \Omega = \frac\lambda n \sum_{i=1}^n \sum_{(k,l)} \|G_{kl}(w, x_i) - G_{kl}(w^0, x_i)\|_F^2, \qquad
        G_{kl} = \frac1{hw} \sum_{s,t} F^k_{s,t} {F^l_{s,t}}^\top

    where (k, l) runs over pairs of layers: by default the end of each stage with the end of the next. Where their maps
    differ in size, the larger is max-pooled to the smaller. A mean over the batch, without ½.

    Source: Yim et al. 2017, eqs. 1-2, with all λ_i equal; there between two networks, before the task is trained; here
    the teacher is the starting point and Ω stands beside the task's loss. Deviation: the first stage, whose input is no
    stage's end, has no flow unless its pair is named.
    """

    stem: ClassVar[str] = "fsp"
    spatial: ClassVar[bool] = True

    lam: float = hyper(0.001, low=0, doc="strength; search 0.0001, 0.001, 0.01, 0.1")
    layers: str = hyper(STAGES, doc="'stages', or pairs of modules: 'layer1:layer2,layer2:layer3'")

    def at_zero_strength(self) -> FSP:
        """λ = 0."""
        return replace(self, lam=0.0)

    def bind(self, model: nn.Module, ctx: Context) -> FSPState:
        """Find the layers and their pairs."""
        if self.layers == STAGES:
            layers = compared(model, ctx.located, STAGES, self)
            if len(layers) < 2:
                raise UsageError(f"{self}: a flow needs two layers, the network has one stage: name a pair as 'a:b'")
            return FSPState(layers=layers, pairs=list(pairwise(range(len(layers)))))
        pairs = [[end.strip() for end in part.split(":")] for part in self.layers.split(",")]
        if any(len(pair) != 2 for pair in pairs):
            raise UsageError(f"{self}: expected pairs of modules such as 'layer1:layer2', found {self.layers!r}")
        layers = compared(model, ctx.located, ",".join(end for pair in pairs for end in pair), self)
        at = {layer.path: k for k, layer in enumerate(layers)}
        return FSPState(layers=layers, pairs=[(at[a], at[b]) for a, b in pairs])

    def describe(self, state: State) -> str:
        """The distance and the pairs."""
        assert isinstance(state, FSPState)
        flows = ", ".join(f"{state.layers[a].path} to {state.layers[b].path}" for a, b in state.pairs)
        return f"{self.lam:g}·‖G − G⁰‖² of the flow from {flows}; mean over the batch, sum over the matrix"

    def penalty(self, step: Step, state: State) -> Tensor | None:
        """The weighted sum over the pairs; None at zero strength."""
        assert isinstance(state, FSPState)
        if self.lam == 0:
            return None
        found = [[z.movedim(layer.axis(z), 1) for z in (F, F0)] for layer, F, F0 in self.both(step, state)]
        mine, theirs = zip(*found, strict=True)
        total = step.task_loss.new_zeros(())
        for a, b in state.pairs:
            positions = mine[a][0, 0].numel(), mine[b][0, 0].numel()
            if positions[0] != positions[1] and not mine[a].ndim == mine[b].ndim == 4:
                at = " and ".join(f"{state.layers[k].path} {n}" for k, n in zip((a, b), positions, strict=True))
                raise UsageError(f"{self}: tokens have the same number at both ends of a flow; here {at}: name others")
            total = total + flow_distance((mine[a], mine[b]), (theirs[a], theirs[b])) / len(mine[a])
        return self.lam * total

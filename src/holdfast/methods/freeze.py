"""Freezing of the first layers, against which Li et al. 2020 compare L2-SP."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import nn

from holdfast.core.asleep import Asleep
from holdfast.core.clock import Clock
from holdfast.core.depth import Front, front
from holdfast.core.errors import UsageError
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Context


@dataclass
class FreezeState(State):
    """The frozen front of the network, and how much of the network trains."""

    front: Front
    asleep: Asleep
    awake: int

    def state_dict(self) -> dict[str, object]:
        """Nothing: ``bind`` finds the front again."""
        return {}


@register
@dataclass(frozen=True)
class Freeze(Method):
    r"""Keeps the first layers at the starting point.

    .. math:: w_j = w^0_j \quad\text{in the first layers}, \qquad \min_{w_i,\ i\ \text{behind them}} J(w)

    A frozen parameter has no gradient, takes no step, and neither momentum nor weight decay moves it; it is left out of
    ``param_groups``. Batch-norm in frozen layers is in evaluation mode, so that its statistics stand still too, through
    later calls of ``model.train()``; ``bn='train'`` lets them move. Layers count by stem, then whole blocks, then what
    follows them before the head; the head always trains. Additive over micro-batches.

    Source: Li et al. 2020, §5.2 and Fig. 3. The text does not say what batch-norm does in frozen layers.
    """

    stem: ClassVar[str] = "freeze"

    layers: int = hyper(1, low=0, doc="number of layers that are frozen: the stem is the first, each block one more")
    until: str = hyper("", doc="path of the module with which the frozen part ends, in place of a number of layers")
    bn: Literal["frozen", "train"] = hyper("frozen", doc="batch-norm's statistics in frozen layers: kept, or moving")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.until and self.layers != type(self).layers:
            raise UsageError(f"{self}: give layers or until, not both")

    def at_zero_strength(self) -> Freeze:
        """No layer."""
        return replace(self, layers=0, until="")

    def bind(self, model: nn.Module, ctx: Context) -> FreezeState:
        """Find the front of the network."""
        found = front(model, ctx.located.head, count=self.layers, until=self.until, asks=self)
        still = list(found.batchnorms.values()) if self.bn == "frozen" else []
        asleep = Asleep([r.param for r in found.parameters], still, for_good=True)
        return FreezeState(found, asleep, len(ctx.parameters) - len(found.parameters))

    def describe(self, state: State) -> str:
        """Which part is frozen, by name and number."""
        assert isinstance(state, FreezeState)
        frozen = state.front.parameters
        if not frozen:
            return "nothing is frozen"
        numbers = sum(r.param.numel() for r in frozen)
        statistics = f"statistics of {len(state.front.batchnorms)} batch-norm layers "
        return (
            f"frozen up to and with {state.front.end}: {len(frozen)} tensors, {numbers} numbers; {statistics}"
            f"{'kept' if self.bn == 'frozen' else 'moving'}; {state.awake} tensors train"
        )

    def asleep(self, clock: Clock, state: State) -> Asleep | None:
        """The front, for good."""
        assert isinstance(state, FreezeState)
        return state.asleep

"""DELTA: keep the feature maps of the channels that matter for the target (Li et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

from torch import Tensor, nn

from holdfast.core import channels
from holdfast.core.anchored import Anchored, Pull
from holdfast.core.errors import UsageError
from holdfast.core.layers import STAGES, ComparesLayers, Layer, LayersState
from holdfast.core.locate import Located
from holdfast.core.method import State, hyper
from holdfast.core.registry import register
from holdfast.core.start import StartingPoint
from holdfast.core.types import Batch, Context, ParamRef, Step
from holdfast.functional.maps import channel_attention, squared_distance

MEASURED, EVEN = "measured", "even"


@dataclass
class DELTAState(LayersState):
    """The loss rise of each layer's channels, by path; beside it what ``bind`` finds again."""

    rise: dict[str, Tensor] = field(default_factory=dict)
    head: list[ParamRef] = field(default_factory=list, kw_only=True)
    start: StartingPoint = field(default_factory=StartingPoint, kw_only=True)
    located: Located | None = field(default=None, kw_only=True)


@register
@dataclass(frozen=True)
class DELTA(ComparesLayers):
    r"""Pulls feature maps to those of the starting point, each channel by what it is worth on the target.

    .. math::
        \Omega = \alpha\sum_l \frac1n\sum_{i=1}^n \frac12 \sum_c
        \frac{C\,a_c}{HW}\|F^l_c(w, x_i) - F^l_c(w^0, x_i)\|^2 + \frac\beta2\|w_{\bar S}\|^2, \qquad
        a = \mathrm{softmax}\Big(\frac15 \mathrm{zscore}\big(L(w^0_{\setminus c}) - L(w^0)\big)\Big)

    where l runs over the last convolutions of the stages, before batch-norm and residual sum, C is the number of
    channels, and :math:`w_{\bar S}` the head, whose weight decay it replaces. L is the cross-entropy, with filter c at
    0 or as it is; ``calibrate`` measures it with a head that was trained on the frozen starting point. A mean over the
    batch.

    ``reduction='sum'`` sums over the batch, as the code does, and is not additive over micro-batches.

    Source: Li et al. 2019, eqs. 4-7; ½, C and H·W are the authors' code's. Deviation: there batch-norm's statistics
    move while the head is trained; here nothing does.
    """

    stem: ClassVar[str] = "delta"
    inside: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, object]]] = {
        "delta2019": {"reduction": "sum"},
        "tllib": {"reduction": "sum", "batches": 10},
    }

    alpha: float = hyper(0.01, low=0, doc="strength on the features; search 0.001, 0.01, 0.1")
    beta: float = hyper(0.01, low=0, doc="strength on the new head")
    layers: str = hyper(STAGES, doc="'stages': their last convolutions; or paths of modules joined by commas")
    attention: str = hyper(MEASURED, doc="'measured', 'even', or a file.safetensors, written where it is missing")
    reduction: Literal["batch", "sum"] = hyper("batch", doc="mean over the batch, or sum")
    epochs: int = hyper(10, low=0, doc="for which the head is trained before the measurement")
    batches: int = hyper(4, low=1, doc="on which the loss is measured")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attention not in (MEASURED, EVEN) and not self.attention.endswith(".safetensors"):
            raise UsageError(f"delta: attention is 'measured', 'even' or a .safetensors file, got {self.attention!r}")

    @property
    def _file(self) -> Path | None:
        return None if self.attention in (MEASURED, EVEN) else Path(self.attention).expanduser()

    @property
    def calibrates(self) -> bool:
        """Whether it needs data: neither at zero strength nor with even attention."""
        return self.alpha > 0 and self.attention != EVEN

    def at_zero_strength(self) -> DELTA:
        """Both strengths 0."""
        return replace(self, alpha=0.0, beta=0.0)

    def bind(self, model: nn.Module, ctx: Context) -> DELTAState:
        """Find the layers, and read the attention where its file is there."""
        layers = super().bind(model, ctx).layers
        state = DELTAState(layers=layers, head=ctx.head(), start=ctx.start, located=ctx.located)
        if self._file is not None and self._file.is_file():
            state.rise = channels.read(self._file, layers, self)
        return state

    def owned_parameters(self, state: State) -> list[str]:
        """The head's."""
        assert isinstance(state, DELTAState)
        return [r.name for r in state.head]

    def describe(self, state: State) -> str:
        """The distance, where it is taken, and whence the attention."""
        assert isinstance(state, DELTAState)
        source = EVEN if self.attention == EVEN else f"of {self.batches} batches after {self.epochs} epochs of the head"
        if self._file is not None:
            source = f"from {self._file}" if state.rise else f"{source}, to be kept in {self._file}"
        over = "mean" if self.reduction == "batch" else "sum"
        return (
            f"{self.alpha:g}·½·C·a_c/(H·W)·‖F_c − F⁰_c‖² at {', '.join(self.tap_names(state))}; {over} over the batch; "
            f"attention {source}; {0.5 * self.beta:g}·‖w‖² on the head, replaces its weight decay"
        )

    def calibrate(self, model: nn.Module, loader: Iterable[Batch], state: State) -> None:
        """Measure the loss rises, unless they came from a file, and write them where one is named."""
        assert isinstance(state, DELTAState)
        assert state.located is not None
        if not state.rise:
            options = {"epochs": self.epochs, "batches": self.batches}
            state.rise = channels.measured(model, state.located, state.layers, loader, **options)
            if self._file is not None:
                channels.write(self._file, state.rise, **options)

    def penalty(self, step: Step, state: State) -> Tensor | None:
        """Features and head; None at zero strength."""
        assert isinstance(state, DELTAState)
        total = step.task_loss.new_zeros(())
        for layer, F, F0 in self.both(step, state) if self.alpha else ():
            counted = (len(F) if self.reduction == "batch" else 1) * layer.positions(F)
            total = total + 0.5 * self.alpha / counted * squared_distance(F, F0, self._weights(layer, F, state))
        head = Anchored([Pull(0.5 * self.beta, state.head, False)], state.start)
        total = total + head.as_tensor() if head.params else total
        return total if total.requires_grad else None

    def _weights(self, layer: Layer, F: Tensor, state: DELTAState) -> Tensor | None:
        """C·a_c, to be broadcast against F; None for even attention."""
        if self.attention == EVEN:
            return None
        if layer.path not in state.rise:
            raise UsageError(
                f"{self} has not measured its attention: call methods.calibrate(loader) after prepare, or choose "
                "attention='even'"
            )
        rise = state.rise[layer.path] = state.rise[layer.path].to(F.device)
        if len(rise) != (C := F.shape[layer.axis(F)]):
            raise UsageError(f"{self}: {layer.path} has {C} channels, the file weighs {len(rise)}: name another file")
        weights = len(rise) * channel_attention(rise)
        return weights.view(-1, *[1] * (F.ndim - 1 - layer.axis(F)))

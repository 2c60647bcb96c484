"""R² of the units of a network before and after training, layer by layer, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from holdfast.analysis.boxes import Box, box_of
from holdfast.analysis.trained.linear_fit import LinearFits
from holdfast.core import depth
from holdfast.core.errors import UsageError
from holdfast.core.layers import STAGES, Layer, compared
from holdfast.core.locate import locate

BLOCKS = "blocks"
"""In place of names of layers: the stem, then every block."""
Units = Literal["channels", "positions"]


@dataclass(frozen=True)
class LayerR2:
    """R² of a layer's units.

    Attributes:
        layer: path of the module whose output is compared.
        units: all of them.
        constant_before: left out: they do not vary at the starting point.
        constant_after: left out: they vary there, but not after training.
        r2: quantiles over all others; None without any.
    """

    layer: str
    units: int
    constant_before: int
    constant_after: int
    r2: Box | None

    def as_data(self) -> dict[str, Any]:
        """For a finding."""
        return asdict(self)


def named_layers(model: nn.Module, layers: str = STAGES) -> list[Layer]:
    """The layers to compare.

    Args:
        model: the network.
        layers: ``stages``, ``blocks``, or paths of modules joined by commas.

    Raises:
        UsageError: no module of that path; names the nearest.
        ModelError: the network's stages cannot be told.
    """
    located = locate(model)
    names = ",".join(depth.layers(model, located.head)) if layers == BLOCKS else layers
    return compared(model, located, names, "similarity")


@torch.no_grad()
def r2_of(
    before: nn.Module, after: nn.Module, layers: Sequence[Layer], shown: Iterable[Tensor], units: Units
) -> list[LayerR2]:
    """R² of the units of some layers, see ``LinearFits``; only sums are kept from batch to batch.

    Args:
        before: the network at its starting point; put into evaluation mode.
        after: the same network, trained; likewise.
        layers: of both.
        shown: batches of inputs.
        units: ``channels``: a unit is a channel, seen at every position of every picture; ``positions``: each position
            of a channel is a unit of its own, seen once in every picture.

    Raises:
        UsageError: a layer gives no tensor.
    """
    fits = {layer.path: LinearFits() for layer in layers}
    with _outputs(before.eval(), layers) as old, _outputs(after.eval(), layers) as new:
        for x in shown:
            before(x)
            after(x)
            for layer in layers:
                if not (isinstance(old.get(layer.path), Tensor) and isinstance(new.get(layer.path), Tensor)):
                    raise UsageError(f"similarity: {layer.path} gives no tensor in a forward pass; name another layer")
                fits[layer.path].add(*(_rows(layer, outputs.pop(layer.path), units) for outputs in (old, new)))
    return [_layer_r2(path, each) for path, each in fits.items()]


def _rows(layer: Layer, F: Tensor, units: Units) -> Tensor:
    """Activations as (observations, units)."""
    last = F.movedim(layer.axis(F), -1)
    return last.flatten(0, -2) if units == "channels" else last.flatten(1)


def _layer_r2(path: str, fits: LinearFits) -> LayerR2:
    fit = fits.fit()
    units = len(fit.r2) + fit.constant_before + fit.constant_after
    return LayerR2(path, units, fit.constant_before, fit.constant_after, box_of(fit.r2.numpy()))


@contextmanager
def _outputs(model: nn.Module, layers: Sequence[Layer]) -> Iterator[dict[str, Any]]:
    """What the layers gave in the latest forward, as copies: an activation in place may write over it."""
    seen: dict[str, Any] = {}

    def note(path: str, output: Any) -> None:
        seen[path] = output.clone() if isinstance(output, Tensor) else output

    handles = [
        model.get_submodule(path).register_forward_hook(lambda _m, _a, output, path=path: note(path, output))
        for path in (layer.path for layer in layers)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()

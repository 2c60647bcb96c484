"""One layer for each stage of a network: where gradients are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from holdfast.core.errors import ModelError
from holdfast.core.stages import stages


@dataclass(frozen=True)
class StageLayer:
    """The layer that stands for a stage.

    Attributes:
        path: of the module.
        kind: the size of its kernel, such as ``3x3``, or ``linear``.
    """

    path: str
    kind: str

    @property
    def parameter(self) -> str:
        """Name of its weight."""
        return f"{self.path}.weight"

    @property
    def column(self) -> str:
        """How a table calls it."""
        return f"{self.path} {self.kind}"


def stage_layers(model: nn.Module, head: str | None = None) -> list[StageLayer]:
    """The last 3×3 convolution of each stage; its last convolution where it has none; else its last linear layer.

    A stage reaches from the end of the one before to the end of its last block, see ``core.stages``; the first one
    begins with the series that this block stands in, so that a stem before it is no part. A stage without any such
    layer is left out.

    Source: Li et al. 2020, §4.6.1, who take the last 3×3 convolution of the four stages of ResNet-50. The rest is ours.

    Args:
        model: the network.
        head: module path of its final linear layer; found where None.

    Raises:
        ModelError: the stages cannot be told, or none has such a layer.
    """
    modules, ends = list(model.named_modules()), stages(model, head)
    found, begin = [], [name for name, _ in modules].index(ends[0].rpartition(".")[0])
    for end in ends:
        inside = [at for at, (name, _) in enumerate(modules) if f"{name}.".startswith(f"{end}.")]
        chosen = _standing_for(modules[begin : inside[-1] + 1])
        begin = inside[-1] + 1
        found += [] if chosen is None else [chosen]
    if not found:
        raise ModelError(
            f"expected a convolution or a linear layer in the stages of {type(model).__name__}, found none: train it "
            "without log_gradients"
        )
    return found


def _standing_for(modules: Sequence[tuple[str, nn.Module]]) -> StageLayer | None:
    preferred: tuple[Callable[[str], bool], ...] = (lambda kind: kind == "3x3", lambda kind: kind != "linear", bool)
    layers = [StageLayer(name, kind) for name, module in modules if (kind := _kind(module))]
    for wanted in preferred:
        if those := [layer for layer in layers if wanted(layer.kind)]:
            return those[-1]
    return None


def _kind(module: nn.Module) -> str:
    """Size of the kernel, ``linear``, or nothing."""
    if isinstance(module, nn.Conv2d):
        return "x".join(map(str, module.kernel_size))
    return "linear" if isinstance(module, nn.Linear) else ""

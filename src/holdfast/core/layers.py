"""The layers at which features are compared: by stage in any network, or by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from holdfast.core import meta
from holdfast.core.errors import ModelError, UsageError
from holdfast.core.locate import Located
from holdfast.core.method import Method, State
from holdfast.core.stages import stages
from holdfast.core.types import Context, Step

STAGES = "stages"
_ASIDE = {"downsample", "shortcut", "se"}  # the other branch of a block, and squeeze-and-excitation


@dataclass(frozen=True)
class Layer:
    """A module whose output is compared.

    Attributes:
        path: of the module.
        width: of the last axis that its last weights act on; 0 where these are a convolution's.
    """

    path: str
    width: int = 0

    def axis(self, F: Tensor) -> int:
        """The axis of the channels: 1 of vectors and maps (B, C, H, W), the last of tokens and maps (B, H, W, C)."""
        if F.ndim == 3 or (F.ndim == 4 and F.shape[3] == self.width != F.shape[1]):
            return F.ndim - 1
        return 1

    def positions(self, F: Tensor) -> int:
        """H·W of a map, N of tokens (B, N, D), 1 of a vector."""
        return F[0].numel() // F.shape[self.axis(F)]


@dataclass
class LayersState(State):
    """The layers that a method compares, in the network's order."""

    layers: Sequence[Layer] = field(default=(), kw_only=True)


class ComparesLayers(Method):
    """A method that compares layers with those of the frozen starting point.

    Each has a hyper-parameter ``layers`` of its own, which ``compared`` reads.
    """

    needs_teacher: ClassVar[bool] = True
    inside: ClassVar[bool] = False
    spatial: ClassVar[bool] = False

    layers: str

    @property
    def additive(self) -> bool:  # type: ignore[override]
        """Unless it has a field ``reduction`` that sums over the batch."""
        return getattr(self, "reduction", "batch") != "sum"

    def bind(self, model: nn.Module, ctx: Context) -> LayersState:
        """Find the layers."""
        return LayersState(layers=compared(model, ctx.located, self.layers, self, inside=self.inside))

    def tap_names(self, state: State) -> list[str]:
        """The layers."""
        assert isinstance(state, LayersState)
        return [layer.path for layer in state.layers]

    def both(self, step: Step, state: State) -> Iterator[tuple[Layer, Tensor, Tensor]]:
        """Each layer with its features in the network and in the starting point: (B, ...) both.

        Raises:
            UsageError: the method is ``spatial`` and a layer's features are vectors.
        """
        assert isinstance(state, LayersState)
        for layer in state.layers:
            F = step.features(layer.path)
            if self.spatial and F.ndim < 3:
                raise UsageError(f"{self}: {layer.path} gives vectors, without positions; name a layer before pooling")
            yield layer, F, step.teacher(layer.path)


def compared(model: nn.Module, located: Located, layers: str, asks: object, *, inside: bool = False) -> list[Layer]:
    """The layers that a text names.

    Args:
        model: the network.
        located: where its head is.
        layers: ``"stages"`` for the last block of each stage, or paths of modules, joined by commas.
        asks: the method, for messages.
        inside: of each stage, take the last convolution of the last block instead (where it has none, the last linear
            layer), before any normalisation; convolutions of the shortcut do not count.

    Raises:
        UsageError: no module of that path; names the nearest.
        ModelError: the network's stages cannot be told.
    """
    if layers == STAGES:
        try:
            paths = [_last_weights(model, path) if inside else path for path in stages(model, located.head)]
        except ModelError as error:
            raise ModelError(f"{asks}: {error} Name the layers: layers='...'") from error
    else:
        paths = [part.strip() for part in layers.split(",")]
    known = [path for path, _ in model.named_modules() if path]
    for path in paths:
        if path not in known:
            near = difflib.get_close_matches(path, known, n=3)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join(known[:8])} …"
            raise UsageError(f"{asks}: the network has no module {path!r}; {hint}")
    return [Layer(path, _width(model.get_submodule(path))) for path in dict.fromkeys(paths)]


def keep_outputs(model: nn.Module, taps: Iterable[str]) -> set[str]:
    """Let activations that would overwrite the output of a tapped module write into a new tensor.

    The values of the network do not change. VGG's need it, where convolutions are tapped.

    Returns:
        The taps whose output something else overwrites, as torchvision's DenseNet does: it must be copied.
    """
    paths = {tap for tap in taps if tap and tap in dict(model.named_modules())}
    overwritten, activations = _overwritten(model, paths)
    for path in activations:
        model.get_submodule(path).inplace = False  # type: ignore[assignment]
    return _overwritten(model, paths)[0] if activations else overwritten


def _overwritten(model: nn.Module, paths: set[str]) -> tuple[set[str], set[str]]:
    """Modules whose output is written to after them, and the activations in place that do so."""
    outputs: dict[str, tuple[Tensor, int]] = {}
    activations: set[str] = set()

    def note(at: str, out: Tensor) -> None:
        outputs[at] = (out, out._version)

    def look(at: str, entering: Tensor) -> None:
        if any(entering is out for out, _ in outputs.values()):
            activations.add(at)

    @contextmanager
    def watch(twin: nn.Module) -> Iterator[None]:
        for at, module in twin.named_modules():
            if at in paths:
                module.register_forward_hook(lambda _m, _a, out, at=at: note(at, out))
            if getattr(module, "inplace", False) is True:
                module.register_forward_pre_hook(lambda _m, args, at=at: look(at, args[0]))
        with torch.no_grad():
            yield

    if paths:
        meta.run(model, watch)
    return {at for at, (out, version) in outputs.items() if out._version != version}, activations


def _weighted(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for path, each in module.named_modules():
        if isinstance(each, _ConvNd | nn.Linear) and not _ASIDE & set(path.split(".")):
            yield path, each


def _last_weights(model: nn.Module, path: str) -> str:
    """The last convolution within a module or, where it has none, its last linear layer; else of its predecessors."""
    parent, _, name = path.rpartition(".")
    siblings = [each for each, _ in model.get_submodule(parent).named_children()]
    for sibling in reversed(siblings[: siblings.index(name) + 1]):
        whole = f"{parent}.{sibling}" if parent else sibling
        found = list(_weighted(model.get_submodule(whole)))
        convolutions = [inner for inner, each in found if isinstance(each, _ConvNd)]
        for inner in reversed(convolutions or [inner for inner, _ in found]):
            return f"{whole}.{inner}" if inner else whole
    raise UsageError(f"no convolution and no linear layer up to {path!r}: name the layers")


def _width(module: nn.Module) -> int:
    weighted = [m for m in module.modules() if isinstance(m, _ConvNd | nn.Linear | nn.LayerNorm | _NormBase)]
    last = weighted[-1] if weighted else None
    if isinstance(last, nn.Linear):
        return last.out_features
    return last.normalized_shape[-1] if isinstance(last, nn.LayerNorm) else 0

"""Where the head and the representation of a classifier are, seen in one forward on the meta device.

The network is copied without its memory (parameters and buffers become meta tensors), run once in training mode, and
the way back from its output is read off: the layer that made the logits is the head, and what enters the dropout before
it is the representation. No table of architectures is needed; the network and the global generator are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from holdfast.core import meta
from holdfast.core.errors import ModelError

_RESHAPES = frozenset({"flatten", "reshape", "view", "squeeze", "contiguous"})


@dataclass(frozen=True)
class Located:
    """The head of a classifier and the tap at which its representation is read.

    Attributes:
        head: module path of the final ``nn.Linear``; never empty.
        rep: module path of the tap: its first positional input is the representation, or its output where
            ``rep_is_output``. The tensor there may carry trailing dimensions of size 1: ``flatten(1)`` makes it (B, D).
        rep_is_output: true where a functional dropout follows a module, so that only that module's output is before it.
        in_features: D, the width of the representation.
        out_features: the number of classes.
    """

    head: str
    rep: str
    rep_is_output: bool
    in_features: int
    out_features: int


def locate(model: nn.Module, head: str | None = None) -> Located:
    """Find the final linear layer of a classifier and the representation that enters it, before any dropout.

    Args:
        model: a classifier from timm, torchvision, Hugging Face or elsewhere, not compiled and not wrapped for several
            processes. Its state, mode and the global random generator are left as they are.
        head: module path of the final ``nn.Linear``, where it is not the layer whose output the network returns.

    Raises:
        ModelError: there is no such module, it is no ``nn.Linear``, the network has several heads or a convolutional
            one, or the representation cannot be reached before the dropout.
    """
    if head is not None:
        _linear(model, head)
    trace, reason = traced(model)
    if trace is None:
        return _without_trace(model, head, reason)
    path = head if head is not None else trace.final_linear()
    rep, is_output = trace.before_dropout(path)
    layer = _linear(model, path)
    return Located(path, rep, is_output, layer.in_features, layer.out_features)


def representation(model: nn.Module, x: Tensor, located: Located | None = None) -> Tensor:
    """Run the model in its present mode and return the representation, shape (B, D).

    Args:
        model: the classifier.
        x: a batch of its inputs.
        located: what ``locate`` returned for this model; found anew where it is missing.
    """
    located = located or locate(model)
    seen: list[Tensor] = []
    tap = model.get_submodule(located.rep)
    # The copy keeps the values from a dropout or an activation that works in place.
    if located.rep_is_output:
        handle = tap.register_forward_hook(lambda _module, _args, output: seen.append(output.clone()))
    else:
        handle = tap.register_forward_pre_hook(lambda _module, args: seen.append(args[0].clone()))
    try:
        model(x)
    finally:
        handle.remove()
    if len(seen) != 1:
        raise ModelError(f"'{located.rep}' ran {len(seen)} times in one forward pass; expected once.")
    return seen[0].flatten(1)


def make_tappable(model: nn.Module, located: Located) -> None:
    """Let the dropout at the tap write into a new tensor, so that the representation before it survives.

    The values of the network do not change. torchvision's EfficientNet, MobileNetV3 and MNASNet need it.
    """
    tap = model.get_submodule(located.rep)
    if not located.rep_is_output and getattr(tap, "inplace", False) is True:
        tap.inplace = False  # type: ignore[assignment]


@dataclass
class _Trace(TorchFunctionMode):
    """What one forward did: the inputs and outputs of every module, and which tensors dropout and reshaping made."""

    origins: dict[int, tuple[str, Tensor]] = field(default_factory=dict)
    entered: list[tuple[str, nn.Module, Tensor]] = field(default_factory=list)
    left: list[tuple[str, nn.Module, Tensor]] = field(default_factory=list)
    alive: list[Tensor] = field(default_factory=list)
    logits: Tensor | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        source = args[0] if args else (kwargs or {}).get("input")
        if "dropout" in name and isinstance(source, Tensor):
            return self._made("dropout", source, source.clone())
        result = func(*args, **(kwargs or {}))
        if name in _RESHAPES and isinstance(source, Tensor) and isinstance(result, Tensor) and result is not source:
            return self._made("reshape", source, result)
        return result

    def _made(self, by: str, source: Tensor, result: Tensor) -> Tensor:
        self.origins[id(result)] = (by, source)
        self.alive += [source, result]  # a freed tensor's id would be given to another one
        return result

    def watcher(self, path: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        """A forward hook that records every call of the module at this path."""

        def note(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
                self.entered.append((path, module, args[0]))
                self.left.append((path, module, output))
                if "dropout" in type(module).__name__.lower() and output is not args[0]:
                    self.origins[id(output)] = ("dropout", args[0])

        return note

    def _way_back(self, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        while id(tensor) in self.origins:
            by, tensor = self.origins[id(tensor)]
            yield by, tensor

    def final_linear(self) -> str:
        """The path of the linear layer whose output the network returns."""
        assert self.logits is not None
        same = [self.logits, *(source for by, source in self._way_back(self.logits) if by == "reshape")]
        makers = [(path, module) for path, module, out in self.left if any(out is tensor for tensor in same)]
        linear = [path for path, module in makers if isinstance(module, nn.Linear)]
        if len(linear) == 1:
            return linear[0]
        raise ModelError(_why_no_head(self, makers, self.logits.shape[-1]))

    def before_dropout(self, head: str) -> tuple[str, bool]:
        """The tap of the tensor that enters the head, or the dropout before it: (path, whether it is an output)."""
        inputs = [tensor for path, _, tensor in self.entered if path == head]
        if len(inputs) != 1:
            raise ModelError(f"head '{head}' runs {len(inputs)} times in a forward pass; expected exactly once.")
        if inputs[0].ndim != 2:
            shape = tuple(inputs[0].shape)
            raise ModelError(f"head '{head}' gets an input of shape {shape}; expected (batch, features), one row each.")
        rep, dropped = inputs[0], False
        for by, source in self._way_back(inputs[0]):
            if by == "dropout":
                rep, dropped = source, True
        if not dropped:
            return head, False
        for wanted, calls, is_output in (("dropout", self.entered, False), ("", self.left, True)):
            for path, module, tensor in calls:
                if tensor is rep and wanted in type(module).__name__.lower() and self._runs_once(path):
                    return path, is_output
        raise ModelError(
            f"a dropout stands right before head '{head}', and no module ends or starts where the representation is: "
            "write that dropout as an nn.Dropout module, or build the network with drop_rate=0."
        )

    def _runs_once(self, path: str) -> bool:
        return sum(path == other for other, _, _ in self.entered) == 1


def _why_no_head(trace: _Trace, makers: list[tuple[str, nn.Module]], classes: int) -> str:
    supported = "one nn.Linear whose output the network returns"
    rivals = sorted({p for p, m, _ in trace.left if isinstance(m, nn.Linear) and m.out_features == classes})
    weighted = [(p, m) for p, m, _ in trace.left if any(True for _ in m.parameters(recurse=False))]
    path, last = weighted[-1] if weighted else ("", None)
    if isinstance(last, nn.modules.conv._ConvNd):
        return (
            f"convolutional head: the last weights are {type(last).__name__} at '{path}'; supported is {supported}. "
            "Use another variant of the network, or replace the head by pooling, flattening and an nn.Linear."
        )
    if len(rivals) > 1 and (not makers or any(True for _ in makers[-1][1].parameters())):
        return f"several heads ({', '.join(rivals)}) are mixed into the output; supported is {supported}."
    if not makers and rivals:
        return f"the output is computed after '{rivals[0]}'; expected {supported}. Pass head='{rivals[0]}' if it is."
    found = f"{type(makers[-1][1]).__name__} at '{makers[-1][0]}'" if makers else "an operation outside any module"
    return f"no linear head: the output comes from {found}; expected {supported}. Pass head=… where there is one."


def _linear(model: nn.Module, path: str) -> nn.Linear:
    modules = dict(model.named_modules())
    if not path or path not in modules:
        linears = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
        raise ModelError(f"no module '{path}' for the head; the last linear layers are {linears[-3:]}.")
    module = modules[path]
    if not isinstance(module, nn.Linear):
        hint = ": the network was built without a classifier" if isinstance(module, nn.Identity) else ""
        raise ModelError(f"head '{path}' is {type(module).__name__}{hint}; expected an nn.Linear.")
    return module


def traced(model: nn.Module) -> tuple[_Trace | None, str]:
    """Run the network on the meta device with the first input it accepts; (None, why) where it accepts none."""
    tries: list[_Trace] = []

    @contextmanager
    def watch(twin: nn.Module) -> Iterator[None]:
        tries.append(_Trace())
        for path, module in twin.named_modules():
            if path:
                module.register_forward_hook(tries[-1].watcher(path))
        with torch.no_grad(), tries[-1]:
            yield

    output, reason = meta.run(model, watch)
    if reason:
        return None, reason
    tries[-1].logits = _logits(output)
    return tries[-1], ""


def _logits(output: Any) -> Tensor:
    if isinstance(output, Mapping):  # Hugging Face's ModelOutput
        output = output.get("logits")
    if isinstance(output, (tuple, list)) and len(output) == 1:
        (output,) = output
    if isinstance(output, (tuple, list)):
        found = f"the network returns {len(output)} outputs in training mode"
        raise ModelError(f"several heads: {found}; expected one tensor. Switch auxiliary or distillation heads off.")
    if not isinstance(output, Tensor) or output.ndim != 2:
        found = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise ModelError(f"no classifier: the network returns {found}; expected logits, shape (batch, classes).")
    return output


def _without_trace(model: nn.Module, head: str | None, reason: str) -> Located:
    """The head by elimination, for a network that no guessed input fits and that shows no dropout."""
    drops = any("dropout" in type(module).__name__.lower() for module in model.modules())
    linears = [path for path, module in model.named_modules() if path and isinstance(module, nn.Linear)]
    path = head if head is not None else linears[0] if len(linears) == 1 else None
    if path is None or drops or bool(getattr(model, "drop_rate", None)):
        raise ModelError(
            f"the network could not be run to find its representation ({reason}); expected a classifier of images "
            "(batch, channels, height, width) or vectors, or one without dropout and with head=… given."
        )
    layer = _linear(model, path)
    return Located(path, path, False, layer.in_features, layer.out_features)

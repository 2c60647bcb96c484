"""Batch-norms in evaluation mode folded into the convolutions before them: the same function, one pass less."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def foldable(model: nn.Module, args: Sequence[Tensor]) -> list[tuple[str, str]]:
    """Pairs of (convolution, batch-norm), found in one forward, of which the second can be folded into the first.

    Both run once, the batch-norm on the convolution's output, and nothing else reads that output. Modules with hooks,
    such as taps, and those whose forward was replaced stay as they are.

    Args:
        model: in evaluation mode.
        args: its inputs; the first sample of each is run.
    """
    watch = _Watch()
    handles = []
    for path, module in model.named_modules():
        hooked = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
        if type(module) in (*_CONVOLUTIONS, *_NORMS) and not hooked:
            handles.append(module.register_forward_pre_hook(watch.entering))
            handles.append(module.register_forward_hook(watch.leaving(path)))
    try:
        with torch.no_grad(), watch:
            model(*(a[:1] for a in args))
    finally:
        for handle in handles:
            handle.remove()
    return [(conv, norm) for conv, norm in watch.pairs() if _has_statistics(model.get_submodule(norm))]


def fold(model: nn.Module, pairs: Sequence[tuple[str, str]]) -> None:
    r"""Fold each batch-norm into its convolution, in place, and leave an identity where it was.

    .. math:: W' = sW, \quad b' = s(b - \mu) + \beta, \qquad s = \gamma/\sqrt{\sigma^2 + \epsilon}

    by output channel, computed in float64.

    Args:
        model: changed.
        pairs: see ``foldable``.
    """
    for conv_path, norm_path in pairs:
        conv, norm = model.get_submodule(conv_path), model.get_submodule(norm_path)
        assert isinstance(conv, _CONVOLUTIONS)
        assert isinstance(norm, _BatchNorm)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = 1 / (norm.running_var.double() + norm.eps).sqrt()
        if norm.affine:
            scale = scale * norm.weight.double()
        bias = -norm.running_mean.double() if conv.bias is None else conv.bias.double() - norm.running_mean.double()
        bias = bias * scale + (norm.bias.double() if norm.affine else 0)
        weight = conv.weight.double() * scale.view(-1, *[1] * (conv.weight.ndim - 1))
        conv.weight = nn.Parameter(weight.to(conv.weight), requires_grad=False)
        conv.bias = nn.Parameter(bias.to(conv.weight), requires_grad=False)
        parent, _, name = norm_path.rpartition(".")
        setattr(model.get_submodule(parent), name, nn.Identity())


def _has_statistics(norm: nn.Module) -> bool:
    return isinstance(norm, _BatchNorm) and not norm.training and norm.running_mean is not None


class _Watch(TorchFunctionMode):
    """Which convolution's output enters which batch-norm, how often each runs, and who else reads that output."""

    def __init__(self) -> None:
        super().__init__()
        self._runs: Counter[str] = Counter()
        self._made: dict[int, tuple[str, Tensor]] = {}
        self._entered: list[tuple[str, Tensor]] = []
        self._read: dict[int, Tensor] = {}
        self._within = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not self._within:
            self._note([*args, *kwargs.values()])
        return func(*args, **kwargs)

    def _note(self, values: Sequence[Any]) -> None:
        for value in values:
            if isinstance(value, Tensor):
                self._read[id(value)] = value  # kept alive: a freed tensor's id is given to another
            elif isinstance(value, list | tuple):
                self._note(value)

    def entering(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """What a batch-norm does with its own input is no concern."""
        self._within += isinstance(module, _BatchNorm)

    def leaving(self, path: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        """A forward hook that takes down the run of the module at this path."""

        def note(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            self._runs[path] += 1
            if isinstance(module, _BatchNorm):
                self._within -= 1
                self._entered.append((path, args[0]))
            else:
                self._made[id(output)] = (path, output)

        return note

    def pairs(self) -> list[tuple[str, str]]:
        """Convolution and batch-norm, where both ran once and nobody else read what passed between them."""
        readers = Counter(id(z) for _, z in self._entered)
        return [
            (self._made[id(z)][0], norm)
            for norm, z in self._entered
            if id(z) in self._made
            and id(z) not in self._read
            and readers[id(z)] == 1
            and self._runs[norm] == 1
            and self._runs[self._made[id(z)][0]] == 1
        ]

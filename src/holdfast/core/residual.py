"""Where a network's residual branches end, read off the graph of one forward on the meta device.

A sum is residual where one of its operands, the shortcut, is what the other, the branch, was computed from, or at most
one convolution or linear layer away from it. No table of architectures is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.core import meta
from holdfast.core.errors import ModelError

_WEIGHTED = ("Convolution", "Addmm", "Mm", "Bmm", "Baddbmm")
_LINEAR = ("Mul", "Div", "Permute", "Transpose", "View", "UnsafeView", "ReshapeAlias", "Clone", "Slice", "Roll")


def branches(model: nn.Module) -> list[str]:
    """Paths of the modules whose outputs are the residual branches, in the order of the forward.

    Raises:
        ModelError: the network has no residual sum, or cannot be run; or a branch ends in no module of its own.
    """
    name, seen = type(model).__name__, _Seen()
    output, reason = meta.run(model, seen.watch)
    if reason:
        raise ModelError(
            f"the residual blocks of {name} cannot be found, for it could not be run ({reason}): name the modules in "
            "which its branches end, as branches='blocks.0,blocks.1'"
        )
    logits = output if isinstance(output, Tensor) else output["logits"]
    sums = sorted((fn for fn in _ancestors(logits.grad_fn) if _is(fn, "Add")), key=lambda fn: fn._sequence_nr())
    found = [pair for fn in sums if (pair := _branch(fn)) is not None]
    if not found:
        raise ModelError(f"{name} has no residual blocks: expected sums of a branch and what it was computed from")
    paths = [seen.end(branch, fork) for branch, fork in found]
    if missing := paths.count(None):
        raise ModelError(
            f"{missing} of the {len(paths)} residual branches of {name} end in no module that runs once: put an "
            "nn.Identity there, or name the modules in which the others end, as branches='blocks.0,blocks.1'"
        )
    return [path for path in paths if path is not None]


class _Seen:
    """Which modules gave which node of the graph."""

    def __init__(self) -> None:
        self.made: dict[Any, list[str]] = {}
        self.calls: Counter[str] = Counter()

    @contextmanager
    def watch(self, twin: nn.Module) -> Iterator[None]:
        """Note the modules' outputs."""
        self.made.clear()
        self.calls.clear()
        twin.requires_grad_(True)
        for path, module in twin.named_modules():
            if path:
                module.register_forward_hook(lambda _module, _args, output, path=path: self._note(path, output))
        with torch.enable_grad():
            yield

    def _note(self, path: str, output: Any) -> None:
        self.calls[path] += 1
        if isinstance(output, Tensor) and output.grad_fn is not None:
            self.made.setdefault(output.grad_fn, []).append(path)

    def end(self, branch: Any, fork: Any) -> str | None:
        """The last module that gives the branch, or the branch up to a linear map of it."""
        while branch is not None:
            once = [path for path in self.made.get(branch, []) if self.calls[path] == 1]
            if once:
                return once[-1]
            sources = [fn for fn in _inputs(branch) if fork in _ancestors(fn)]
            branch = sources[0] if len(sources) == 1 and _is(branch, *_LINEAR) else None
        return None


def _branch(total: Any) -> tuple[Any, Any] | None:
    """The branch's end and where it left the shortcut, where this sum is a residual one."""
    operands = _inputs(total)
    if len(operands) != 2:
        return None
    reach = [_ancestors(fn) for fn in operands]
    if not reach[0] & reach[1]:
        return None
    fork = max(reach[0] & reach[1], key=lambda fn: fn._sequence_nr())
    before = _ancestors(fork)
    depths = [sum(_is(fn, *_WEIGHTED) for fn in nodes - before) for nodes in reach]
    if min(depths) > 1 or depths[0] == depths[1]:
        return None
    return operands[depths.index(max(depths))], fork


def _is(fn: Any, *names: str) -> bool:
    return type(fn).__name__.removesuffix("0").removesuffix("Backward") in names


def _inputs(fn: Any) -> list[Any]:
    """What a node was computed from, parameters left out."""
    return [f for f, _ in fn.next_functions if f is not None and not hasattr(f, "variable")]


def _ancestors(fn: Any) -> set[Any]:
    """The node and everything that it was computed from."""
    found, queue = {fn}, [fn]
    while queue:
        new = [f for f in _inputs(queue.pop()) if f not in found]
        found.update(new)
        queue += new
    return found

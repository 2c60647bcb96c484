"""What methods change inside the network's training forwards: noise at a module, a weight replaced for one pass.

An edit is a generator that runs around one call of a module. It gets the arguments, yields what the module shall be
called with, is sent what it was called with after all edits and the output, and returns what shall be handed on instead
(None: the output as it is):

```python
def edit(module, args, draw):
    args, output = yield args
    return noisy(output, draw.per_sample(output.shape, 0.9, output.device))
```

A module in evaluation mode is never edited. The hooks stand outside the compiled graph, and a deep copy or a pickle of
the network turns them into inert ones. No parameter changes its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from holdfast.core import world
from holdfast.core.clock import Clock
from holdfast.core.errors import ConflictError, ModelError
from holdfast.core.member import Member
from holdfast.core.method import State
from holdfast.core.taps import Inert
from holdfast.functional.dropping import kept
from holdfast.functional.noise import generator


@dataclass
class Places(State):
    """Where a method acts inside the network: module paths, found again by ``bind``."""

    paths: tuple[str, ...] = field(default=(), kw_only=True)


def named(model: nn.Module, text: str, asks: object) -> list[str]:
    """The module paths of a text that joins them by commas.

    Raises:
        ModelError: the network has no such module; names who asks and the paths to begin with.
    """
    paths = [path.strip() for path in text.split(",")]
    modules = dict(model.named_modules())
    for path in paths:
        if path not in modules or not path:
            raise ModelError(f"{asks}: {type(model).__name__} has no module {path!r}; {suggestion(model)}")
    return paths


def suggestion(model: nn.Module) -> str:
    """Which paths a user may name, for messages."""
    found = [f"'{name}'" for name, child in model.named_children() if any(True for _ in child.parameters())]
    return f"name modules by their paths, joined by commas; those at the top are {', '.join(found)}"


@dataclass(frozen=True)
class Draw:
    """The coins of one pass through one module: the same whenever that pass is computed again.

    Attributes:
        key: (seed, step, micro-batch, method, module path, how many passes came before it).
        replayed: an activation checkpoint computes the pass a second time, within backward.
    """

    key: tuple[object, ...]
    replayed: bool = False

    def per_sample(self, shape: Iterable[int], q: float, device: torch.device) -> Tensor:
        """Coins (B, ...), true with probability q; of several ranks each gets its slice of one draw."""
        return kept(tuple(shape), q, generator(device, *self.key), world.rank(), world.size())

    def shared(self, shape: Iterable[int], q: float, device: torch.device, name: str = "") -> Tensor:
        """Coins that all ranks share; ``name`` tells several draws of one pass apart."""
        return kept(tuple(shape), q, generator(device, *self.key, name))


Around = Generator[tuple[Any, ...], tuple[tuple[Any, ...], Any], Any]
Edit = Callable[[nn.Module, tuple[Any, ...], Draw], Around]


def install(model: nn.Module, everything: Iterable[Member], clock: Clock) -> list[RemovableHandle]:
    """Put every method's edits on the network, in the order of the methods, behind the taps that are there."""
    handles = []
    for member in everything:
        for path, edit in member.method.edit_forward(model, member.state).items():
            module, calls = model.get_submodule(path), _Calls(edit, (member.key, path), clock)
            handles.append(module.register_forward_pre_hook(_Enter(calls)))
            handles.append(module.register_forward_hook(_Leave(calls), always_call=True))
    return handles


class _Calls:
    """The calls of one edited module: those under way, and how many each micro-batch of this step has had."""

    def __init__(self, edit: Edit, name: tuple[str, str], clock: Clock) -> None:
        self._edit, self._name, self._clock = edit, name, clock
        self._open: list[Around] = []
        self._step, self._counts = clock.step, Counter[int]()

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Before the module runs."""
        if not module.training:
            return None
        running = self._edit(module, args, self._draw())
        args = next(running)
        self._open.append(running)
        return args

    def leave(self, args: tuple[Any, ...], output: Any) -> Any:
        """After it ran; without an output where it raised."""
        if not self._open:
            return None
        running = self._open.pop()
        if output is None:
            return running.close()
        try:
            running.send((args, output))
        except StopIteration as stop:
            return stop.value
        raise RuntimeError("an edit yields once")

    def _draw(self) -> Draw:
        clock = self._clock
        if self._step != clock.step:
            self._step, self._counts = clock.step, Counter()
        replayed = torch._C._current_graph_task_id() != -1  # within backward
        micro = clock.differentiated if replayed and clock.differentiated is not None else clock.micro
        if replayed and self._counts[micro] != 1:
            method, path = self._name
            raise ConflictError(
                f"{method}: '{path}' ran {self._counts[micro]} times before one loss, and an activation checkpoint "
                "repeats one of them: which noise it had cannot be told. Use one forward for each loss, or no "
                "checkpoint there"
            )
        before = 0 if replayed else self._counts[micro]
        self._counts[micro] = before + 1
        return Draw((clock.seed, clock.step, micro, *self._name, before), replayed)


class _Hook:
    """A hook that a deep copy or a pickle of the network turns into an inert one."""

    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    def __reduce__(self) -> tuple[type[Inert], tuple[()]]:
        return Inert, ()


class _Enter(_Hook):
    @torch.compiler.disable
    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        return self._calls.enter(module, args)


class _Leave(_Hook):
    @torch.compiler.disable
    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return self._calls.leave(args, output)

"""Running the rest of a network again and again from one module on: what ran before it is not computed anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Tail:
    """What follows one module, for one batch.

    The outputs of modules that had finished when it began are kept and handed out again. Where that would change the
    network's answer (an operation in place, a module that runs twice) everything is computed anew.

    Args:
        model: in evaluation mode, nothing in it working in place; its answer to ``x`` is what ``run`` gives.
        path: of the module; it runs once and returns a tensor.
        run: a forward of the whole network on the batch.
    """

    def __init__(self, model: nn.Module, path: str, run: Callable[[], Tensor]) -> None:
        self._module, self._run = model.get_submodule(path), run
        done = _finished_before(model, path, run)
        with _recording(model, [*done, path]) as outputs:
            self.intact = run()
        self.output: Tensor = outputs[path]
        self._kept = {model.get_submodule(each): outputs[each] for each in done}
        if not torch.equal(self(), self.intact):
            self._kept = {}

    def __call__(self) -> Tensor:
        """The network's answer with ``output`` as it is now in the module's place."""
        given = {**self._kept, self._module: self.output}
        for module, value in given.items():
            module.forward = lambda *_, value=value, **__: value
        try:
            return self._run()
        finally:
            for module in given:
                del module.forward


def _finished_before(model: nn.Module, path: str, run: Callable[[], Tensor]) -> list[str]:
    """The largest modules that run once, and have ended when the module at ``path`` begins."""
    events: list[tuple[str, bool]] = []  # a module begins (false) or ends

    def note(at: str, ends: bool) -> Callable[..., None]:
        return lambda *_: events.append((at, ends))

    inside = [(at, module) for at, module in model.named_modules() if at]
    handles = [module.register_forward_pre_hook(note(at, False)) for at, module in inside]
    handles += [module.register_forward_hook(note(at, True)) for at, module in inside]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    runs = Counter(at for at, ends in events if ends)
    early = {at for at, ends in events[: events.index((path, False))] if ends and runs[at] == 1}
    done: list[str] = []
    for at, _ in inside:  # a module comes before what it holds
        if at in early and not any(at.startswith(f"{whole}.") for whole in done):
            done.append(at)
    return done


@contextmanager
def _recording(model: nn.Module, paths: list[str]) -> Iterator[dict[str, Any]]:
    outputs: dict[str, Any] = {}
    handles = [
        model.get_submodule(path).register_forward_hook(lambda _m, _a, out, path=path: outputs.update({path: out}))
        for path in paths
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()

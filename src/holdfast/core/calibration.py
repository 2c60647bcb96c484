"""A pass over data before training that leaves no trace: batches where the network is, generators as they were."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.core.errors import UsageError
from holdfast.core.member import Member
from holdfast.core.types import Batch


def run(
    everything: Iterable[Member], model: nn.Module, loader: Iterable[Any], as_batch: Callable[[Any], Any] | None
) -> bool:
    """Let each method that asks for it read the data, modes and generators being as before afterwards.

    Args:
        everything: the bound members.
        model: the network.
        loader: see ``Batches``.
        as_batch: see ``Batches``.

    Returns:
        Whether any method did.
    """
    measuring = [m for m in everything if m.method.calibrates]
    if measuring:
        batches = Batches(loader, next(model.parameters()).device, as_batch)
        with no_trace(model, loader):
            for member in measuring:
                member.method.calibrate(model, batches, member.state)
    return bool(measuring)


class Batches:
    """A loader's batches as a method's ``calibrate`` reads them, as often as it likes.

    Args:
        loader: gives (inputs, targets) or (inputs, targets, indices); read afresh on each pass.
        device: where the tensors are put.
        as_batch: turns what the loader gives into such a tuple.

    Raises:
        UsageError: another kind of batch, or a second pass over an iterator.
    """

    def __init__(self, loader: Iterable[Any], device: torch.device, as_batch: Callable[[Any], Any] | None) -> None:
        self._loader, self._device, self._as_batch = loader, device, as_batch
        self._spent = False

    def __iter__(self) -> Iterator[Batch]:
        if self._spent and iter(self._loader) is self._loader:
            raise UsageError("calibrate reads the data more than once: pass a DataLoader or a list, not an iterator")
        self._spent = True
        for item in self._loader:
            batch = item if self._as_batch is None else self._as_batch(item)
            if not isinstance(batch, list | tuple) or len(batch) < 2:
                raise UsageError(
                    f"calibrate expects batches (inputs, targets) or (inputs, targets, indices), got a "
                    f"{type(batch).__name__}: pass as_batch=… that makes one of it"
                )
            x, y, index = (*batch, None)[:3]
            moved = index.to(self._device) if isinstance(index, Tensor) else None
            yield Batch(x.to(self._device), y.to(self._device), moved)


@contextmanager
def no_trace(model: nn.Module, loader: Iterable[Any]) -> Iterator[None]:
    """Give modes, and every generator that reading data may draw from, back as they were."""
    modes = [(module, module.training) for module in model.modules()]
    parts = (loader, getattr(loader, "sampler", None))
    own = [g for part in parts if isinstance(g := getattr(part, "generator", None), torch.Generator)]
    drawn = [(g, g.get_state()) for g in own]
    numpy, python = sys.modules.get("numpy"), random.getstate()  # augmentations draw from both
    arrays = None if numpy is None else numpy.random.get_state()
    devices = [p.device for p in model.parameters() if p.is_cuda][:1]
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        for module, training in modes:
            module.training = training
        for g, before in drawn:
            g.set_state(before)
        random.setstate(python)
        if numpy is not None:
            numpy.random.set_state(arrays)

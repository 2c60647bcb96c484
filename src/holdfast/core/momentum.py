"""What a momentum encoder needs: a copy that follows a module, and the last keys of each class."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.core import world


class Follower:
    r"""A copy of a module in evaluation mode, which follows it: :math:`\theta_k \leftarrow m\theta_k + (1-m)\theta`.

    Buffers are copied. It does not train, and is no part of what it follows.

    Args:
        leader: the module, as it is now.
    """

    def __init__(self, leader: nn.Module) -> None:
        self.leader = leader
        self.module = copy.deepcopy(leader).eval().requires_grad_(False)

    def on(self, device: torch.device) -> nn.Module:
        """The copy, on this device."""
        if next(self.module.parameters()).device != device:
            self.module.to(device)
        return self.module

    @torch.no_grad()
    def follow(self, m: float) -> None:
        """One update."""
        theirs = [p.detach() for p in self.leader.parameters()]
        mine: list[Tensor] = list(self.on(theirs[0].device).parameters())
        torch._foreach_lerp_(mine, theirs, 1 - m)
        for copied, buffer in zip(self.module.buffers(), self.leader.buffers(), strict=True):
            copied.copy_(buffer)

    def state_dict(self) -> dict[str, Any]:
        """The copy's parameters and buffers."""
        return self.module.state_dict()

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Put them back."""
        self.module.load_state_dict(saved)


class KeyQueue:
    """The last K keys of each class, in several spaces; the oldest is overwritten first.

    A key enters when the optimiser's step is taken: until then it waits, and micro-batches see the same queue. Places
    that no key has taken yet do not count.

    Args:
        classes: C.
        size: K.
        widths: P of each space.
        like: gives device and type.
    """

    def __init__(self, classes: int, size: int, widths: Sequence[int], like: Tensor) -> None:
        places = classes * size + 1  # the last one takes keys that are overwritten within one push
        self._size = size
        self.keys = [torch.zeros(places, width, device=like.device, dtype=like.dtype) for width in widths]
        self.labels = torch.arange(places, device=like.device).div_(size, rounding_mode="floor")
        self.filled = torch.zeros(places, dtype=torch.bool, device=like.device)
        self._next = torch.zeros(classes, dtype=torch.long, device=like.device)
        self._waiting: list[tuple[Tensor, ...]] = []

    def follow(self, device: torch.device) -> None:
        """Move to where the batch is."""
        if self.filled.device != device:
            self.load_state_dict(self.state_dict(), device)

    def add(self, y: Tensor, *keys: Tensor) -> None:
        """Let the keys of one micro-batch wait: labels (B,), and (B, P) for each space."""
        self._waiting.append((y, *(k.detach() for k in keys)))

    @torch.no_grad()
    def push(self) -> None:
        """Take in what waits, of all ranks."""
        if not self._waiting:
            return
        y, *keys = (world.gathered(torch.cat(part)) for part in zip(*self._waiting, strict=True))
        self._waiting = []
        same = y[:, None] == y[None, :]
        before = same.tril(-1).sum(1)
        place = y * self._size + (self._next[y] + before) % self._size
        place = torch.where(same.sum(1) - before > self._size, len(self.filled) - 1, place)
        for mine, new in zip(self.keys, keys, strict=True):
            mine[place] = new.to(mine.dtype)
        self.filled[place] = True
        self.filled[-1] = False
        self._next = self._next.index_add(0, y, torch.ones_like(y)) % self._size

    def state_dict(self) -> dict[str, Any]:
        """Keys, what places are filled, and what waits."""
        return {"keys": self.keys, "filled": self.filled, "next": self._next, "waiting": self._waiting}

    def load_state_dict(self, saved: dict[str, Any], device: torch.device | None = None) -> None:
        """Put them back, where they were or on another device."""
        device = self.filled.device if device is None else device
        self.keys = [k.to(device, copy=True) for k in saved["keys"]]
        self.filled, self._next = saved["filled"].to(device, copy=True), saved["next"].to(device, copy=True)
        self.labels = self.labels.to(device)
        self._waiting = [tuple(part.to(device) for part in parts) for parts in saved["waiting"]]

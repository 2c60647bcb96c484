"""Choosing source images that look like the target's: what is known of each target image, and the choice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.core import world
from holdfast.core.described import Bank, Described
from holdfast.core.errors import UsageError
from holdfast.core.joint import JointState, joint_state
from holdfast.core.taps import REP
from holdfast.core.types import Batch, Context, Step
from holdfast.functional.histograms import REACH, chosen, gabor_bank, grown

UNSAVED = ("described", "head")


@dataclass
class Selection(JointState):
    """The target's images with K of each, how they were predicted in this epoch, and the source images chosen for them.

    Attributes:
        described: the source images' histograms.
        head: weight and bias of the target's head.
        target: histograms of the target images of all ranks, (T, F, bins).
        index: their positions in the training set, (T,).
        ks: K of every position, (N,).
        looks: this rank's looks at every position in this epoch, (N, 3): how many, how many wrong, sum of entropies.
    """

    described: Described
    head: Sequence[Tensor]
    target: Tensor = field(default_factory=lambda: torch.empty(0))
    index: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    ks: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    looks: Tensor = field(default_factory=lambda: torch.empty(0, 3))

    def state_dict(self) -> dict[str, Any]:
        """All but what ``bind`` finds again and files keep."""
        return {name: value for name, value in super().state_dict().items() if name not in UNSAVED}

    def describe_target(self, loader: Iterable[Batch], k: int, *, indexed: bool, asks: object) -> None:
        """Describe each target image as the pass shows it, and give it K = k.

        Raises:
            UsageError: ``indexed``, and a batch brings no positions.
        """
        counts, positions, seen = [], [], 0
        for batch in loader:
            if indexed and batch.index is None:
                raise UsageError(
                    f"{asks} keeps K for each training image: let the loader give (inputs, targets, indices)"
                )
            mine = torch.arange(seen, seen + len(batch.x)) * world.size() + world.rank()
            counts.append(self.described.describe(batch.x))
            positions.append(mine if batch.index is None else batch.index.cpu())
            seen += len(batch.x)
        if not seen:
            raise UsageError(f"{asks} needs the target's training images: the loader given to calibrate is empty")
        self._gather(torch.cat(positions), torch.cat(counts))
        self.ks, self.looks = torch.full((int(self.index[-1]) + 1,), k), torch.zeros(int(self.index[-1]) + 1, 3)

    def _gather(self, positions: Tensor, counts: Tensor) -> None:
        """Every rank knows every image: a checkpoint is one rank's."""
        device = self.head[0].device
        size = int(world.largest_over_ranks(positions.max().to(device))) + 1
        table = torch.full((size, *counts.shape[1:]), -1, dtype=counts.dtype)
        table[positions] = counts
        table = world.largest_over_ranks(table.to(device)).cpu()
        self.index = (table[:, 0, 0] >= 0).nonzero().flatten()
        self.target = table[self.index]

    def choose(self) -> None:
        """Cut the stream down to the union of the K nearest of every target image."""
        sources = self.described.counts(self.head[0].device)
        mask = chosen(self.target, sources, self.described.weights(), self.ks[self.index])
        self.source.choose(mask.nonzero().flatten())

    def look(self, step: Step, asks: object) -> None:
        """Note how the training forward predicted its images, without waiting for the device.

        Raises:
            UsageError: labels or positions did not pass through ``on_batch``.
        """
        rep = step.features(REP).detach().flatten(1)
        y = step.labels(asks, len(rep))
        if step.batch is None or step.batch.index is None:
            raise UsageError(f"{asks} keeps K for each training image: call methods.on_batch(x, y, index)")
        with torch.no_grad():
            log_p = F.linear(rep.to(self.head[0].dtype), *self.head).float().log_softmax(1)
            wrong, entropy = log_p.argmax(1) != y, -(log_p.exp() * log_p).sum(1)
        self.looks = self.looks.to(rep.device)
        new = torch.stack([torch.ones_like(entropy), wrong.float(), entropy], 1)
        index, images = step.batch.index.to(rep.device), len(self.looks)
        known = (index < images)[:, None]  # one that the pass of calibrate left out has no K
        self.looks.index_add_(0, index.clamp(max=images - 1), torch.where(known, new, 0.0))

    def grow(self, delta: float, sigma0: int, sigma1: int) -> None:
        """Let K grow where an image was hard in the last epoch; one that was not seen keeps its K."""
        looks = world.sum_over_ranks(self.looks.to(self.head[0].device)).cpu()
        seen = looks[:, 0].clamp(min=1)
        larger = grown(self.ks, looks[:, 1] / seen > 0.5, looks[:, 2] / seen, delta, sigma0, sigma1)
        self.ks = torch.where(looks[:, 0] > 0, larger, self.ks)

    def forget(self) -> None:
        """Begin another epoch."""
        self.looks = torch.zeros_like(self.looks)


def selection_of(model: nn.Module, ctx: Context, asks: object, filters: str, bins: int) -> Selection:
    """Nothing chosen yet.

    Raises:
        UsageError: see ``joint_state``; or the network has no convolution whose filters could describe an image.
    """
    joint = joint_state(ctx, asks)
    convolution = _first_convolution(model, ctx, asks) if filters in ("conv1", "both") else None

    def banks() -> list[Bank]:
        found = [Bank(gabor_bank(), 2, REACH)] if filters in ("gabor", "both") else []
        if convolution is not None:
            layer, ref = convolution
            found.append(Bank(ctx.start.of([ref])[0], layer.stride, layer.padding))
        return found

    head = [r.param for r in ctx.head()]
    return Selection(joint.source_head, joint.source, Described(joint.source.stream, banks, bins), head)


def _first_convolution(model: nn.Module, ctx: Context, asks: object) -> tuple[nn.Conv2d, Any]:
    """The network's first convolution and its weight, kept as it is at the start."""
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.groups == 1:
            ref = next(r for r in ctx.parameters if r.name == f"{path}.weight")
            ctx.start.keep([ref])
            return module, ref
    raise UsageError(f"{asks} describes images by the network's first convolution, and there is none: take 'gabor'")

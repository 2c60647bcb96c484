"""Data parallelism: what a method sees of the other ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def size() -> int:
    """Number of ranks that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Index of this process among them."""
    return dist.get_rank() if size() > 1 else 0


def barrier() -> None:
    """Wait for the other ranks."""
    if size() > 1:
        dist.barrier()


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum of a tensor over all ranks; the tensor itself where there is one."""
    if size() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total


def mean_over_ranks(value: Tensor) -> Tensor:
    """The mean of a tensor over all ranks; the tensor itself where there is one."""
    return value if size() == 1 else sum_over_ranks(value) / size()


def largest_over_ranks(value: Tensor) -> Tensor:
    """The largest value of any rank."""
    if size() == 1:
        return value
    largest = value.detach().clone()
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return largest


def mean_gradients(grads: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor | None]:
    """Gradients averaged over all ranks in one exchange; a missing one counts as zero there."""
    if size() == 1:
        return list(grads)
    filled = [torch.zeros_like(p) if g is None else g for g, p in zip(grads, like, strict=True)]
    flat = mean_over_ranks(torch.cat([g.flatten() for g in filled]))
    return [part.view_as(g) for part, g in zip(flat.split([g.numel() for g in filled]), filled, strict=True)]


def gathered(value: Tensor) -> Tensor:
    """The parts of all ranks, joined in their order: for terms that are no mean over samples.

    Every rank then computes the whole term. Its backward reaches this rank's part alone, times the number of ranks, so
    that the gradients which are averaged over ranks afterwards are those of one process with the whole batch.

    Args:
        value: this rank's part (B, ...), of the same shape on every rank.

    Returns:
        (B · ranks, ...); ``value`` itself where there is one rank.
    """
    if size() == 1:
        return value
    joined: Tensor = _Gathered.apply(value)
    return joined


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        value = value.detach().contiguous()
        parts = [torch.empty_like(value) for _ in range(size())]
        dist.all_gather(parts, value)
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return size() * g.chunk(size())[rank()]

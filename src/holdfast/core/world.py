"""Data parallelism: what a method sees of the other ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def size() -> int:
    """Number of ranks that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Index of this process among them."""
    return dist.get_rank() if size() > 1 else 0


def mean_over_ranks(value: Tensor) -> Tensor:
    """The mean of a tensor over all ranks; the tensor itself where there is one."""
    if size() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / size()


def mean_gradients(grads: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor | None]:
    """Gradients averaged over all ranks in one exchange; a missing one counts as zero there."""
    if size() == 1:
        return list(grads)
    filled = [torch.zeros_like(p) if g is None else g for g, p in zip(grads, like, strict=True)]
    flat = mean_over_ranks(torch.cat([g.flatten() for g in filled]))
    return [part.view_as(g) for part, g in zip(flat.split([g.numel() for g in filled]), filled, strict=True)]

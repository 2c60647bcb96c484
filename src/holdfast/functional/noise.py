"""Random numbers from generators of our own, keyed by what they are for."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor


def generator(device: torch.device | str, *key: object) -> torch.Generator:
    """A generator whose stream is a function of ``key`` alone.

    Args:
        device: where the numbers are drawn; streams differ between device kinds.
        key: anything with a stable text: seed, step, name.
    """
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator(device=device).manual_seed(int.from_bytes(digest, "big") & (2**63 - 1))


def pseudo_targets(like: Tensor, m: float, kind: str, gen: torch.Generator, rank: int = 0, ranks: int = 1) -> Tensor:
    r"""Pseudo-targets of mean m: :math:`t \sim U[0, 2m)` and its controls.

    Args:
        like: features (B, D, ...); gives shape, device and type.
        m: mean of the targets, m >= 0.
        kind: ``"element"``: uniform, independent entries; ``"instance"``: uniform, one number per sample for all its
            entries; ``"gaussian"``: :math:`N(m, m^2/3)`, whose variance is the uniform's, independent entries;
            ``"constant"``: m throughout.
        gen: source of the numbers.
        rank: which rank's slice is returned, of ``ranks`` equal batches drawn as one.
        ranks: number of ranks.

    Returns:
        Targets of the shape of ``like``.
    """
    if kind == "constant":
        return torch.full_like(like, m)
    batch = like.shape[0]
    inner = (1,) * (like.dim() - 1) if kind == "instance" else like.shape[1:]
    draw = torch.randn if kind == "gaussian" else torch.rand
    drawn = draw((batch * ranks, *inner), generator=gen, device=gen.device, dtype=like.dtype)
    mine = drawn[batch * rank : batch * (rank + 1)]
    if kind == "gaussian":
        return mine.mul_(m / math.sqrt(3)).add_(m)
    return mine.mul_(2 * m).expand_as(like)


def disturbed(y: Tensor, p: float, classes: int, gen: torch.Generator, rank: int = 0, ranks: int = 1) -> Tensor:
    """Labels of which each is redrawn with probability p, uniformly over all classes.

    Args:
        y: labels (B,), whole numbers.
        p: probability, in [0, 1].
        classes: C; the true class is drawn as often as any other.
        gen: source of the numbers.
        rank: which rank's slice is used, of ``ranks`` equal batches drawn as one.
        ranks: number of ranks.
    """
    count, mine = len(y) * ranks, slice(len(y) * rank, len(y) * (rank + 1))
    chosen = torch.rand(count, generator=gen, device=gen.device)[mine] < p
    redrawn = torch.randint(classes, (count,), generator=gen, device=gen.device, dtype=y.dtype)[mine]
    return torch.where(chosen, redrawn, y)

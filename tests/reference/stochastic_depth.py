"""Stochastic depth (Huang et al. 2016).

    H_l = act(b_l f_l(H_{l−1}) + id(H_{l−1})),   b_l ~ Bernoulli(p_l),   p_l = p₀ − l/L·(p₀ − p_L),  l = 1 … L.

Readings. p₀ = 1, p_L = 0.5. With rescaling (default) a living branch is divided by p_l in training and evaluation
uses f_l as it is, so that evaluation passes are those of the plain network; `rescale=False` is the paper's own form,
which multiplies f_l by p_l in evaluation instead. b_l may be one number for the batch (the paper) or one for each
sample.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


def survival(blocks: int, p_L: float = 0.5, p0: float = 1.0) -> list[float]:
    """p_1 … p_L."""
    return [p0 - index / blocks * (p0 - p_L) for index in range(1, blocks + 1)]


def branch(f: Tensor, b: Tensor | None, p: float, rescale: bool = True) -> Tensor:
    """The branch's part of the sum; b is None in evaluation, else of shape () or (B,)."""
    if b is None:
        return f if rescale else p * f
    kept = f * b if b.ndim == 0 else torch.stack([b[i] * f[i] for i in range(len(f))])
    return kept / p if rescale else kept


def run(
    H: Tensor,
    blocks: Sequence[tuple[Map, Map]],
    coins: Sequence[Tensor] | None,
    p_L: float = 0.5,
    rescale: bool = True,
    act: Map = torch.relu,
) -> Tensor:
    """The whole chain of (id, f) blocks; `coins[l]` is b_{l+1}, None in evaluation."""
    for index, ((identity, f), p) in enumerate(zip(blocks, survival(len(blocks), p_L), strict=True)):
        H = act(branch(f(H), coins[index] if coins else None, p, rescale) + identity(H))
    return H

"""The MLP oracles of §4.6.2 of the RIFLE paper: two layers without biases, every gradient written out.

    h(x) = W₂ᵀ ReLU(W₁ᵀ x),  W₁ (inputs, hidden), W₂ (hidden,);    J = mean over the batch of (h(x) − y)²

    ∂J/∂W₂[k] = mean 2(h − y)·ReLU(z_k),   ∂J/∂W₁[i, k] = mean 2(h − y)·W₂[k]·[z_k > 0]·x_i,   z = W₁ᵀ x

Fine-tuning by SGD with momentum on J + ½α‖w‖², the rate on a cosine over the whole training; RIFLE as in `rifle.py`.

Readings. The optimal transport distance of two weight matrices lets each hidden unit (column of W₁) have the same mass;
between as many points on both sides, some optimal plan is a permutation, so the least mean cost over all permutations
is the distance (feasible for a few units alone).
"""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from . import rifle


def output(W1: Tensor, W2: Tensor, x: Tensor) -> float:
    """h(x) of one sample, sum by sum."""
    total = 0.0
    for k in range(len(W2)):
        z = sum(float(W1[i, k]) * float(x[i]) for i in range(len(x)))
        total += float(W2[k]) * max(z, 0.0)
    return total


def gradients(W1: Tensor, W2: Tensor, X: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """∂J/∂W₁ and ∂J/∂W₂, averaged sample after sample."""
    g1, g2 = torch.zeros_like(W1), torch.zeros_like(W2)
    for x, target in zip(X, y, strict=True):
        z = W1.T @ x
        active = (z > 0).to(z.dtype)
        slope = 2 * (W2 @ (z * active) - target) / len(X)
        g2 += slope * z * active
        g1 += slope * torch.outer(x, W2 * active)
    return g1, g2


def finetuned(
    W1: Tensor,
    W2: Tensor,
    batches: Sequence[tuple[Tensor, Tensor]],
    *,
    lr: float,
    momentum: float,
    alpha: float,
    periods: int = 1,
    draw: Callable[[int, Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """L2 where `periods` is 1, else L2 with RIFLE; `batches` holds one batch per step."""
    W1, W2 = W1.clone(), W2.clone()
    v1, v2 = torch.zeros_like(W1), torch.zeros_like(W2)
    total = len(batches)
    due = rifle.resets(total, periods)
    for t, (X, y) in enumerate(batches):
        rate = lr * 0.5 * (1 + math.cos(math.pi * t / total))
        head_rate = rate if periods == 1 else lr * rifle.head_factor(t, total, periods)
        g1, g2 = gradients(W1, W2, X, y)
        v1 = momentum * v1 + g1 + alpha * W1
        v2 = momentum * v2 + g2 + alpha * W2
        W1, W2 = W1 - rate * v1, W2 - head_rate * v2
        if t + 1 in due:
            W2, v2 = draw(1 + due.index(t + 1), W2), torch.zeros_like(W2)
    return W1, W2


def transport(A: Tensor, B: Tensor, cost: Callable[[Tensor, Tensor], float]) -> float:
    """The least mean cost of carrying the columns of A to those of B, over all permutations."""
    k = A.shape[1]
    return min(sum(cost(A[:, i], B[:, j]) for i, j in enumerate(way)) / k for way in itertools.permutations(range(k)))

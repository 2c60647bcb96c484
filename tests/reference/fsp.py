"""FSP, flow of the solution procedure (Yim et al. 2017).

    G_ab(x; W) = Σ_{s,t} F¹_{s,t,a} F²_{s,t,b}/(h·w),   Ω = 1/N Σ_x Σ_pairs λ_i ‖G_T − G_S‖².

Readings. λ_i = 1 for every pair, no ½, the squared Frobenius norm; the batch is averaged. A pair is (a stage's input,
its output). Where the two differ in size, the larger is max-pooled to the smaller (the paper's own remedy). Tokens
(B, N, D) take N for the positions.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor

from .training import Penalty, Step


def to_positions(F: Tensor) -> Tensor:
    """(channels, positions) of one sample's map (C, H, W) or tokens (N, D)."""
    return F.flatten(1) if F.ndim == 3 else F.T


def gram(F1: Tensor, F2: Tensor) -> Tensor:
    """G of one sample, (C₁, C₂), by the sum over positions."""
    if F1.ndim == 3 and F1.shape[1:] != F2.shape[1:]:
        size = tuple(min(a, b) for a, b in zip(F1.shape[1:], F2.shape[1:], strict=True))
        F1, F2 = (functional.adaptive_max_pool2d(F[None], size)[0] for F in (F1, F2))
    first, second = to_positions(F1), to_positions(F2)
    G = first.new_zeros(len(first), len(second))
    for s in range(first.shape[1]):
        G = G + torch.outer(first[:, s], second[:, s])
    return G / first.shape[1]


def penalty(lam: float, pairs: list[tuple[str, str]]) -> Penalty:
    """λ·Ω over pairs of tapped modules, as `training.train` takes it."""

    def at(step: Step) -> Tensor:
        student, teacher = step.forward.maps, step.source_forward().maps
        total = step.forward.logits.sum() * 0
        for a, b in pairs:
            for i in range(len(step.x)):
                G_S, G_T = gram(student[a][i], student[b][i]), gram(teacher[a][i], teacher[b][i])
                total = total + ((G_T - G_S) ** 2).sum() / len(step.x)
        return lam * total

    return at

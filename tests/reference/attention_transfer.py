"""Activation-based attention transfer (Zagoruyko & Komodakis 2017).

    Q = vec(Σ_c |F_c|^p),   Ω = β/2 Σ_stages ‖Q_S/‖Q_S‖₂ − Q_T/‖Q_T‖₂‖₂,   p = 2.

Readings. Per sample, then the mean over the batch. The printed norm is un-squared, with gradient 0 where student and
teacher agree. `code`: the authors' repository, β Σ_stages mean over batch and positions of the squared difference.
Maps (B, C, H, W) have channels on axis 1, tokens (B, N, D) on the last. A map that is zero everywhere has Q/‖Q‖ = 0.
"""

import torch
from torch import Tensor

from .training import Penalty, Step


def attention_vector(F: Tensor, p: int = 2) -> Tensor:
    """Q/‖Q‖ of one sample's map (C, H, W), or of its tokens (N, D)."""
    Q = (F.abs() ** p).sum(0 if F.ndim == 3 else -1).flatten()
    norm = torch.linalg.vector_norm(Q)
    return Q / norm if norm > 0 else Q


def omega(student: list[Tensor], teacher: list[Tensor], p: int = 2, preset: str = "default") -> Tensor:
    """½ Σ over stages, sample by sample; `code`: without ½."""
    total = student[0].sum() * 0
    for F, F0 in zip(student, teacher, strict=True):
        for F_i, F0_i in zip(F, F0, strict=True):
            d = attention_vector(F_i, p) - attention_vector(F0_i, p)
            term = (d**2).mean() if preset == "code" else 0.5 * torch.linalg.vector_norm(d)
            total = total + term / len(F)
    return total


def penalty(beta: float, p: int = 2, preset: str = "default") -> Penalty:
    """β·Ω on the tapped modules, as `training.train` takes it."""

    def at(step: Step) -> Tensor:
        student, teacher = step.forward.maps, step.source_forward().maps
        return beta * omega(list(student.values()), [teacher[tap] for tap in student], p, preset)

    return at

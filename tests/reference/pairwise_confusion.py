"""Pairwise confusion (Dubey et al. 2018, "Pairwise Confusion for Fine-Grained Visual Classification").

The batch is split in two halves, sample i is paired with sample i + ⌊B/2⌋, and softmax outputs of different classes
are drawn together: Ω = λ·mean over pairs with y₁ ≠ y₂ of ‖p₁ − p₂‖².

Readings. The mean is over the pairs that count (`over="all"`: over all pairs formed); no such pair gives 0. Of an odd
batch the last sample sits out. `dubey2018code`: λ/B' Σ over all pairs of the un-squared ‖p₁ − p₂‖, same-class pairs
too, with B' = 2⌊B/2⌋ samples in play; its gradient at p₁ = p₂ is taken as 0.
"""

import torch
from torch import Tensor

from .training import Penalty


def omega(logits: Tensor, y: Tensor, lam: float, preset: str = "default", over: str = "different") -> Tensor:
    """Ω on logits (B, C) and labels (B,)."""
    p = torch.softmax(logits, 1)
    half = len(p) // 2
    terms, counted = [p.sum() * 0], 0
    for i in range(half):
        d = p[i] - p[i + half]
        if preset == "dubey2018code":
            terms.append(torch.linalg.vector_norm(d))
        elif y[i] != y[i + half]:
            terms.append((d**2).sum())
            counted += 1
    if preset == "dubey2018code":
        return lam * sum(terms) / (2 * half)
    return lam * sum(terms) / max(counted if over == "different" else half, 1)


def penalty(lam: float, preset: str = "default", over: str = "different") -> Penalty:
    """The penalty as `training.train` takes it."""
    return lambda step: omega(step.forward.logits, step.y, lam, preset, over)

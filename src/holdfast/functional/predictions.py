"""Maths on the outputs of a classifier: logits (B, C), softmax outputs, labels (B,)."""

from __future__ import annotations

import torch
from torch import Tensor


def confusion(p: Tensor, y: Tensor | None, *, squared: bool, over: str) -> Tensor:
    r"""Distance of the predictions of sample i and sample i + ⌊B/2⌋, over pairs.

    .. math:: \frac1N \sum_{(i,j)} \|p_i - p_j\|_2^2

    Of an odd batch the last sample sits out. The gradient of the un-squared norm is 0 where both predictions agree.

    Args:
        p: softmax outputs (B, C).
        y: labels (B,), where pairs of one class are left out; None where they count.
        squared: the squared norm, or the norm.
        over: what N counts: ``"pairs"`` that count, pairs that are ``"formed"``, or ``"samples"`` in pairs.

    Returns:
        A scalar; 0 where no pair counts.
    """
    half = len(p) // 2
    difference = p[:half] - p[half : 2 * half]
    distance = difference.square().sum(1) if squared else torch.linalg.vector_norm(difference, dim=1)
    if y is not None:
        counts = (y[:half] != y[half : 2 * half]).to(distance.dtype)
        distance = distance * counts
        if over == "pairs":
            return distance.sum() / counts.sum().clamp(min=1)
    return distance.sum() / max(2 * half if over == "samples" else half, 1)

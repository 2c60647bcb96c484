"""DisturbLabel (Xie et al. 2016): each label is redrawn with probability γ, uniformly over all C classes.

The true class is among them, so the label stays with probability 1 − γ·(C − 1)/C. Each sample decides for itself; the
caller supplies the uniform numbers and the redrawn labels.
"""

from torch import Tensor


def disturb(y: Tensor, gamma: float, u: Tensor, redrawn: Tensor) -> Tensor:
    """y_i, or redrawn_i where u_i < γ; all of shape (B,)."""
    out = y.clone()
    for i in range(len(y)):
        if u[i] < gamma:
            out[i] = redrawn[i]
    return out


def label_probabilities(label: int, classes: int, gamma: float) -> list[float]:
    """P(ỹ = c): 1 − γ(C − 1)/C for the true class, γ/C for every other."""
    return [1 - gamma * (classes - 1) / classes if c == label else gamma / classes for c in range(classes)]

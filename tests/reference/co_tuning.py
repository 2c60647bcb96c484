"""Co-Tuning (You et al. 2020): keep the source head and teach it the source classes a label stands for.

    minimise J + λ·1/B Σ_i Σ_s −p(s | y_i) log q_s(x_i),   q the source head's softmax.

p(y_s | y_t) is learnt once from the starting point's probabilities f⁰(x) on the target's training images. Direct way:
the mean of f⁰(x) over the images of class y_t. Reverse way: p(y_s | y_t) ∝ p(y_t | y_s) p(y_s), with p(y_t | y_s)
from a classifier on f⁰ and p(y_s) the mean of f⁰.

Readings. λ = 2.3 (the paper's). The source head trains along under the key `source_head`. Calibration of f⁰ by a
temperature is the caller's.
"""

import torch
from torch import Tensor

from .training import Penalty, Step

KEY = "source_head"


def direct(f: Tensor, y: Tensor, classes: int) -> Tensor:
    """p(y_s | y_t), (C_t, C_s), from probabilities f (n, C_s): the mean over each class; every class must occur."""
    return torch.stack([torch.stack([f[i] for i in range(len(y)) if y[i] == c]).mean(0) for c in range(classes)])


def reverse(target_given_source: Tensor, source: Tensor) -> Tensor:
    """p(y_s | y_t) by Bayes' rule from p(y_t | y_s), (C_s, C_t), and p(y_s), (C_s,)."""
    joint = target_given_source.T * source
    return torch.stack([row / row.sum() for row in joint])


def omega(z: Tensor, y: Tensor, relationship: Tensor) -> Tensor:
    """The mean cross-entropy of logits z (B, C_s) against the rows of the relationship that the labels name."""
    total = z.sum() * 0
    for z_i, label in zip(z, y, strict=True):
        total = total - (relationship[int(label)] * torch.log_softmax(z_i, 0)).sum()
    return total / len(z)


def penalty(relationship: Tensor, lam: float = 2.3) -> Penalty:
    """λ·Ω; hand the source head to `training.train` as `extra={"source_head": …}`."""

    def at(step: Step) -> Tensor:
        return lam * omega(step.extra[KEY](step.forward.rep), step.y, relationship)

    return at

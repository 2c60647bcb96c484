"""DELTA (Li et al. 2019, "DELTA: Deep Learning Transfer using Feature Map with Attention").

    Ω = α Σ_stages ½ Σ_c C·a_c ‖FM_c(w, x_i) − FM_c(w⁰, x_i)‖²/(H·W) + ½β‖w_S̄‖²,
    a = softmax(zscore(rise)/5),   rise_c = L(w⁰ with filter c zeroed) − L(w⁰).

Readings. The maps are outputs of convolutions before batch-norm (the caller taps them). ½, C and H·W are the authors'
code's; the batch is averaged (`reduction="sum"`: summed, as the code does). L is the mean cross-entropy of the
starting point with a head trained on the target, in evaluation mode; zeroing a filter zeroes its kernel and its bias;
z-scores use the population deviation, and equal rises give equal attention.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .know_dist import positions
from .l2 import squares
from .training import Penalty, Step, cross_entropy


def rises(model: nn.Module, conv: str, batches: Sequence[tuple[Tensor, Tensor]]) -> list[float]:
    """Rise of the mean loss, filter by filter of the named convolution (or linear layer: unit by unit)."""

    def loss(network: nn.Module) -> float:
        return sum(cross_entropy(network(x), y).item() for x, y in batches) / len(batches)

    with torch.no_grad():
        intact = copy.deepcopy(model).eval()
        base, out = loss(intact), []
        for c in range(len(intact.get_submodule(conv).weight)):
            damaged = copy.deepcopy(intact)
            layer = damaged.get_submodule(conv)
            layer.weight[c] = 0.0
            if layer.bias is not None:
                layer.bias[c] = 0.0
            out.append(loss(damaged) - base)
    return out


def attention(rise: Sequence[float], temperature: float = 5.0) -> Tensor:
    """a = softmax(zscore(rise)/temperature), (C,), summing to 1."""
    values = torch.tensor(rise, dtype=torch.float64)
    deviation = torch.sqrt(((values - values.mean()) ** 2).mean())
    z = (values - values.mean()) / deviation if deviation > 0 else torch.zeros_like(values)
    return torch.softmax(z / temperature, 0)


def distance(F: Tensor, F0: Tensor, a: Tensor, reduction: str = "mean") -> Tensor:
    """½ Σ_i Σ_c C·a_c‖F_ic − F0_ic‖²/(H·W), channels on axis 1 of maps and on the last axis of tokens and vectors."""
    total = F.sum() * 0
    for F_i, F0_i in zip(F, F0, strict=True):
        channels = (F_i - F0_i) if F.ndim == 4 else (F_i - F0_i).movedim(-1, 0)
        for a_c, d in zip(a, channels, strict=True):
            total = total + 0.5 * len(a) * a_c * (d**2).sum() / positions(F)
    return total / len(F) if reduction == "mean" else total


def penalty(a: dict[str, Tensor], alpha: float = 0.01, beta: float = 0.01, reduction: str = "mean") -> Penalty:
    """The penalty as `training.train` takes it, with the attention `a` of each tapped module."""

    def at(step: Step) -> Tensor:
        teacher = step.source_forward().maps
        body = sum(distance(F, teacher[tap], a[tap], reduction) for tap, F in step.forward.maps.items())
        return alpha * body + 0.5 * beta * squares(step.w, step.head)

    return at

"""Diagonal Fisher information, the display before eq. 5 of the L2-SP paper:

    F_jj = 1/m Σ_i Σ_k f_k(x_i; w⁰) (∂ log f_k(x_i; w⁰)/∂w_j)².

One backward pass for each sample and each class: squares of single gradients, never the square of a batch mean. The
network is in evaluation mode at w⁰ and keeps its source head. `exact` sums over all classes; `topk` over the k most
probable ones, whose probabilities are made to sum to 1 (`renormalise=False` leaves them); `monte_carlo` averages over
drawn labels that the caller supplies.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .training import Weights


def squared_score(model: nn.Module, x: Tensor, label: int) -> Weights:
    """(∂ log f_label(x)/∂w_j)² for one sample x without batch dimension."""
    names, w = zip(*model.named_parameters(), strict=True)
    log_f = torch.log_softmax(model(x[None])[0], 0)[label]
    found = torch.autograd.grad(log_f, w, allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g**2 for n, p, g in zip(names, w, found, strict=True)}


def accumulate(model: nn.Module, pairs: Sequence[Sequence[tuple[int, float]]], inputs: Tensor) -> Weights:
    """1/m Σ_i Σ_{(k, weight) of i} weight·score², with `pairs[i]` the classes and weights of sample i."""
    model = model.eval()
    F = {name: torch.zeros_like(p.detach()) for name, p in model.named_parameters()}
    for x, weighted in zip(inputs, pairs, strict=True):
        for label, weight in weighted:
            for name, square in squared_score(model, x, label).items():
                F[name] += weight * square / len(inputs)
    return F


def probabilities(model: nn.Module, inputs: Tensor) -> list[list[float]]:
    """f(x_i), sample by sample, in evaluation mode."""
    with torch.no_grad():
        return [torch.softmax(model.eval()(x[None])[0], 0).tolist() for x in inputs]


def exact(model: nn.Module, inputs: Tensor) -> Weights:
    """The inner expectation over all classes."""
    return accumulate(model, [list(enumerate(f)) for f in probabilities(model, inputs)], inputs)


def topk(model: nn.Module, inputs: Tensor, k: int, renormalise: bool = True) -> Weights:
    """The inner expectation over the k most probable classes of each sample."""
    pairs = []
    for f in probabilities(model, inputs):
        best = sorted(range(len(f)), key=lambda c: -f[c])[:k]
        mass = sum(f[c] for c in best) if renormalise else 1.0
        pairs.append([(c, f[c] / mass) for c in best])
    return accumulate(model, pairs, inputs)


def monte_carlo(model: nn.Module, inputs: Tensor, labels: Sequence[Sequence[int]]) -> Weights:
    """The inner expectation as the mean over `labels[i]`, drawn from f(x_i) by the caller."""
    return accumulate(model, [[(c, 1 / len(drawn)) for c in drawn] for drawn in labels], inputs)

r"""The diagonal Fisher information of a classifier: squares of single scores, never the square of a batch's mean.

.. math:: F_{jj} = \frac1m\sum_i\sum_k f_k(x_i; w^0)\,(\partial\log f_k(x_i; w^0)/\partial w_j)^2

where :math:`f` are the class probabilities and :math:`x_i` the m samples (Li et al. 2020, the display before eq. 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

Parameters = Mapping[str, Tensor]
LogProbabilities = Callable[[Parameters, Tensor], Tensor]
"""Of parameters and inputs (n, ...): log f, (n, C); samples do not see each other."""


def chosen_labels(log_f: Tensor, kind: str, count: int, generators: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
    r"""The classes that stand for the inner sum, and their weights.

    Args:
        log_f: log-probabilities (n, C).
        kind: ``"exact"``: all classes, weighted by f; ``"topk"``: the ``count`` most probable ones, their f made to sum
            to 1; ``"monte_carlo"``: ``count`` draws from f, each of weight 1/count.
        count: see ``kind``.
        generators: one for each sample, on the CPU; for ``"monte_carlo"`` alone.

    Returns:
        classes (n, K) and weights (n, K).
    """
    f = log_f.exp()
    if kind == "exact":
        return torch.arange(f.shape[1], device=f.device).expand_as(f), f
    if kind == "topk":
        best, classes = f.topk(min(count, f.shape[1]), dim=1)
        return classes, best / best.sum(1, keepdim=True)
    classes = drawn_classes(f, count, generators)
    return classes, torch.full_like(classes, 1 / count, dtype=f.dtype)


def drawn_classes(f: Tensor, count: int, generators: Sequence[torch.Generator]) -> Tensor:
    r"""Classes drawn with replacement: :math:`k = \min\{j : u\sum_if_i < \sum_{i\le j}f_i\}`, u uniform on [0, 1).

    ``torch.multinomial`` gives other classes for the same generator in torch 2.6 and 2.15, uniform numbers the same.

    Args:
        f: probabilities (n, C).
        count: draws of each sample.
        generators: one for each sample, on the CPU.

    Returns:
        classes (n, count).
    """
    below = f.cpu().double().cumsum(1)
    u = torch.stack([torch.rand(count, dtype=torch.float64, generator=g) for g in generators])
    drawn = torch.searchsorted(below, u * below[:, -1:], right=True)
    return drawn.clamp(max=f.shape[1] - 1).to(f.device)  # rounding may put u·Σf at Σf itself


def squared_scores(
    log_f: LogProbabilities, params: Parameters, x: Tensor, classes: Tensor, weights: Tensor, room: int = 1 << 26
) -> dict[str, Tensor]:
    r""":math:`\sum_i\sum_k c_{ik}(\partial\log f_k(x_i)/\partial w_j)^2` by parameter, several gradients at a time.

    Args:
        log_f: see ``LogProbabilities``; must be one that ``torch.func.vmap`` can batch.
        params: w by name.
        x: n samples, (n, ...).
        classes: k, (n, K).
        weights: c, (n, K).
        room: how many numbers the gradients that are held at a time may have.
    """
    total = {name: torch.zeros_like(p) for name, p in params.items()}
    at_once = max(1, room // max(1, sum(p.numel() for p in params.values())))
    labels, samples = min(classes.shape[1], at_once), max(1, at_once // classes.shape[1])

    def log_likelihood(w: Parameters, one: Tensor, label: Tensor) -> Tensor:
        return log_f(w, one[None])[0].gather(0, label[None])[0]

    score = torch.func.grad(log_likelihood)
    scores = torch.func.vmap(torch.func.vmap(score, in_dims=(None, None, 0)), in_dims=(None, 0, 0))
    for xs, ks, cs in zip(x.split(samples), classes.split(samples), weights.split(samples), strict=True):
        for some, c in zip(ks.split(labels, 1), cs.split(labels, 1), strict=True):
            for name, g in scores(params, xs, some).items():
                total[name] += torch.tensordot(c, g.square_(), 2)
    return total


def squared_scores_singly(
    log_f: LogProbabilities, params: Parameters, x: Tensor, classes: Tensor, weights: Tensor
) -> dict[str, Tensor]:
    """The same by one backward pass for each sample and class, for networks that cannot be batched."""
    leaves = {name: p.detach().requires_grad_(True) for name, p in params.items()}
    total = {name: torch.zeros_like(p) for name, p in params.items()}
    for one, labels, c in zip(x, classes, weights, strict=True):
        with torch.enable_grad():
            log_p = log_f(leaves, one[None])[0]
        for label, weight in zip(labels.tolist(), c, strict=True):
            found = torch.autograd.grad(log_p[label], list(leaves.values()), retain_graph=True, allow_unused=True)
            for name, g in zip(leaves, found, strict=True):
                if g is not None:
                    total[name] += weight * g.square()
    return total

"""BTfW, selective joint fine-tuning (Ge & Yu 2017, "Borrowing Treasures from the Wealthy").

Each image is described by one histogram for each low-level filter, over all positions of the filter's response.
Target image i and source image j lie apart by the symmetric divergence, summed over the filters of each bank:

    H_ij = Σ_h w_h [KL(φ_h^i ‖ φ_h^j) + KL(φ_h^j ‖ φ_h^i)],   w_h = 1/N_h, N_h the number of filters in h's bank.

Each target image takes its K nearest source images. After a round, K grows for hard samples: by σ₀ if it is
misclassified, by σ₁ if it is right but its prediction entropy is at least δ. The union of all choices is the source
stream of `joint_train.py`.

Readings. Bins are of equal width between edges that the caller fixes (a response beyond an edge falls into the
outermost bin); ε is added to every count before normalising, so that the divergence is finite. Entropy is in nats.
Ties take the lower index.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Histogram = list[float]


def histogram(response: Tensor, low: float, high: float, bins: int, eps: float = 1.0) -> Histogram:
    """Relative frequencies of one filter's response map over `bins` bins on [low, high]."""
    counts = [eps] * bins
    for value in response.flatten().tolist():
        place = math.floor((value - low) / (high - low) * bins) if high > low else 0
        counts[min(max(place, 0), bins - 1)] += 1
    return [count / sum(counts) for count in counts]


def describe(responses: Tensor, edges: Sequence[tuple[float, float]], bins: int, eps: float = 1.0) -> list[Histogram]:
    """One histogram for each filter of responses (filters, H, W)."""
    return [histogram(r, low, high, bins, eps) for r, (low, high) in zip(responses, edges, strict=True)]


def kl(p: Histogram, q: Histogram) -> float:
    """Σ p log(p/q)."""
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def divergence(a: list[Histogram], b: list[Histogram], weights: Sequence[float] | None = None) -> float:
    """H between two described images; the default weights are those of one bank, 1/N."""
    weights = weights or [1 / len(a)] * len(a)
    return sum(w * (kl(p, q) + kl(q, p)) for w, p, q in zip(weights, a, b, strict=True))


def nearest(target: list[Histogram], source: Sequence[list[Histogram]], k: int) -> list[int]:
    """Indices of the k source images nearest to one target image, the nearest first."""
    distances = [divergence(target, candidate) for candidate in source]
    return sorted(range(len(source)), key=lambda j: (distances[j], j))[:k]


def select(targets: Sequence[list[Histogram]], source: Sequence[list[Histogram]], ks: Sequence[int]) -> list[int]:
    """The union of every target image's choice, sorted."""
    chosen: set[int] = set()
    for target, k in zip(targets, ks, strict=True):
        chosen |= set(nearest(target, source, k))
    return sorted(chosen)


def next_round(ks: Sequence[int], p: Tensor, y: Tensor, delta: float, sigma0: int, sigma1: int) -> list[int]:
    """K of the next round from predicted probabilities p (n, C) of the target's training images."""
    out = []
    for k, row, label in zip(ks, p, y, strict=True):
        entropy = -sum(v * math.log(v) for v in row.tolist() if v > 0)
        wrong = int(torch.argmax(row)) != int(label)
        out.append(k + (sigma0 if wrong else sigma1 if entropy >= delta else 0))
    return out

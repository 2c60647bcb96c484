"""Bi-Tuning (Zhong et al. 2020): minimise L_CE + L_CCE + L_CCL.

Both added losses are contrastive with several positives. For a query with logits s_0 … s_n on its keys, P the keys of
its own class,

    ℓ = −1/|P| Σ_{k∈P} log [exp(s_k/τ)/Σ_j exp(s_j/τ)].

L_CCL (categorical contrastive learning): query z_i, the normalised projection of rep; keys are the momentum encoder's
projection of the same image, then the queue. L_CCE (contrastive cross-entropy): query the classifier's row w_{y_i};
keys are the sample's own rep, then the momentum encoder's in the queue. P: the first key and the queue's entries of
class y_i.

Readings, after the authors' port. rep is extended by 1 and the row by its bias, then both are normalised. τ = 0.07, K
= 40 keys for each class, momentum 0.999. `head_gradient=False` holds the rows constant in L_CCE, as the port does;
the paper's objective lets them learn. Keys never carry a gradient, the sample's own rep does.
"""

import torch
from torch import Tensor, nn


def normalised(v: Tensor) -> Tensor:
    """v/‖v‖."""
    return v / torch.linalg.vector_norm(v)


def contrast(logits: list[Tensor], positive: list[bool], tau: float) -> Tensor:
    """ℓ of one query."""
    normaliser = torch.logsumexp(torch.stack(logits) / tau, 0)
    terms = [normaliser - s / tau for s, own in zip(logits, positive, strict=True) if own]
    return sum(terms) / len(terms)


def ccl(z: Tensor, z_key: Tensor, y: Tensor, queue: Tensor, queue_y: Tensor, tau: float = 0.07) -> Tensor:
    """Mean of ℓ on projections z, z_key (B, P) and a queue (N, P) of normalised keys with their classes."""
    total = z.sum() * 0
    for i in range(len(z)):
        q = normalised(z[i])
        logits = [q @ normalised(z_key[i]).detach(), *(q @ key.detach() for key in queue)]
        total = total + contrast(logits, [True, *(int(c) == int(y[i]) for c in queue_y)], tau)
    return total / len(z)


def extended(rep: Tensor) -> Tensor:
    """(rep, 1)/‖(rep, 1)‖ of one sample."""
    return normalised(torch.cat([rep, rep.new_ones(1)]))


def cce(
    rep: Tensor,
    head: nn.Linear,
    y: Tensor,
    queue: Tensor,
    queue_y: Tensor,
    tau: float = 0.07,
    head_gradient: bool = True,
) -> Tensor:
    """Mean of ℓ on rep (B, D) and a queue (N, D + 1) of extended keys with their classes."""
    total = rep.sum() * 0
    for i in range(len(rep)):
        label = int(y[i])
        row = normalised(torch.cat([head.weight[label], head.bias[label : label + 1]]))
        row = row if head_gradient else row.detach()
        logits = [row @ extended(rep[i]), *(row @ key.detach() for key in queue)]
        total = total + contrast(logits, [True, *(int(c) == label for c in queue_y)], tau)
    return total / len(rep)


def momentum_update(key: dict[str, Tensor], query: dict[str, Tensor], m: float = 0.999) -> dict[str, Tensor]:
    """θ_k ← m θ_k + (1 − m) θ_q."""
    return {name: m * key[name] + (1 - m) * query[name].detach() for name in key}


class Queue:
    """The last K keys of each class, oldest overwritten first."""

    def __init__(self, keys: Tensor) -> None:
        self.keys, self.next = keys.clone(), [0] * len(keys)

    def push(self, key: Tensor, label: int) -> None:
        """Overwrite the oldest key of the class; keys have shape (C, K, P)."""
        self.keys[label, self.next[label]] = key.detach()
        self.next[label] = (self.next[label] + 1) % self.keys.shape[1]

    def flat(self) -> tuple[Tensor, Tensor]:
        """All keys (C·K, P) with their classes (C·K,)."""
        classes, K = self.keys.shape[:2]
        return self.keys.flatten(0, 1), torch.arange(classes).repeat_interleave(K)

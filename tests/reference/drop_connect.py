"""DropConnect on the head (Wan et al. 2013): z_i = (M_i ∘ W) rep_i/(1 − p) + b.

Readings. M ~ Bernoulli(1 − p) over the weights, not the bias; a mask of its own for each sample, (B, C, D), as the
paper has it, or one for the batch, (C, D). The expectation is kept by 1/(1 − p) in training, and evaluation uses W as
it is; the paper's evaluation draws from a Gaussian instead.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn


def connected(rep: Tensor, W: Tensor, b: Tensor | None, mask: Tensor, p: float) -> Tensor:
    """z (B, C), sample by sample."""
    rows = []
    for i in range(len(rep)):
        M = mask[i] if mask.ndim == 3 else mask
        z = (M * W / (1 - p)) @ rep[i]
        rows.append(z if b is None else z + b)
    return torch.stack(rows)


class HeadDropConnect:
    """A hook after the head: the n-th training pass takes `masks(n)`."""

    def __init__(self, masks: Callable[[int], Tensor], p: float) -> None:
        self.masks, self.p, self.passes = masks, p, 0

    def __call__(self, head: nn.Linear, args: tuple[Tensor], _: Tensor) -> Tensor | None:
        if not head.training:
            return None
        self.passes += 1
        return connected(args[0], head.weight, head.bias, self.masks(self.passes - 1), self.p)


def prepared(model: nn.Module, head_name: str, masks: Callable[[int], Tensor], p: float) -> nn.Module:
    """A copy whose head drops connections, to hand to `training.train`."""
    model = copy.deepcopy(model)
    model.get_submodule(head_name).register_forward_hook(HeadDropConnect(masks, p))
    return model

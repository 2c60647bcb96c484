"""Dropout on the head (Srivastava et al. 2014; grid {0.1, 0.2, 0.5} in the RIFLE paper): z = W(m ∘ rep)/(1 − p) + b.

Readings. m_ij ~ Bernoulli(1 − p), one for each sample and feature, supplied by the caller; scaled in training,
nothing in evaluation.
"""

import copy
from collections.abc import Callable

from torch import Tensor, nn


def dropped(rep: Tensor, mask: Tensor, p: float) -> Tensor:
    """m ∘ rep/(1 − p), (B, D)."""
    return mask * rep / (1 - p)


class HeadDropout:
    """A hook before the head: the n-th training pass takes `masks(n)`."""

    def __init__(self, masks: Callable[[int], Tensor], p: float) -> None:
        self.masks, self.p, self.passes = masks, p, 0

    def __call__(self, head: nn.Module, args: tuple[Tensor]) -> tuple[Tensor] | None:
        if not head.training:
            return None
        self.passes += 1
        return (dropped(args[0], self.masks(self.passes - 1), self.p),)


def prepared(model: nn.Module, head_name: str, masks: Callable[[int], Tensor], p: float) -> nn.Module:
    """A copy whose head drops features, to hand to `training.train`."""
    model = copy.deepcopy(model)
    model.get_submodule(head_name).register_forward_pre_hook(HeadDropout(masks, p))
    return model

"""Learning without forgetting (Li & Hoiem 2016): keep the source head and its answers on the target's images.

    L_old = −1/B Σ_i Σ_c y'_ic log ŷ'_ic,   y' = softmax(z⁰/T),  ŷ' = softmax(z/T),   minimise J + λ·T²·L_old.

(The paper writes y'^(c) = y_c^{1/T}/Σ y^{1/T}, which is the same.) Readings. T = 2, λ = 1. The source head is a copy
that trains along with the rest, under the key `source_head`. z⁰ comes from the starting point in evaluation mode on
the very view that is trained on, with T² (ours); `squared_T=False` and targets recorded beforehand give `li2016`.
`kl=True` subtracts the entropy of y', which changes the value but not the gradient. The warm-up, which trains the new
head alone first, is `lp_ft.lp_ft` with this penalty: Ω does not reach the new head, so it adds nothing there.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .training import Penalty, Step

KEY = "source_head"


def distillation(z: Tensor, z0: Tensor, T: float = 2.0, squared_T: bool = True, kl: bool = False) -> Tensor:
    """T²·L_old on logits (B, C_s) of the student's source head and of the teacher, sample by sample."""
    total = z.sum() * 0
    for z_i, z0_i in zip(z, z0, strict=True):
        y0 = torch.softmax(z0_i, 0) ** (1 / T)
        y0 = y0 / y0.sum()
        y = torch.softmax(z_i, 0) ** (1 / T)
        y = y / y.sum()
        total = total - (y0 * torch.log(y)).sum()
        if kl:
            total = total + (y0 * torch.log(y0)).sum()
    return (T**2 if squared_T else 1.0) * total / len(z)


def penalty(
    source_head: nn.Module,
    lam: float = 1.0,
    T: float = 2.0,
    squared_T: bool = True,
    recorded: Callable[[int], Tensor] | None = None,
) -> Penalty:
    """λ·T²·L_old; hand the same head to `training.train` as `extra={"source_head": …}`. `recorded(t)`: z⁰ of step t."""
    source_head = copy.deepcopy(source_head)

    def at(step: Step) -> Tensor:
        with torch.no_grad():
            z0 = recorded(step.t) if recorded else source_head(step.source_forward().rep)
        return lam * distillation(step.extra[KEY](step.forward.rep), z0, T, squared_T)

    return at

"""The strength of a gradient that is added at features, set by the ratio of mean gradient norms."""

from __future__ import annotations

import torch
from torch import Tensor

from holdfast.core import world
from holdfast.core.method import State
from holdfast.core.types import Step
from holdfast.functional.features import at_least_single, balancing_weight, mean_norm


def exact(values: Tensor) -> Tensor:
    """The values without their graph, in float32 at least."""
    return at_least_single(values.detach())


def weight(g: Tensor, u: Tensor, R: float) -> Tensor:
    r"""The factor :math:`w = \bar G_{ce}/(\bar G_u R)` of an addition ``u``; both mean norms are the ranks' means.

    Args:
        g: the task's gradient that arrives at the features, (B, ...).
        u: gradient of each sample's own loss on its features, (B, ...).
        R: wanted ratio of the mean norms, R > 0.
    """
    norms = world.mean_over_ranks(torch.stack([mean_norm(exact(g)), mean_norm(u)]))
    return balancing_weight(norms[0], norms[1], R)


def report(w: Tensor, z: Tensor, step: Step, state: State) -> None:
    """Log w as equation 5 of PtR has it: for the mean over all B·D entries, without the host's factor."""
    state.figures["w"] = w * z.numel() / (1.0 if step.scale is None else step.scale)

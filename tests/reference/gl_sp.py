"""Group-Lasso-SP, eq. 6 of the L2-SP paper: Ω(w) = α Σ_g s_g ‖w_Gg − w⁰_Gg‖₂ + β/2 ‖w_S̄‖², s_g = √p_g.

Readings. A group is the fan-in of one output channel of a convolution (p_g = h·w·d), and of one output unit of a
linear layer of the body. α stands without ½. Biases and normalisation of w_S are left to L²-SP, ½α‖·‖² (`rest="none"`
leaves them free). Smoothed form: ‖d_g‖ is √(Σ d² + ε), ε = 1e-16 as in the authors' code. Proximal form, after the
optimiser's step on J, the rest and the head's term, with η the rate of that step:

    d_g ← d_g·max(1 − η α s_g/‖d_g‖, 0),   d = w − w⁰.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .l2 import squares
from .training import Penalty, Run, Step, shared_parameters


def split(step: Step | Run) -> tuple[list[str], list[str]]:
    """Names of the kernels, which form groups, and of the rest of w_S."""
    kernels = shared_parameters(step.model, step.head_name, "weights")
    return kernels, [name for name in shared_parameters(step.model, step.head_name) if name not in kernels]


def group_norms(d: Tensor, eps: float) -> list[tuple[float, Tensor]]:
    """(s_g, √(Σ_{j∈g} d_j² + ε)) for each output channel of one kernel."""
    return [(math.sqrt(row.numel()), torch.sqrt((row**2).sum() + eps)) for row in d]


def ungrouped(step: Step, alpha: float, beta: float, rest: str) -> Tensor:
    """½α‖w_rest − w⁰_rest‖² + ½β‖w_S̄‖²."""
    names = split(step)[1] if rest == "l2_sp" else []
    d = {name: step.w[name] - step.w0[name] for name in names}
    return 0.5 * alpha * squares(d, d) + 0.5 * beta * squares(step.w, step.head)


def penalty(alpha: float, beta: float = 0.01, eps: float = 1e-16, rest: str = "l2_sp") -> Penalty:
    """The smoothed penalty as `training.train` takes it."""

    def at(step: Step) -> Tensor:
        total = ungrouped(step, alpha, beta, rest)
        for name in split(step)[0]:
            for s, norm in group_norms(step.w[name] - step.w0[name], eps):
                total = total + alpha * s * norm
        return total

    return at


def smooth_part(alpha: float, beta: float = 0.01, rest: str = "l2_sp") -> Penalty:
    """What stays in the gradient beside the proximal step."""
    return lambda step: ungrouped(step, alpha, beta, rest)


def shrink(d: Tensor, threshold: float) -> Tensor:
    """argmin_v ½‖v − d‖² + threshold·‖v‖."""
    norm = d.norm().item()
    return torch.zeros_like(d) if norm <= threshold else d * (1 - threshold / norm)


def proximal_step(alpha: float) -> Callable[[Run], None]:
    """The step after the optimiser's, group by group."""

    def after_step(run: Run) -> None:
        for name in split(run)[0]:
            w, w0 = run.w[name].data, run.w0[name]
            for g in range(len(w)):
                w[g] = w0[g] + shrink(w[g] - w0[g], run.rates[name] * alpha * math.sqrt(w[g].numel()))

    return after_step

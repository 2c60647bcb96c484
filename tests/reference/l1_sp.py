"""L¹-SP, eq. 5 of the L2-SP paper: Ω(w) = α‖w_S − w⁰_S‖₁ + β/2 ‖w_S̄‖².

Readings. α stands without ½. Smoothed form: |d| is √(d² + ε), ε = 1e-16 as in the authors' code; ε = 0 is the
sub-gradient sign(d) with 0 at 0. Proximal form: J and the head's term take the optimiser's step, momentum included,
then

    w_j ← w⁰_j + sign(d_j)·max(|d_j| − η α, 0),   d = w − w⁰,

with η the rate of that step (not divided by 1 − momentum).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .l2 import squares
from .training import Penalty, Run, Step, shared_parameters


def smooth_abs(d: Tensor, eps: float) -> Tensor:
    """√(d² + ε); |d| where ε = 0."""
    return torch.sqrt(d**2 + eps) if eps else d.abs()


def penalty(alpha: float, beta: float = 0.01, eps: float = 1e-16, include: str = "all") -> Penalty:
    """The smoothed penalty as `training.train` takes it."""

    def at(step: Step) -> Tensor:
        names = shared_parameters(step.model, step.head_name, include)
        body = sum(smooth_abs(step.w[name] - step.w0[name], eps).sum() for name in names)
        return alpha * body + 0.5 * beta * squares(step.w, step.head)

    return at


def head_term(beta: float) -> Penalty:
    """½β‖w_S̄‖²: what stays in the gradient beside the proximal step."""
    return lambda step: 0.5 * beta * squares(step.w, step.head)


def soft(d: float, threshold: float) -> float:
    """argmin_v ½(v − d)² + threshold·|v|."""
    if d > threshold:
        return d - threshold
    return d + threshold if d < -threshold else 0.0


def proximal_step(alpha: float, include: str = "all") -> Callable[[Run], None]:
    """The step after the optimiser's, number by number; exact returns to w⁰ are possible."""

    def after_step(run: Run) -> None:
        for name in shared_parameters(run.model, run.head_name, include):
            w, w0 = run.w[name].data.view(-1), run.w0[name].view(-1)
            for j in range(w.numel()):
                moved = soft(w[j].item() - w0[j].item(), run.rates[name] * alpha)
                w[j] = w0[j] + moved

    return after_step

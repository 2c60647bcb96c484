"""GL-SP-Fisher, the last display of §3 of the L2-SP paper.

    Ω(w) = α Σ_g s_g (Σ_{j∈g} F_jj (w_j − w⁰_j)²)^½ + β/2 ‖w_S̄‖²

Readings. Groups, s_g = √p_g and the rest of w_S as in `gl_sp.py` (the rest is under plain ½α L²-SP; `rest="none"`
leaves it free). Smoothed form: √(Σ F d² + ε). Proximal form: v = argmin ½‖v − d‖² + c·(Σ F_j v_j²)^½, c = η α s_g.
Where F_j > 0 the minimiser is 0 if (Σ d_j²/F_j)^½ ≤ c; else v_j = d_j/(1 + c F_j/r), with r = (Σ F_j v_j²)^½ > 0 the
root of Σ F_j d_j²/(r + c F_j)² = 1, found by bisection. Entries with F_j = 0 stay where they are.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .gl_sp import split, ungrouped
from .training import Penalty, Run, Step, Weights


def penalty(F: Weights, alpha: float, beta: float = 0.01, eps: float = 1e-16, rest: str = "l2_sp") -> Penalty:
    """The smoothed penalty as `training.train` takes it."""

    def at(step: Step) -> Tensor:
        total = ungrouped(step, alpha, beta, rest)
        for name in split(step)[0]:
            for F_g, d_g in zip(F[name], step.w[name] - step.w0[name], strict=True):
                total = total + alpha * math.sqrt(d_g.numel()) * torch.sqrt((F_g * d_g**2).sum() + eps)
        return total

    return at


def root(F: Tensor, d: Tensor, c: float) -> float:
    """r > 0 with Σ F d²/(r + cF)² = 1; the left side falls from (Σ d²/F)/c² to 0, and is ≤ 1 at (Σ F d²)^½."""
    low, high = 0.0, math.sqrt((F * d**2).sum().item())
    for _ in range(200):
        middle = (low + high) / 2
        if (F * d**2 / (middle + c * F) ** 2).sum().item() > 1:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def shrink(F: Tensor, d: Tensor, c: float) -> Tensor:
    """argmin_v ½‖v − d‖² + c·(Σ F v²)^½."""
    v, seen = d.clone(), F > 0
    F, d = F[seen], d[seen]
    if math.sqrt((d**2 / F).sum().item()) <= c:
        v[seen] = 0.0
        return v
    v[seen] = d / (1 + c * F / root(F, d, c)) if c else d
    return v


def proximal_step(F: Weights, alpha: float) -> Callable[[Run], None]:
    """The step after the optimiser's, group by group."""

    def after_step(run: Run) -> None:
        for name in split(run)[0]:
            w, w0 = run.w[name].data, run.w0[name]
            for g in range(len(w)):
                c = run.rates[name] * alpha * math.sqrt(w[g].numel())
                w[g] = w0[g] + shrink(F[name][g], w[g] - w0[g], c)

    return after_step

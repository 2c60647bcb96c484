"""PtR, Algorithm 1 and eqs. 1–5 of the PtR paper, with every gradient taken by a backward pass of its own.

    L_PtR = f_reg(rep, t),  t ~ U[0, 2m),      G = ‖∂L/∂rep‖₂ per sample,  Ḡ = mean over the batch,
    w = Ḡ_ce / (Ḡ_PtR·R), a constant,          minimise L_ce + w·L_PtR.

Readings. L_ce is the batch mean; f_reg is the mean over all elements (w cancels the reduction). Targets are
independent over elements, or one for each instance ("j is an instance in batch i"). Ḡ_ce = 0 or Ḡ_PtR = 0 gives w =
0. The gate looks at the mean of the previous epoch's batch losses and latches; `latch=False` asks again every epoch,
and `per_iteration=True` asks the current batch's L_ce, which is Algorithm 1 to the letter. T = ∞ is active from the
start. Normal and constant targets are controls that the paper does not have: the first changes the distribution alone
(same mean, same variance), the second takes the randomness away (eq. 7's comparison, at a mean other than 0).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .training import Penalty, Rule, Step, Weights, add, gradient


def regression_loss(rep: Tensor, t: Tensor, loss: str = "smooth_l1") -> Tensor:
    """f_reg: mean of ½d² (L2), or of ½d² where |d| < 1 and |d| − ½ elsewhere (smooth L1, β = 1), d = rep − t."""
    d = rep - t
    if loss == "l2":
        return (0.5 * d**2).mean()
    return torch.where(d.abs() < 1, 0.5 * d**2, d.abs() - 0.5).mean()


def uniform_targets(u: Tensor, m: float) -> Tensor:
    """t = 2m·u with u ~ U[0, 1): of mean m on [0, 2m)."""
    return 2 * m * u


def gaussian_targets(n: Tensor, m: float) -> Tensor:
    """t = m + sd·n with n ~ N(0, 1): of mean m, and of U[0, 2m)'s variance (2m)²/12."""
    return m + math.sqrt((2 * m) ** 2 / 12) * n


def constant_targets(rep: Tensor, m: float) -> Tensor:
    """t = m everywhere: no randomness; m = 0 is the feature norm penalty."""
    return torch.ones_like(rep) * m


def mean_norm(g: Tensor) -> float:
    """Ḡ: the norm of each sample's gradient, averaged over the batch."""
    return sum(torch.sqrt((row**2).sum()).item() for row in g) / len(g)


def weight(J: Tensor, L_ptr: Tensor, rep: Tensor, R: float) -> tuple[float, float, float]:
    """(w, Ḡ_ce, Ḡ_PtR), each gradient at `rep` by its own backward pass."""
    (g_ce,) = torch.autograd.grad(J, rep, retain_graph=True)
    (g_ptr,) = torch.autograd.grad(L_ptr, rep, retain_graph=True)
    G_ce, G_ptr = mean_norm(g_ce), mean_norm(g_ptr)
    if G_ce == 0 or G_ptr == 0:
        return 0.0, G_ce, G_ptr
    return G_ce / (G_ptr * R), G_ce, G_ptr


def added_gradient(J: Tensor, rep: Tensor, t: Tensor, R: float, loss: str = "smooth_l1") -> Tensor:
    """w·∂L_PtR/∂rep, (B, D): what PtR adds to the gradient that arrives at `rep`."""
    L_ptr = regression_loss(rep, t, loss)
    w, _, _ = weight(J, L_ptr, rep, R)
    return w * torch.autograd.grad(L_ptr, rep, retain_graph=True)[0]


@dataclass
class Gate:
    """Whether the regulariser acts, from the task losses seen so far."""

    T: float = 1.0
    latch: bool = True
    per_iteration: bool = False
    steps_per_epoch: int = 1
    active: bool = False
    seen: list[float] = field(default_factory=list)

    def ask(self, J: float) -> bool:
        """Whether to act on the step whose batch loss is J; the loss is then remembered for the next epoch."""
        if self.per_iteration:
            below = self.T > J
            self.active = below or (self.latch and self.active)
            return self.active
        if len(self.seen) == self.steps_per_epoch:
            below = sum(self.seen) / len(self.seen) < self.T
            self.active = below or (self.latch and self.active)
            self.seen = []
        self.seen.append(J)
        return self.active or math.isinf(self.T)


def rule(
    targets: Callable[[int, Tensor], Tensor],
    R: float = 3.0,
    loss: str = "smooth_l1",
    gate: Gate | None = None,
    penalty: Penalty | None = None,
) -> Rule:
    """∇(J + w·L_PtR), or ∇J while the gate is shut; `targets(step, rep)` draws t. ∇Ω of a penalty is added as it is."""
    gate = gate or Gate(T=math.inf)

    def at(step: Step, J: Tensor) -> tuple[Weights, dict[str, float]]:
        rep = step.forward.rep
        total = J
        figures = {"active": float(gate.ask(J.item()))}
        if figures["active"]:
            L_ptr = regression_loss(rep, targets(step.t, rep), loss)
            w, G_ce, G_ptr = weight(J, L_ptr, rep, R)
            total = J + w * L_ptr
            figures |= {"w": w, "G_ce": G_ce, "G_ptr": G_ptr, "L_ptr": L_ptr.item()}
        g = gradient(total, step.w)
        return (add(g, gradient(penalty(step), step.w)) if penalty else g), figures

    return at

"""GEM for one constraint (Lopez-Paz & Ranzato 2017; A-GEM's closed form): DTNH's mirror image.

    g̃ = ∇J                                where ⟨∇J, ∇Ω⟩ ≥ 0,
    g̃ = ∇J − ⟨∇J, ∇Ω⟩/‖∇Ω‖²·∇Ω             elsewhere.

Readings. As DTNH's mirror the step is g̃ + λ∇Ω: the task gradient is projected in place of the penalty's.
`add_penalty=False` leaves λ∇Ω out, as GEM itself does, where Ω only constrains. ‖∇Ω‖ = 0 leaves ∇J whole.
"""

from torch import Tensor

from .dtnh import project
from .training import Penalty, Rule, Step, Weights, add, dot, gradient


def direction(g_J: Weights, g_O: Weights, lam: float = 1.0, add_penalty: bool = True) -> Weights:
    """The descent direction: roles exchanged in DTNH's projection."""
    kept = project(g_O, g_J)
    return add(kept, g_O, lam) if add_penalty else kept


def rule(penalty: Penalty, lam: float = 1.0, add_penalty: bool = True) -> Rule:
    """The direction as `training.train` takes it, by two backward passes."""

    def at(step: Step, J: Tensor) -> tuple[Weights, dict[str, float]]:
        omega = penalty(step)
        g_J, g_O = gradient(J, step.w), gradient(omega, step.w)
        return direction(g_J, g_O, lam, add_penalty), {"penalty": omega.item(), "inner": dot(g_J, g_O)}

    return at

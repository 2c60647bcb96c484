"""Feature norm penalty (Hariharan & Girshick 2017; FNP in the PtR paper): Ω = λ/(2B) Σ_i ‖rep_i‖².

Balanced form: PtR with targets t ≡ 0 and the L² loss, so that λ is replaced by the rule of R.
"""

import math

from torch import Tensor

from .ptr import Gate
from .ptr import rule as ptr_rule
from .training import Penalty, Rule, Step


def penalty(lam: float) -> Penalty:
    """The penalty as `training.train` takes it."""

    def at(step: Step) -> Tensor:
        rep = step.forward.rep
        return lam * sum((row**2).sum() for row in rep) / (2 * len(rep))

    return at


def balanced(R: float = 3.0) -> Rule:
    """∇(J + w·½‖rep‖²) with w from the ratio of gradient norms, active from the first step."""
    return ptr_rule(lambda _, rep: 0 * rep.detach(), R, "l2", Gate(math.inf))

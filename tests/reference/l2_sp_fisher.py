"""L²-SP-Fisher, eq. 4 of the L2-SP paper: Ω(w) = α/2 Σ_{j∈S} F_jj (w_j − w⁰_j)² + β/2 ‖w_S̄‖².

Readings. F is given by parameter name over every shared parameter (`fisher.py`); the head has no entry. The authors'
code (`li2018`) weighs by F + ε over kernels alone, in the body and in the head; ε = 0 by default.
"""

from torch import Tensor

from .l2 import squares
from .training import Penalty, Step, Weights, shared_parameters


def penalty(F: Weights, alpha: float, beta: float = 0.01, eps: float = 0.0, include: str = "all") -> Penalty:
    """The penalty as `training.train` takes it; `include="weights"` cuts the head down to its kernel as well."""

    def at(step: Step) -> Tensor:
        names = shared_parameters(step.model, step.head_name, include)
        head = [name for name in step.head if include != "weights" or name.endswith("weight")]
        body = sum(((F[name] + eps) * (step.w[name] - step.w0[name]) ** 2).sum() for name in names)
        return 0.5 * alpha * body + 0.5 * beta * squares(step.w, head)

    return at

"""L² (weight decay as a penalty), eq. 1 of the L2-SP paper: Ω(w) = α/2 ‖w‖².

Reading: one α over all parameters of the network, the head, biases and normalisation included. A β, where given,
stands in α's place on the head. The DTNH and RIFLE papers write ‖w‖² without the ½ (`wan2019`, `li2020`); their w is
the whole vector, so the head is in it at the same strength and has no term of its own.
"""

from collections.abc import Iterable

from torch import Tensor

from .training import Penalty, Step, Weights

HALF = {"default": 0.5, "wan2019": 1.0, "li2020": 1.0}


def squares(w: Weights, names: Iterable[str]) -> Tensor:
    """Σ_j w_j² over the named parameters."""
    return sum((w[name] ** 2).sum() for name in names)


def omega(w: Weights, head: Iterable[str], alpha: float, beta: float | None = None, preset: str = "default") -> Tensor:
    """Ω(w) = ½α Σ_{j∈S} w_j² + ½β Σ_{j∈S̄} w_j², with β = α unless told otherwise; the ½ as the preset has it."""
    head = set(head)
    half = HALF[preset]
    shared = [name for name in w if name not in head]
    return half * alpha * squares(w, shared) + half * (alpha if beta is None else beta) * squares(w, head)


def penalty(alpha: float, beta: float | None = None, preset: str = "default") -> Penalty:
    """The penalty as `training.train` takes it."""

    def at(step: Step) -> Tensor:
        return omega(step.w, step.head, alpha, beta, preset)

    return at

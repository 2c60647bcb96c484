"""KnowDist, eq. 3 of the DTNH paper: Ω = 1/n Σ_i Σ_j ‖F_j(w, x_i) − F_j(w⁰, x_i)‖².

Readings. j runs over the channels of the outputs of the tapped stages, each after its residual sum; the batch is
averaged, space is summed (`per_position=True` divides each stage by its number of positions). The starting point is
in evaluation mode. `tllib`: ½ Σ over batch, channels and space. `renofeation`: for each stage the mean over
everything.
"""

from torch import Tensor

from .training import Penalty, Step


def positions(F: Tensor) -> int:
    """H·W of a map (B, C, H, W), N of tokens (B, N, D), 1 of a vector."""
    return F[0, 0].numel() if F.ndim == 4 else F.shape[1] if F.ndim == 3 else 1


def omega(student: list[Tensor], teacher: list[Tensor], preset: str = "default", per_position: bool = False) -> Tensor:
    """Ω over the stages, sample by sample."""
    total = student[0].sum() * 0
    for F, F0 in zip(student, teacher, strict=True):
        distances = [((F_i - F0_i) ** 2).sum() for F_i, F0_i in zip(F, F0, strict=True)]
        scale = {"default": 1 / len(F), "tllib": 0.5, "renofeation": 1 / F.numel()}[preset]
        total = total + scale * sum(distances) / (positions(F) if per_position else 1)
    return total


def penalty(alpha: float, preset: str = "default", per_position: bool = False) -> Penalty:
    """α·Ω on the tapped modules, as `training.train` takes it."""

    def at(step: Step) -> Tensor:
        student, teacher = step.forward.maps, step.source_forward().maps
        return alpha * omega(list(student.values()), [teacher[tap] for tap in student], preset, per_position)

    return at

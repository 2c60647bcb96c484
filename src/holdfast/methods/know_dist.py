"""KnowDist: keep the stages' feature maps near those of the starting point (Wan et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import Tensor

from holdfast.core.layers import STAGES, ComparesLayers, Layer
from holdfast.core.method import State, hyper
from holdfast.core.registry import register
from holdfast.core.types import Step
from holdfast.functional.maps import squared_distance


@register
@dataclass(frozen=True)
class KnowDist(ComparesLayers):
    r"""Pulls feature maps to those of the frozen starting point for the same images.

    .. math:: \Omega = \frac\lambda n \sum_{i=1}^n \sum_j \|F_j(w, x_i) - F_j(w^0, x_i)\|^2

    where j runs over the channels of the chosen layers: by default the last block of each stage, after its residual
    sum. A mean over the batch of n, a sum over channels and positions (``per_position`` divides by H·W), without ½.
    The starting point is in evaluation mode, so Ω ≠ 0 at the start where the student's batch-norm trains;
    ``teacher='matched'`` gives its batch-norms the student's mode.

    ``reduction='sum'`` sums over the batch and is not additive over micro-batches.

    Source: Wan et al. 2019, eq. 3, credited there to Yim et al. 2017, whose formula is ``fsp``. Presets: the objectives
    of tllib and Renofeation. Our deviation: none; the default strength, not printed there, and switches are ours.
    """

    stem: ClassVar[str] = "know_dist"
    presets: ClassVar[dict[str, dict[str, object]]] = {
        "tllib": {"lam": 0.01, "reduction": "sum", "half": True},
        "renofeation": {"lam": 0.01, "reduction": "mean"},
    }

    lam: float = hyper(1e-4, low=0, doc="strength; search 0.00001, 0.0001, 0.001; up to 0.1 where batch-norm trains")
    layers: str = hyper(STAGES, doc="'stages', or paths of modules joined by commas: 'layer3,layer4'")
    reduction: Literal["batch", "sum", "mean"] = hyper(
        "batch", doc="mean over the batch, sum over all, or mean over all entries of a map"
    )
    half: bool = hyper(False, doc="with a factor 1/2")
    per_position: bool = hyper(False, doc="divide each map by its number of positions")
    teacher: Literal["eval", "matched"] = hyper("eval", doc="the teacher's batch-norm: evaluation, or as the student's")

    @property
    def matches_student(self) -> bool:
        """Whether the teacher's batch-norms follow the student's mode."""
        return self.teacher == "matched"

    def at_zero_strength(self) -> KnowDist:
        """λ = 0."""
        return replace(self, lam=0.0)

    def describe(self, state: State) -> str:
        """The distance and where it is taken."""
        over = {"batch": "mean over the batch, sum over each map", "sum": "sum over the batch and each map"}
        half = "½·" if self.half else ""
        each = "; divided by its positions" if self.per_position else ""
        return (
            f"{self.lam:g}·{half}‖F − F⁰‖² at {', '.join(self.tap_names(state))}; "
            f"{over.get(self.reduction, 'mean over all entries')}{each}; teacher's batch-norm: {self.teacher}"
        )

    def penalty(self, step: Step, state: State) -> Tensor | None:
        """The weighted sum over the layers; None at zero strength."""
        if self.lam == 0:
            return None
        total = step.task_loss.new_zeros(())
        for layer, F, F0 in self.both(step, state):
            total = total + self.lam * self._scale(layer, F) * squared_distance(F, F0)
        return total

    def _scale(self, layer: Layer, F: Tensor) -> float:
        """The reduction's factor for one map."""
        counted = {"batch": len(F), "sum": 1, "mean": F.numel()}[self.reduction]
        positions = layer.positions(F) if self.per_position else 1
        return (0.5 if self.half else 1.0) / (counted * positions)

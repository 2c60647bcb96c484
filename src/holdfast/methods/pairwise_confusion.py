"""Pairwise confusion: draw the predictions of different classes together (Dubey et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import Tensor

from holdfast.core import world
from holdfast.core.method import Method, State, hyper
from holdfast.core.registry import register
from holdfast.core.taps import LOGITS
from holdfast.core.types import Step
from holdfast.functional.features import at_least_single
from holdfast.functional.predictions import confusion


@register
@dataclass(frozen=True)
class PairwiseConfusion(Method):
    r"""Draws the predictions for pairs of images of different classes together.

    .. math:: \Omega = \frac\lambda N \sum_{(i,j):\,y_i \ne y_j} \|p_i - p_j\|_2^2

    where :math:`p` (B, C) are softmax outputs, sample i is paired with sample i + ⌊B/2⌋, N is the number of pairs with
    different labels, and λ = ``lam``. 0 where there is no such pair. Of an odd batch the last sample sits out. Labels
    are those that ``on_batch`` left.

    Not additive over micro-batches: the pairs are formed within each. Over ranks they are formed in the joined batch.

    Source: Dubey et al. 2018. The authors' code takes un-squared norms, same-class pairs too, and divides by the number
    of samples (``pairwise_confusion@dubey2018code``).
    """

    stem: ClassVar[str] = "pairwise_confusion"
    presets: ClassVar[dict[str, dict[str, object]]] = {
        "dubey2018code": {"squared": False, "pairs": "all", "over": "samples"}
    }
    taps: ClassVar[tuple[str, ...]] = (LOGITS,)
    additive: ClassVar[bool] = False

    lam: float = hyper(10.0, low=0, doc="strength; 0.1 to 0.2 times the number of classes in the authors' code")
    squared: bool = hyper(True, doc="squared norm of the difference; false: the norm")
    pairs: Literal["different", "all"] = hyper("different", doc="pairs that count: of different labels, or all")
    over: Literal["pairs", "formed", "samples"] = hyper(
        "pairs", doc="divide by the pairs that count, by all pairs formed, or by the samples in them"
    )

    def at_zero_strength(self) -> PairwiseConfusion:
        """λ = 0."""
        return replace(self, lam=0.0)

    def describe(self, state: State) -> str:
        """The distance, its pairs and its divisor."""
        power = "²" if self.squared else ""
        which = "of different labels" if self.pairs == "different" else "of any labels"
        divisor = {"pairs": "these pairs", "formed": "all pairs formed", "samples": "the samples, two to a pair"}
        return f"{self.lam:g}·‖p₁ − p₂‖{power} on softmax outputs of pairs {which}, summed, over {divisor[self.over]}"

    def penalty(self, step: Step, state: State) -> Tensor | None:
        """λ times the mean over the pairs of the batch; None at zero strength."""
        if self.lam == 0:
            return None
        logits, y = step.features(LOGITS), None
        if self.pairs == "different":
            y = world.gathered(step.labels(self, len(logits)))
        p = at_least_single(world.gathered(logits)).softmax(1)
        return self.lam * confusion(p, y, squared=self.squared, over=self.over)

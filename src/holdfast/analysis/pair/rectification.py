"""Mistakes that one network mends and makes beside another: which pictures, and whether the counts differ by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from holdfast.analysis.pair.certainty import Places, Reals


@dataclass(frozen=True)
class Rectification:
    """How network B's predictions change those of network A.

    Attributes:
        true: pictures where B is right and A wrong, those first whose predicted class B gives the highest probability.
        false: pictures where A is right and B wrong, in the same order.
        both: how many both classify rightly.
        neither: how many neither does.
    """

    true: Sequence[int]
    false: Sequence[int]
    both: int
    neither: int

    @property
    def errors(self) -> tuple[int, int]:
        """Mistakes of A and of B."""
        return self.neither + len(self.true), self.neither + len(self.false)

    @property
    def error_reduction(self) -> float | None:
        """The share of A's mistakes that B saves on balance, (e_A − e_B) / e_A; None where A makes none."""
        a, b = self.errors
        return (a - b) / a if a else None

    @property
    def p(self) -> float:
        """Of the exact McNemar test, see ``mcnemar``."""
        return mcnemar(len(self.true), len(self.false))


def rectified(a: Reals, b: Reals, labels: Places) -> Rectification:
    """Compare the most probable classes of two networks; among equal probabilities the first class counts.

    Args:
        a: probabilities of network A, shape (N, K).
        b: probabilities of network B, shape (N, K), of the same pictures.
        labels: true classes, shape (N,).

    Source: Zhong and Maki 2020, §4, with A the plain fine-tuned network and B that trained with PtR.
    """
    right_a, right_b = a.argmax(1) == labels, b.argmax(1) == labels
    by_confidence = np.argsort(-b.max(1), kind="stable")

    def chosen(which: np.ndarray) -> list[int]:
        return [int(place) for place in by_confidence if which[place]]

    return Rectification(
        true=chosen(right_b & ~right_a),
        false=chosen(right_a & ~right_b),
        both=int((right_a & right_b).sum()),
        neither=int((~right_a & ~right_b).sum()),
    )


def mcnemar(one: int, other: int) -> float:
    r"""Two-sided probability of counts at least as uneven as these, were each picture as likely to go either way.

    .. math:: p = \min\Bigl(1, 2 \sum_{i \le \min(b, c)} \binom{b+c}{i} 2^{-(b+c)}\Bigr)

    where b and c count the pictures that only one of the networks classifies rightly. 1 where there are none.

    Source: McNemar 1947, *Note on the sampling error of the difference between correlated proportions or percentages*;
    exact by the binomial distribution.
    """
    if not one + other:
        return 1.0
    return float(stats.binomtest(min(one, other), one + other, 0.5).pvalue)

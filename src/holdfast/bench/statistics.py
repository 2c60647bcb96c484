"""Statistics of repeated runs: mean and spread, paired differences with their interval, many comparisons at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.core.errors import UsageError

LEVEL = 0.05
"""Of a probability, corrected where there are several: below it a difference is called beyond chance."""


@dataclass(frozen=True)
class Paired:
    """The mean difference of paired runs.

    Attributes:
        mean: of treated minus control, in their unit.
        low: lower end of the confidence interval.
        high: upper end.
        p: two-sided probability of so large a difference under the hypothesis of none; 1 where all differences are 0.
        pairs: how many.
    """

    mean: float
    low: float
    high: float
    p: float
    pairs: int


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean.

    Raises:
        UsageError: there are no values, or one is not finite.
    """
    _check(values, least=1)
    return math.fsum(values) / len(values)


def sample_std(values: Sequence[float]) -> float:
    r"""The sample standard deviation :math:`\sqrt{\sum(x-\bar x)^2/(n-1)}`; nan for a single value.

    Raises:
        UsageError: there are no values, or one is not finite.
    """
    centre = mean(values)
    if len(values) == 1:
        return math.nan
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def paired_difference(treated: Sequence[float], control: Sequence[float], confidence: float = 0.95) -> Paired:
    r"""Compare runs that share everything but the treatment.

    .. math:: \bar d \pm t_{n-1,(1+c)/2}\, s_d/\sqrt n, \qquad d_i = treated_i - control_i

    where :math:`s_d` is the sample standard deviation of the n differences and t Student's quantile.

    Args:
        treated: one value per pair, in the same order as ``control``.
        control: the plain run of each pair.
        confidence: of the interval, in (0, 1).

    Raises:
        UsageError: lengths differ, there are fewer than two pairs, a value is not finite, or the confidence is not
            between 0 and 1.
    """
    from scipy import stats  # type: ignore[import-untyped]

    if len(treated) != len(control):
        raise UsageError(f"expected as many treated as control runs, found {len(treated)} and {len(control)}")
    if not 0 < confidence < 1:
        raise UsageError(f"expected a confidence between 0 and 1, found {confidence}")
    _check(treated, least=2)
    _check(control, least=2)
    differences = [a - b for a, b in zip(treated, control, strict=True)]
    centre, error = mean(differences), sample_std(differences) / math.sqrt(len(differences))
    freedom = len(differences) - 1
    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    statistic = 0.0 if centre == 0 else abs(centre) / error if error > 0 else math.inf
    return Paired(centre, centre - half, centre + half, 2 * float(stats.t.sf(statistic, freedom)), len(differences))


def holm(probabilities: Sequence[float]) -> list[float]:
    r"""Holm's step-down correction: adjusted probabilities, in the order given.

    .. math:: \tilde p_{(i)} = \max_{j\le i} \min(1, (n-j+1)\,p_{(j)})

    where :math:`p_{(1)} \le \ldots \le p_{(n)}`. Comparing them with 0.05 keeps the chance of any false claim at 5 %.

    Source: Holm 1979, *A simple sequentially rejective multiple test procedure*.

    Raises:
        UsageError: a value lies outside [0, 1].
    """
    outside = [p for p in probabilities if not 0 <= p <= 1]
    if outside:
        raise UsageError(f"expected probabilities in [0, 1], found {outside[0]}")
    adjusted = [0.0] * len(probabilities)
    largest = 0.0
    order = sorted(range(len(probabilities)), key=lambda place: probabilities[place])
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * probabilities[place]))
        adjusted[place] = largest
    return adjusted


def _check(values: Sequence[float], least: int) -> None:
    if len(values) < least:
        raise UsageError(f"expected at least {least} values, found {len(values)}; run more seeds")
    broken = [value for value in values if not math.isfinite(value)]
    if broken:
        raise UsageError(f"expected finite values, found {broken[0]}; look at that run before averaging it in")

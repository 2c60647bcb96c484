"""A closed form beside its simulation, and how well many of them agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.bench.statistics import LEVEL, Paired, holm, paired_difference


@dataclass(frozen=True)
class Check:
    """A closed form and the mean of what seeds simulated.

    Attributes:
        closed: the closed form's value.
        difference: of simulation minus closed form, over seeds.
    """

    closed: float
    difference: Paired

    @property
    def mean(self) -> float:
        """Mean of the simulation."""
        return self.closed + self.difference.mean

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of that mean."""
        return self.closed + self.difference.low, self.closed + self.difference.high

    @property
    def agrees(self) -> bool:
        """Whether the interval holds the closed form."""
        return self.difference.low <= 0 <= self.difference.high

    def as_data(self) -> dict[str, Any]:
        """As JSON has it."""
        low, high = self.interval
        return {"closed": self.closed, "simulated": self.mean, "low": low, "high": high, "p": self.difference.p}


def check(closed: float, simulated: Sequence[float]) -> Check:
    """Compare a closed form with one unbiased estimate of it per seed.

    Raises:
        UsageError: fewer than two seeds, or a number that is not finite.
    """
    return Check(closed, paired_difference(simulated, [closed] * len(simulated)))


@dataclass(frozen=True)
class Agreement:
    """How many checks agree.

    Attributes:
        inside: those whose interval holds the closed form.
        total: all.
        smallest_p: the smallest probability after Holm's correction over all of them.
    """

    inside: int
    total: int
    smallest_p: float

    @property
    def sentence(self) -> str:
        """In words; of intervals at 95 %, one in twenty misses the truth by chance."""
        how = (
            "no difference is beyond chance" if self.smallest_p >= LEVEL else "at least one difference is beyond chance"
        )
        return (
            f"The 95 % interval of the simulation holds the closed form in {self.inside} of {self.total} comparisons, "
            f"and after Holm's correction {how} (smallest p {self.smallest_p:.2g})."
        )


def agreement(checks: Sequence[Check]) -> Agreement:
    """Sum up checks that were simulated independently of each other, at least one."""
    smallest = min(holm([each.difference.p for each in checks]))
    return Agreement(sum(each.agrees for each in checks), len(checks), smallest)

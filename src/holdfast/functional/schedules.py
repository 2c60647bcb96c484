"""Schedules: periods of a run and rates within a period."""

from __future__ import annotations

import math


def period_at(step: int, total_steps: int, periods: int) -> tuple[int, int, int]:
    """The period that a step lies in, when training is split into ``periods`` of P = total_steps // periods steps.

    The last period takes the remainder, so that none is shorter than P.

    Args:
        step: optimiser step, 0 ≤ step.
        total_steps: of the whole training.
        periods: 1 ≤ periods ≤ total_steps.

    Returns:
        (index of the period, steps since its start, its length); past the end of training the last period's end.
    """
    length = total_steps // periods
    index = min(step // length, periods - 1)
    start = index * length
    if index == periods - 1:
        length = total_steps - start
    return index, min(step - start, length), length


def first_steps(share: float, total_steps: int) -> int:
    """The steps that a share of a training has, to the nearest one: at least 1 where the share is not 0.

    Args:
        share: 0 ≤ share ≤ 1.
        total_steps: of the whole training, at least 1.
    """
    return max(1, round(share * total_steps)) if share > 0 else 0


def annealed(tau: float, period: float) -> float:
    r""":math:`\frac12(\cos(\pi\tau/P) + 1)`: from 1 at the start of a period to 0 at its end."""
    return 0.5 * (math.cos(math.pi * tau / period) + 1)


def printed(tau: float, period: float) -> float:
    r""":math:`\frac12(\cos(2\pi\tau/P) + 1)`: 1 at both ends of a period, 0 in its middle (RIFLE, Algorithm 1)."""
    return 0.5 * (math.cos(2 * math.pi * tau / period) + 1)


def triangular(tau: float, period: float, floor: float) -> float:
    r""":math:`f + (1 - f)(1 - |2\tau/P - 1|)`: from f up to 1 in the middle of a period and back (Smith 2017)."""
    return floor + (1 - floor) * (1 - abs(2 * tau / period - 1))


def survival(blocks: int, last: float) -> list[float]:
    r""":math:`p_l = 1 - \frac lL(1 - p_L)` for l = 1 … L: the probability to keep each of L residual branches.

    Args:
        blocks: L, at least 1.
        last: :math:`p_L`.
    """
    return [1 - index / blocks * (1 - last) for index in range(1, blocks + 1)]

"""Cyclic learning rate: training of `total` steps in N equal cycles ({2, 3, 4} in the RIFLE paper), on every parameter.

    cosine (default):  η_t = ½η(cos(πτ/L) + 1)      (Loshchilov & Hutter 2017, restarts)
    triangular:        η_t = η·(1 − |2τ/L − 1|), lifted to `floor`·η   (Smith 2017)

Readings. The RIFLE paper divides "the training procedure into N cycles" and cites Smith, yet describes sharp drops at
each restart, which only the first form has. τ counts steps from the start of the cycle, L is the cycle's length; the
last cycle takes the remainder of total/N.
"""

import math
from collections.abc import Callable


def factor(t: int, total: int, cycles: int, shape: str = "cosine", floor: float = 0.0) -> float:
    """η_t/η of step t, counted from 0."""
    P = total // cycles
    if P < 1:
        raise ValueError(f"{total} steps cannot be split into {cycles} cycles")
    k = min(t // P, cycles - 1)
    tau, L = t - k * P, P if k < cycles - 1 else total - k * P
    if shape == "triangular":
        return floor + (1 - floor) * (1 - abs(2 * tau / L - 1))
    return 0.5 * (math.cos(math.pi * tau / L) + 1)


def schedule(total: int, cycles: int, shape: str = "cosine", floor: float = 0.0) -> Callable[[int], float]:
    """The schedule as `training.train` takes it."""
    return lambda t: factor(t, total, cycles, shape, floor)

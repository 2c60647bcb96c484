"""RIFLE, Algorithm 1 of the RIFLE paper as SPEC settles it.

Training of `total` steps has `periods` periods of P = ⌊total/periods⌋ steps; the last takes the remainder. After k·P
steps, k = 1 … periods − 1, the head is drawn anew from N(0, δ²), δ = 1/√(3·fan-in), its bias is 0, and its momentum
is cleared (or kept): so no reset leaves less than a full period. τ counts steps from the start of the period.

    annealed: η_t = ½η(cos(πτ/L) + 1), L the length of the period that t lies in;
    printed:  η_t = ½η(cos(2πτ/P) + 1), line 12 to the letter, which ends each period at its highest rate.

Readings. The rate applies to the head alone and η is its base rate, untouched by the host's schedule, which the body
keeps; `on="host"` multiplies the cycle on the scheduled rate instead. The update starts from the reset weights.
Variants: `A` resets only, `B` cycles only.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .training import Run, Trajectory, constant, train

Draw = Callable[[int, Tensor], Tensor]


def period(total: int, periods: int) -> int:
    """P = ⌊total/periods⌋, at least one step."""
    P = total // periods
    if P < 1:
        raise ValueError(f"{total} steps cannot be split into {periods} periods")
    return P


def resets(total: int, periods: int) -> list[int]:
    """The numbers of steps taken after which the head is drawn anew."""
    return [k * period(total, periods) for k in range(1, periods)]


def head_factor(t: int, total: int, periods: int, cycle: str = "annealed") -> float:
    """η_t/η of step t, counted from 0."""
    P = period(total, periods)
    k = min(t // P, periods - 1)
    tau = t - k * P
    if cycle == "printed":
        return 0.5 * (math.cos(2 * math.pi * tau / P) + 1)
    L = P if k < periods - 1 else total - k * P
    return 0.5 * (math.cos(math.pi * tau / L) + 1)


def default_std(weight: Tensor) -> float:
    """δ = 1/√(3·fan-in), the scale of a fresh linear layer."""
    return 1 / math.sqrt(3 * weight[0].numel())


def normal_draw(generator: torch.Generator, std: float | None = None) -> Draw:
    """Draws from N(0, δ²) with a generator of the caller's."""

    def draw(_: int, weight: Tensor) -> Tensor:
        fresh = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        return fresh * (default_std(weight) if std is None else std)

    return draw


def reset(run: Run, k: int, draw: Draw, keep_state: bool) -> None:
    """The k-th reset of the head, k from 1: `draw(k, weight)` gives the new weight; the bias becomes 0."""
    weight, bias = run.w[f"{run.head_name}.weight"], run.w.get(f"{run.head_name}.bias")
    with torch.no_grad():
        weight.copy_(draw(k, weight.detach().clone()))
        if bias is not None:
            bias.zero_()
    if not keep_state:
        for leaf in ("weight", "bias"):
            run.velocity.pop(f"{run.head_name}.{leaf}", None)


def rifle(
    model: nn.Module,
    head_name: str,
    batches: Sequence[tuple[Tensor, Tensor]],
    *,
    steps: int,
    draw: Draw,
    schedule: Callable[[int], float] = constant,
    periods: int = 4,
    variant: str = "full",
    cycle: str = "annealed",
    keep_state: bool = False,
    on: str = "base",
    **options: Any,
) -> Trajectory:
    """The whole run; `options` go to `training.train` (rates, momentum, another method's `penalty` or `rule`)."""
    due = resets(steps, periods)

    def after_step(run: Run) -> None:
        if variant != "B" and run.t in due:
            reset(run, 1 + due.index(run.t), draw, keep_state)

    def head_schedule(t: int) -> float:
        return head_factor(t, steps, periods, cycle) * (schedule(t) if on == "host" else 1.0)

    options |= {"head_schedule": None if variant == "A" else head_schedule}
    return train(model, head_name, batches, steps=steps, schedule=schedule, after_step=after_step, **options)

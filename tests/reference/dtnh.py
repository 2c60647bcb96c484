"""DTNH, Algorithm 1 and eqs. 6–7 of the DTNH paper, by two backward passes.

    g = ∇J + λ∇Ω                              where ⟨∇J, ∇Ω⟩ ≥ 0,
    g = ∇J + λ(∇Ω − ⟨∇J, ∇Ω⟩/‖∇J‖²·∇J)        elsewhere.

Readings. One inner product over all trainable parameters; a parameter that Ω does not reach counts as ∇Ω = 0. `layer`
takes one inner product for each module that owns parameters (its weight and bias together). ‖∇J‖ = 0 leaves ∇Ω whole.
In epoch e (from 0) the strength is λ·decay^e. Algorithm 1 has ∇J + λ∇Ω_y; the text's "λJ + …" is a misprint.
"""

import math

from torch import Tensor

from .training import Penalty, Rule, Step, Weights, add, dot, gradient


def project(g_J: Weights, g_O: Weights) -> Weights:
    """∇Ω without its component against ∇J."""
    inner, square = dot(g_J, g_O), dot(g_J, g_J)
    if inner >= 0 or square == 0:
        return g_O
    return add(g_O, g_J, -inner / square)


def layers(names: list[str]) -> list[list[str]]:
    """Parameter names grouped by the module that owns them."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.rpartition(".")[0], []).append(name)
    return list(groups.values())


def direction(g_J: Weights, g_O: Weights, lam: float = 1.0, scope: str = "all") -> Weights:
    """The descent direction d̂ (the minus sign is the optimiser's)."""
    if scope == "all":
        return add(g_J, project(g_J, g_O), lam)
    d: Weights = {}
    for names in layers(list(g_J)):
        part_J = {name: g_J[name] for name in names}
        part_O = {name: g_O[name] for name in names}
        d |= add(part_J, project(part_J, part_O), lam)
    return d


def angle(a: Weights, b: Weights) -> float:
    """∠(a, b) in degrees; 90 where one of them is zero."""
    scale = math.sqrt(dot(a, a) * dot(b, b))
    return math.degrees(math.acos(max(-1.0, min(1.0, dot(a, b) / scale)))) if scale else 90.0


def rule(
    penalty: Penalty,
    lam: float = 1.0,
    decay: float = 1.0,
    steps_per_epoch: int = 1,
    scope: str = "all",
    outside: Penalty | None = None,
) -> Rule:
    """The direction as `training.train` takes it; ∇ of the penalty `outside` DTNH(…) is added unprojected."""

    def at(step: Step, J: Tensor) -> tuple[Weights, dict[str, float]]:
        omega = penalty(step)
        g_J, g_O = gradient(J, step.w), gradient(omega, step.w)
        strength = lam * decay ** (step.t // steps_per_epoch)
        d = direction(g_J, g_O, strength, scope)
        figures = {"penalty": omega.item(), "lam": strength, "angle": angle(g_J, g_O), "inner": dot(g_J, g_O)}
        return (add(d, gradient(outside(step), step.w)) if outside else d), figures

    return at

"""Draws of a linear regression, and the risk of its estimators as simulation finds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holdfast.analysis.theory.shrinkage.closed_form import ESTIMATORS, Estimator, Risk, Setting, risk
from holdfast.analysis.theory.simulated import Check, check
from holdfast.functional.noise import generator

PARTS = ("bias2", "variance", "error")


@dataclass(frozen=True)
class Problem:
    """A drawn regression: design (n, p), true parameters (p,) and starting point (p,)."""

    design: Tensor
    truth: Tensor
    start: Tensor
    noise: float


def draw_problem(setting: Setting) -> Problem:
    """Draw design and directions; they depend on the sizes alone, the same in every simulation."""
    gen = generator("cpu", "shrinkage", "problem", setting.samples, setting.predictors)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=gen, dtype=torch.float64)

    design = torch.linalg.qr(normal(setting.samples, setting.predictors))[0]
    truth, away = normal(setting.predictors), normal(setting.predictors)
    truth = truth * (setting.size / truth.norm())
    return Problem(design, truth, truth + away * (setting.distance / away.norm()), setting.noise)


def simulate(problem: Problem, estimator: Estimator, alpha: float, draws: int, gen: torch.Generator) -> Risk:
    """Risk over drawn responses, each estimate found by solving its normal equations as for any design.

    Args:
        problem: design, truth and starting point.
        estimator: which.
        alpha: strength.
        draws: responses, at least 2.
        gen: source of their noise.

    Returns:
        Both parts free of bias: the noise of the mean estimate is taken off its squared distance from the truth.
    """
    X, truth = problem.design, problem.truth
    noise = torch.randn(len(X), draws, generator=gen, dtype=X.dtype)
    responses = (X @ truth)[:, None] + problem.noise * noise
    strength = 0.0 if estimator == "plain" else alpha
    pulled = strength * (problem.start if estimator == "l2_sp" else torch.zeros_like(truth))
    found = torch.linalg.solve(
        X.T @ X + strength * torch.eye(len(truth), dtype=X.dtype), X.T @ responses + pulled[:, None]
    )
    variance = float(found.var(dim=1).sum())
    bias2 = float((found.mean(dim=1) - truth).square().sum()) - variance / draws
    return Risk(bias2, variance)


@dataclass(frozen=True)
class Point:
    """What was simulated of an estimator at one strength.

    Attributes:
        estimator: which.
        alpha: the strength.
        parts: closed form and simulation of ``bias2``, ``variance`` and ``error``.
        errors: the simulated squared error of each seed.
    """

    estimator: Estimator
    alpha: float
    parts: dict[str, Check]
    errors: tuple[float, ...]

    def as_data(self) -> dict[str, Any]:
        """As JSON has it."""
        parts = {name: each.as_data() for name, each in self.parts.items()}
        return {"estimator": self.estimator, "alpha": self.alpha, **parts}


def point(setting: Setting, estimator: Estimator, alpha: float, seeds: int, draws: int) -> Point:
    """Closed form and simulation at one strength; every seed and every point draws responses of its own."""
    problem = draw_problem(setting)
    keys = [("shrinkage", setting.distance, estimator, alpha, seed) for seed in range(seeds)]
    found = [simulate(problem, estimator, alpha, draws, generator("cpu", *key)) for key in keys]
    closed = risk(estimator, alpha, setting)
    parts = {part: check(getattr(closed, part), [getattr(each, part) for each in found]) for part in PARTS}
    return Point(estimator, alpha, parts, tuple(each.error for each in found))


def points(setting: Setting, alphas: Sequence[float], seeds: int, draws: int) -> Iterator[Point]:
    """Every estimator at every strength."""
    for estimator in ESTIMATORS:
        for alpha in alphas:
            yield point(setting, estimator, alpha, seeds, draws)

"""``toy-neuron``: what a random target does to the variance of the gradient, in one neuron."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from holdfast.analysis.finding import Finding
from holdfast.analysis.theory.simulated import Check, agreement, check
from holdfast.analysis.theory.toy_neuron.closed_form import (
    HIGH,
    LOW,
    gradient_variance,
    modulus_variance,
    printed_variance,
)
from holdfast.analysis.theory.toy_neuron.figures import draw_inputs, draw_targets
from holdfast.functional.noise import generator, pseudo_targets

TARGETS = {"element": "uniform on [0, 2m)", "gaussian": "normal, same mean and variance", "constant": "constant at m"}
MEANS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
INPUTS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
INPUT, MEAN = 2.0, 1.0
"""The input of the sweep over m, and m of the sweep over inputs."""
_NOTES = (
    "Eq. 6 prints |f − t|·x; the derivative of ½(f − t)² is (f − t)·x, without the modulus.",
    "Eq. 7 prints Var f + Var t; the variance of (f − t)·x is x²(Var f + Var t), and t uniform on [0, 2m) has "
    "Var t = m²/3.",
    "This is the regression loss alone, as in the paper's section: in training, PtR's weight w (eq. 5) scales its "
    "gradient to a set share of the task's.",
)


@dataclass(frozen=True)
class Point:
    """The variance of the gradient at one input and mean target.

    Attributes:
        x: the input.
        m: mean of the targets.
        targets: closed form (corrected) and simulation, by kind of target.
        modulus: the same for |f − t|·x of the printed eq. 6, with uniform targets.
        printed: Var f + Var t, the printed eq. 7, with uniform targets.
    """

    x: float
    m: float
    targets: dict[str, Check]
    modulus: Check
    printed: float

    def as_data(self) -> dict[str, Any]:
        """As JSON has it."""
        targets = {kind: each.as_data() for kind, each in self.targets.items()}
        return {"x": self.x, "m": self.m, "targets": targets, "modulus": self.modulus.as_data(), "eq7": self.printed}


def toy_neuron(seeds: int = 20, draws: int = 2000) -> Finding:
    """Compare the variance of the toy neuron's gradient (Zhong & Maki 2020, §2.3) with simulation.

    Args:
        seeds: independent simulations of each point, at least 2; the intervals are over them.
        draws: weights and targets drawn in each, at least 2.

    Raises:
        UsageError: fewer than two seeds or two draws.
    """
    over_m = [point(INPUT, m, seeds, draws) for m in MEANS]
    over_x = [point(x, MEAN, seeds, draws) for x in INPUTS]
    distinct = {(each.x, each.m): each for each in (*over_m, *over_x)}.values()  # the sweeps cross
    agreed = agreement([c for each in distinct for c in (*each.targets.values(), each.modulus)])
    behind = (
        f"Points: means over {seeds} seeds of {draws} draws each, with 95 % intervals, shorter than the marks if "
        "not seen. Lines: closed form."
    )
    return Finding(
        analysis="toy-neuron",
        title="The variance of PtR's gradient in one neuron",
        text=" ".join([agreed.sentence, _against_print(over_x), _randomness(over_m)]),
        data={
            "weight": {"low": LOW, "high": HIGH},
            "over_m": [each.as_data() for each in over_m],
            "over_x": [each.as_data() for each in over_x],
            "agreement": asdict(agreed),
        },
        figures=[draw_targets(over_m, TARGETS, behind), draw_inputs(over_x, behind)],
        inputs={"seeds": seeds, "draws": draws},
        notes=_NOTES,
    )


def simulate(x: float, m: float, kind: str, draws: int, gen: torch.Generator) -> torch.Tensor:
    """Gradients of ½(ReLU(a·x) − t)² by autograd, one for each drawn weight and target, shape (draws,)."""
    a = (LOW + (HIGH - LOW) * torch.rand(draws, generator=gen, dtype=torch.float64)).requires_grad_()
    f = torch.relu(a * x)
    t = pseudo_targets(f.detach()[:, None], m, kind, gen)[:, 0]
    (gradient,) = torch.autograd.grad((0.5 * (f - t).square()).sum(), a)
    return gradient


def point(x: float, m: float, seeds: int, draws: int) -> Point:
    """Closed forms and simulation at one input and mean; every seed and every kind of target has draws of its own."""

    def variances(kind: str, what: str) -> list[float]:
        keys = [("toy-neuron", x, m, kind, what, seed) for seed in range(seeds)]
        found = (simulate(x, m, kind, draws, generator("cpu", *key)) for key in keys)
        return [float((each.abs() if what == "modulus" else each).var()) for each in found]

    targets = {kind: check(gradient_variance(x, m, kind), variances(kind, "gradient")) for kind in TARGETS}
    modulus = check(modulus_variance(x, m), variances("element", "modulus"))
    return Point(x, m, targets, modulus, printed_variance(x, m))


def _against_print(over_x: Sequence[Point]) -> str:
    missed = [each for each in over_x if not _holds(each.targets["element"], each.printed)]
    last = over_x[-1]
    return (
        f"The printed eq. 7 lies outside the interval at {len(missed)} of {len(over_x)} inputs: at x = {last.x:g} and "
        f"m = {last.m:g} it says {last.printed:.3g}, the corrected form {last.targets['element'].closed:.3g}, the "
        f"simulation {last.targets['element'].mean:.3g}; the modulus of eq. 6 would give {last.modulus.closed:.3g}."
    )


def _holds(simulated: Check, value: float) -> bool:
    low, high = simulated.interval
    return low <= value <= high


def _randomness(over_m: Sequence[Point]) -> str:
    above = [each for each in over_m if each.m > 0]
    told = [each for each in above if each.targets["element"].interval[0] > each.targets["constant"].interval[1]]
    last = over_m[-1]
    random, constant = last.targets["element"].mean, last.targets["constant"].mean
    stands = "stands" if len(told) == len(above) else "is not seen everywhere"
    return (
        f"At {len(told)} of {len(above)} means m > 0, random targets give a variance beyond chance above that of a "
        f"constant one, {random / constant:.3g} times at m = {last.m:g}: the paper's conclusion {stands}. By the "
        "corrected form, normal targets of the same variance do the same, and a constant target adds nothing "
        "wherever it lies."
    )

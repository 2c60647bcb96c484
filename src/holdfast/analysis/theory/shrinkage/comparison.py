"""``shrinkage``: why pulling to the starting point beats pulling to zero, where it can be calculated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from holdfast.analysis.finding import Finding
from holdfast.analysis.theory.shrinkage.closed_form import Setting, largest_alpha
from holdfast.analysis.theory.shrinkage.figures import draw_curves, draw_distances, draw_keeping
from holdfast.analysis.theory.shrinkage.quadratic import Keeping, draw_quadratic, keeping
from holdfast.analysis.theory.shrinkage.simulation import Point, point, points
from holdfast.analysis.theory.simulated import agreement
from holdfast.bench.statistics import paired_difference

ALPHAS = tuple(10 ** (place / 3) for place in range(-6, 7))
NEAR, FAR = Setting(distance=1.0), Setting(distance=4.0)
"""Starting points on either side of ‖ε‖² = pσ²."""
DISTANCES = (0.0, 2.5, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0)
"""Squared distances from the true parameters to the starting point, at strength 1."""
EIGENVALUES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
STRENGTHS = (0.1, 1.0, 10.0)
_NOTES = (
    "The paper assumes a fixed orthonormal design and a starting point that does not depend on the target's noise; "
    "with a network neither is so, and the thresholds give no numbers there.",
    "At ‖ε‖² = pσ² exactly L2-SP is still better at every strength: the paper's strict inequality can be weak.",
    "The simulation solves the normal equations as for any design; it uses none of the closed forms.",
)


def shrinkage(seeds: int = 20, draws: int = 200) -> Finding:
    """Compare the closed forms of §5.5 of Li et al. 2020 (L2-SP) with simulation.

    Args:
        seeds: independent simulations of each point, at least 2; the intervals are over them.
        draws: responses drawn in each, at least 2.

    Raises:
        UsageError: fewer than two seeds or two draws.
    """
    near, far = (list(points(setting, ALPHAS, seeds, draws)) for setting in (NEAR, FAR))
    distances = [point(Setting(distance=math.sqrt(d)), "l2_sp", 1.0, seeds, draws) for d in DISTANCES]
    quadratic = draw_quadratic(EIGENVALUES)
    kept = [keeping(quadratic, alpha) for alpha in STRENGTHS]
    simulated = (*near, *far, *distances)
    agreed = agreement([each.parts[part] for each in simulated for part in ("bias2", "variance")])
    behind = (
        f"Points: means over {seeds} seeds of {draws} responses each, with 95 % intervals, shorter than the marks if "
        "not seen. Lines: closed form."
    )
    return Finding(
        analysis="shrinkage",
        title="Shrinking to the starting point",
        text=" ".join([agreed.sentence, _near(near), _far(far), _minima(kept)]),
        data={
            "near": _case(NEAR, near),
            "far": _case(FAR, far),
            "distances": [{"distance2": d, **each.as_data()} for d, each in zip(DISTANCES, distances, strict=True)],
            "agreement": asdict(agreed),
            "quadratic": [asdict(each) for each in kept],
        },
        figures=[
            draw_curves("shrinkage-near", NEAR, near, behind),
            draw_curves("shrinkage-far", FAR, far, behind),
            draw_distances("shrinkage-distance", NEAR, DISTANCES, distances, behind),
            draw_keeping("shrinkage-eigenbasis", kept),
        ],
        inputs={"seeds": seeds, "draws": draws},
        notes=_NOTES,
    )


def sides(found: Sequence[Point]) -> dict[str, list[float]]:
    """Strengths at which L2-SP's simulated error is below that of least squares, above it, or not told apart.

    Told by the 95 % interval of the difference over seeds.
    """
    errors = {(each.estimator, each.alpha): each.errors for each in found}
    told: dict[str, list[float]] = {"below": [], "above": [], "open": []}
    for alpha in ALPHAS:
        gain = paired_difference(errors["l2_sp", alpha], errors["plain", alpha])
        told["below" if gain.high < 0 else "above" if gain.low > 0 else "open"].append(alpha)
    return told


def _case(setting: Setting, found: Sequence[Point]) -> dict[str, Any]:
    limits = {name: largest_alpha(setting.offset(name), setting.spread) for name in ("l2", "l2_sp")}
    return {
        "setting": asdict(setting),
        "spread": setting.spread,
        "largest_alpha": {name: limit if math.isfinite(limit) else None for name, limit in limits.items()},
        "sides": sides(found),
        "points": [each.as_data() for each in found],
    }


def _counted(told: dict[str, list[float]]) -> str:
    return (
        f"below at {len(told['below'])} of {len(ALPHAS)} strengths, above at {len(told['above'])}, "
        f"and cannot tell at {len(told['open'])}"
    )


def _near(found: Sequence[Point]) -> str:
    told, l2 = sides(found), largest_alpha(NEAR.offset("l2"), NEAR.spread)
    return (
        f"With the starting point at ‖ε‖² = {NEAR.distance**2:g}, below pσ² = {NEAR.spread:g}, theory puts the squared "
        f"error of L2-SP below that of least squares at every strength; the simulation finds it {_counted(told)}. L2, "
        f"which shrinks over ‖w*‖² = {NEAR.size**2:g}, is better than least squares only up to α = {l2:.3g}."
    )


def _far(found: Sequence[Point]) -> str:
    told, limit = sides(found), largest_alpha(FAR.offset("l2_sp"), FAR.spread)
    wrong = [alpha for alpha in told["below"] if alpha >= limit] + [alpha for alpha in told["above"] if alpha < limit]
    return (
        f"With ‖ε‖² = {FAR.distance**2:g} theory puts it below up to α = {limit:.3g}; the simulation finds it "
        f"{_counted(told)}, {len(wrong) or 'none'} of them on the wrong side of the threshold."
    )


def _minima(kept: Sequence[Keeping]) -> str:
    off = max(each.off for each in kept)
    return (
        f"On a quadratic of {len(EIGENVALUES)} directions the minimum found numerically is that of the formula in the "
        f"Hessian's eigenbasis, to within {off:.1g} in every parameter."
    )

"""The pictures of ``shrinkage``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from holdfast.analysis.drawing import Drawn, drawn
from holdfast.analysis.theory.shrinkage.closed_form import (
    ESTIMATORS,
    Estimator,
    Setting,
    largest_alpha,
    largest_offset,
    risk,
)
from holdfast.analysis.theory.shrinkage.quadratic import share_of_minimum
from holdfast.report.palette import BLUE, MUTED, OCHRE, VERMILLION, method_colour
from holdfast.report.svg import chart, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from holdfast.analysis.theory.shrinkage.quadratic import Keeping
    from holdfast.analysis.theory.shrinkage.simulation import Point
    from holdfast.analysis.theory.simulated import Check

_NAMES: dict[Estimator, str] = {"plain": "least squares", "l2": "L2", "l2_sp": "L2-SP"}
_DASHES = {"plain": (0, (4, 2)), "l2": "-", "l2_sp": "-"}
"""Least squares and L2 have the colour of plain training; dashes tell them apart."""
_MARKERS = {"plain": "s", "l2": "^", "l2_sp": "o"}
_PANELS = (("bias2", "squared bias"), ("variance", "variance"), ("error", "squared error, their sum"))
_TICKS = (0.01, 0.1, 1, 10, 100)
_FINE = 40
"""Places at which a closed form is drawn."""


def draw_curves(name: str, setting: Setting, points: Sequence[Point], behind: str) -> Drawn:
    """Squared bias, variance and their sum over the strength, in one panel each."""
    with panels(9.2, 3.6, columns=len(_PANELS), sharey=True) as (figure, (row,)):
        for axes, (part, title) in zip(row, _PANELS, strict=True):
            for estimator in ESTIMATORS:
                mine = [each for each in points if each.estimator == estimator]
                _closed(axes, estimator, part, setting, mine)
                checks = [each.parts[part] for each in mine]
                _simulated(axes, [each.alpha for each in mine], checks, estimator)
            _decades(axes)
            axes.set_xlabel("strength α")
            axes.set_title(title, fontsize=9)
        limits = _limits(row[-1], setting)
        row[0].set_ylabel("squared distance from w*")
        handles, names = row[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=len(names))
        return drawn(figure, name, label=_label(setting, points, limits), caption=_caption(setting, limits, behind))


def _decades(axes: Axes) -> None:
    """A logarithmic horizontal axis from 0.01 to 100, its ticks written out."""
    axes.set_xscale("log")
    axes.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    axes.minorticks_off()


def _closed(axes: Axes, estimator: Estimator, part: str, setting: Setting, points: Sequence[Point]) -> None:
    first, last = math.log10(points[0].alpha), math.log10(points[-1].alpha)
    alphas = [10 ** (first + (last - first) * place / (_FINE - 1)) for place in range(_FINE)]
    values = [getattr(risk(estimator, alpha, setting), part) for alpha in alphas]
    colour = method_colour(estimator).light
    axes.plot(alphas, values, color=colour, linestyle=_DASHES[estimator], label=_NAMES[estimator])


def _simulated(axes: Axes, places: Sequence[float], checks: Sequence[Check], estimator: Estimator) -> None:
    colour = method_colour(estimator).light
    lows, highs = zip(*(each.interval for each in checks), strict=True)
    axes.vlines(places, lows, highs, color=colour, linewidth=1)
    means = [each.mean for each in checks]
    axes.plot(places, means, _MARKERS[estimator], color=colour, markersize=4, markerfacecolor="none")


def _limits(axes: Axes, setting: Setting) -> dict[Estimator, float]:
    """Draw up to which strength each shrinking estimator is better than least squares; the finite ones."""
    found: dict[Estimator, float] = {}
    for estimator in ESTIMATORS[1:]:
        limit = largest_alpha(setting.offset(estimator), setting.spread)
        if math.isfinite(limit):
            axes.axvline(limit, color=method_colour(estimator).light, linewidth=0.9, linestyle=(0, (1, 1.5)))
            found[estimator] = limit
    return found


def _thresholds(limits: dict[Estimator, float]) -> str:
    told = [f"{_NAMES[estimator]} is better than least squares below α = {a:.3g}" for estimator, a in limits.items()]
    if "l2_sp" not in limits:
        told.append("L2-SP is better at every strength")
    return ", ".join(told)


def _caption(setting: Setting, limits: dict[Estimator, float], behind: str) -> str:
    return (
        f"Linear regression with {setting.samples} samples and {setting.predictors} parameters; "
        f"pσ² = {setting.spread:g}, ‖w*‖² = {setting.size**2:g}, ‖ε‖² = {setting.distance**2:g}. {behind} "
        f"Dotted verticals, thresholds of the theory: {_thresholds(limits)}."
    )


def _label(setting: Setting, points: Sequence[Point], limits: dict[Estimator, float]) -> str:
    spread = next(each for each in points if each.estimator == "plain").parts["error"].mean
    least = [f"least squares {spread:.3g} at any strength"]
    for estimator in ESTIMATORS[1:]:
        mean, alpha = min((each.parts["error"].mean, each.alpha) for each in points if each.estimator == estimator)
        least.append(f"{_NAMES[estimator]} {mean:.3g} at α = {alpha:.3g}")
    return (
        f"Squared bias, variance and squared error over the strength, for ‖ε‖² = {setting.distance**2:g}. "
        f"Smallest simulated squared error: {', '.join(least)}. {_thresholds(limits)}."
    )


def draw_distances(
    name: str, setting: Setting, distances: Sequence[float], points: Sequence[Point], behind: str
) -> Drawn:
    """Squared error at one strength over the starting point's squared distance from the true parameters."""
    alpha, far = points[0].alpha, largest_offset(points[0].alpha, setting.spread)
    with chart(6.4, 3.6) as (figure, axes):
        for estimator in ("plain", "l2"):
            error = risk(estimator, alpha, setting).error
            axes.axhline(
                error, color=method_colour(estimator).light, linestyle=_DASHES[estimator], label=_NAMES[estimator]
            )
        closed = [each.parts["error"].closed for each in points]
        axes.plot(distances, closed, color=method_colour("l2_sp").light, label=_NAMES["l2_sp"])
        _simulated(axes, distances, [each.parts["error"] for each in points], "l2_sp")
        for place in (setting.spread, far, setting.size**2):
            axes.axvline(place, color=MUTED.light, linewidth=0.9, linestyle=(0, (1, 1.5)))
        axes.set_xlabel("‖ε‖², squared distance of the starting point from w*")
        axes.set_ylabel("squared error")
        axes.set_ylim(bottom=0)
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=len(names))
        told = (
            f"up to pσ² = {setting.spread:g} L2-SP is better than least squares at every strength, up to {far:.3g} at "
            f"this one, and up to ‖w*‖² = {setting.size**2:g} better than L2"
        )
        label = f"Squared error at α = {alpha:g} over ‖ε‖²: {told}."
        return drawn(figure, name, label=label, caption=f"At α = {alpha:g}. {behind} Dotted verticals: {told}.")


def draw_keeping(name: str, kept: Sequence[Keeping]) -> Drawn:
    """The share of the task's minimum that is kept, over the Hessian's eigenvalues; the zero one is left out."""
    with chart(6.4, 3.6) as (figure, axes):
        for each, colour in zip(kept, (OCHRE, BLUE, VERMILLION), strict=True):
            shown = [place for place, eigenvalue in enumerate(each.eigenvalues) if eigenvalue > 0]
            values = [each.eigenvalues[place] for place in shown]
            fine = torch.logspace(math.log10(min(values)), math.log10(max(values)), _FINE)
            closed = share_of_minimum(fine, each.alpha).tolist()
            axes.plot(fine.tolist(), closed, color=colour.light, label=f"α = {each.alpha:g}")
            found = [each.found[place] for place in shown]
            axes.plot(values, found, "o", color=colour.light, markersize=4, markerfacecolor="none")
        _decades(axes)
        axes.set_xlabel("eigenvalue λ of the Hessian")
        axes.set_ylabel("share of ŵ kept, λ/(λ + α)")
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=len(names))
        off = max(each.off for each in kept)
        caption = (
            "Lines: closed form. Circles: the minimum found by BFGS on one drawn quadratic, which needs no seeds; "
            f"largest difference in a parameter {off:.1g}. What is not kept of ŵ is w⁰'s, or with L2 the origin's."
        )
        label = (
            "Share of the task's minimum kept against the Hessian's eigenvalue: one half where λ = α, more above it."
        )
        return drawn(figure, name, label=label, caption=caption)

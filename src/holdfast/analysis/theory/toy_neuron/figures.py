"""The pictures of ``toy-neuron``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from holdfast.analysis.drawing import Drawn, drawn
from holdfast.analysis.theory.toy_neuron.closed_form import gradient_variance, modulus_variance, printed_variance
from holdfast.report.palette import BLUE, GREY, MUTED, OCHRE, VERMILLION, Colour
from holdfast.report.svg import chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from holdfast.analysis.theory.simulated import Check
    from holdfast.analysis.theory.toy_neuron.comparison import Point

_LOOKS = {"element": (VERMILLION, "o"), "gaussian": (OCHRE, "s"), "constant": (GREY, "^")}
"""Uniform targets are PtR's and have its colour."""
_BESIDE = {"gaussian": 0.05}
"""Both random kinds have one closed form: it is drawn once, and their points stand side by side."""
_FINE = 100
"""Places at which a closed form is drawn."""


def draw_targets(points: Sequence[Point], names: Mapping[str, str], behind: str) -> Drawn:
    """The variance over the targets' mean, for every kind of target."""
    x, last = points[0].x, points[-1]
    fine = np.linspace(points[0].m, last.m, _FINE).tolist()
    with chart(6.4, 3.8) as (figure, axes):
        for kind, name in names.items():
            colour, marker = _LOOKS[kind]
            if kind not in _BESIDE:
                _line(axes, fine, partial(gradient_variance, x, kind=kind), colour)
            places = [each.m + _BESIDE.get(kind, 0.0) for each in points]
            _simulated(axes, places, [each.targets[kind] for each in points], colour, marker, name)
        _line(axes, fine, partial(printed_variance, x), MUTED, "eq. 7 as printed")
        axes.set_ylim(bottom=0)
        _named(figure, axes, f"m, mean of the targets (at input x = {x:g})")
        label = (
            f"Variance of the gradient over the mean of the targets, at x = {x:g}. At m = {last.m:g}: uniform targets "
            f"{last.targets['element'].mean:.3g}, normal {last.targets['gaussian'].mean:.3g}, constant "
            f"{last.targets['constant'].mean:.3g}; the printed equation says {last.printed:.3g}."
        )
        caption = f"{behind} Uniform and normal targets have one closed form."
        return drawn(figure, "toy-neuron-targets", label=label, caption=caption)


def draw_inputs(points: Sequence[Point], behind: str) -> Drawn:
    """The variance over the input, beside what the printed equations say."""
    m, last = points[0].m, points[-1]
    places, fine = [each.x for each in points], np.geomspace(points[0].x, last.x, _FINE).tolist()
    corrected, modulus = [each.targets["element"] for each in points], [each.modulus for each in points]
    with chart(6.4, 3.8) as (figure, axes):
        _line(axes, fine, lambda x: gradient_variance(x, m, "element"), VERMILLION)
        _simulated(axes, places, corrected, VERMILLION, "o", "x²(Var f + Var t), corrected")
        _line(axes, fine, lambda x: modulus_variance(x, m), BLUE)
        _simulated(axes, places, modulus, BLUE, "s", "with eq. 6's modulus")
        _line(axes, fine, lambda x: printed_variance(x, m), MUTED, "Var f + Var t, eq. 7 as printed")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(places, [f"{x:g}" for x in places])
        axes.minorticks_off()
        _named(figure, axes, f"x, input of the neuron (at m = {m:g})")
        label = (
            f"Variance of the gradient over the input, at m = {m:g}. At x = {last.x:g}: simulated "
            f"{corrected[-1].mean:.3g}, corrected form {corrected[-1].closed:.3g}, with the modulus "
            f"{last.modulus.closed:.3g}, as printed {last.printed:.3g}. Corrected and printed forms meet at x = 1."
        )
        caption = f"Uniform targets. {behind} Both axes are logarithmic."
        return drawn(figure, "toy-neuron-inputs", label=label, caption=caption)


def _line(axes: Axes, places: Sequence[float], form: Callable[[float], float], colour: Colour, name: str = "") -> None:
    """A closed form; one with a name of its own has no simulation, and is dashed."""
    dashes, label = ((0, (4, 2)), name) if name else ("-", None)
    axes.plot(places, [form(place) for place in places], color=colour.light, linestyle=dashes, label=label)


def _simulated(
    axes: Axes, places: Sequence[float], checks: Sequence[Check], colour: Colour, marker: str, name: str
) -> None:
    lows, highs = zip(*(each.interval for each in checks), strict=True)
    axes.vlines(places, lows, highs, color=colour.light, linewidth=1)
    means = [each.mean for each in checks]
    axes.plot(places, means, marker, color=colour.light, markersize=4.5, markerfacecolor="none", label=name)


def _named(figure: Figure, axes: Axes, across: str) -> None:
    axes.set_xlabel(across)
    axes.set_ylabel("variance of the gradient ∂E/∂a")
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=2)

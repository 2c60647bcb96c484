"""The pictures of ``rifle-oracle``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from holdfast.analysis.drawing import Drawn, drawn
from holdfast.analysis.theory.rifle_oracle.compared import Compared, Measured
from holdfast.analysis.theory.rifle_oracle.transport import COSTS
from holdfast.report.palette import BLUE, BROWN, MUTED, OCHRE, PAPER, PINK, VERMILLION, Colour, method_colour
from holdfast.report.svg import chart, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ARMS = {"l2": "L2", "rifle": "L2 + RIFLE"}
_COSTS = dict(zip(COSTS, ((BLUE, "o"), (VERMILLION, "s"), (OCHRE, "^"), (PINK, "D"), (BROWN, "v")), strict=True))
_ROW = 0.42
"""Height of a reading's row, in inches."""


def draw_levels(results: Sequence[Compared], printed: Mapping[str, float], count: str) -> Drawn:
    """Test error of every seed and its mean, in both arms, one row per reading."""
    with chart(7.2, 1.3 + _ROW * len(results)) as (figure, axes):
        for arm, name in _ARMS.items():
            colour, beside = method_colour(arm).light, -0.16 if arm == "l2" else 0.16
            for place, each in enumerate(results):
                errors = [run.arms[arm].test for run in each.runs]
                axes.plot(errors, [place + beside] * len(errors), "o", color=colour, alpha=0.35, markersize=3.5)
                centre = getattr(each.test, arm)
                axes.plot(centre, place + beside, "D", color=colour, markersize=5.5, markeredgecolor=PAPER.light)
            axes.plot([], [], "D", color=colour, label=name)
            axes.axvline(printed[arm], color=colour, linewidth=0.9, linestyle=(0, (1, 1.5)), label=f"{name}, printed")
        _rows(axes, results)
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xlabel("test error: mean squared error on clean labels of the target")
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=len(names))
        told = "; ".join(f"{each.reading.name} {each.test.l2:.3g} to {each.test.rifle:.3g}" for each in results)
        paper = f"Printed: {printed['l2']:.3g} to {printed['rifle']:.3g}."
        label = f"Mean test error with L2, then with L2 and RIFLE. {paper} {told}."
        caption = (
            f"Dots: runs, {count}. Diamonds: their means. Dotted verticals: what the paper prints. Logarithmic axis."
        )
        return drawn(figure, "rifle-oracle-levels", label=label, caption=caption)


def draw_orders(results: Sequence[Compared], count: str) -> Drawn:
    """Paired differences of test error and of distances, in per cent of L2's mean, with their intervals."""
    with panels(9.6, 1.6 + _ROW * len(results), columns=2, sharey=True) as (figure, ((left, right),)):
        for place, each in enumerate(results):
            _interval(left, each.test, place, method_colour("rifle"), "D")
            for number, cost in enumerate(COSTS):
                _interval(right, each.measures[cost], place + 0.15 * (number - 2), *_COSTS[cost])
        for axes, what in ((left, "test error"), (right, "distance of the first layer")):
            axes.axvline(0, color=MUTED.light, linewidth=0.9)
            axes.set_xlabel(f"{what}: RIFLE minus L2 (% of L2's mean)")
        _rows(left, results)
        handles = [right.plot([], [], mark, color=colour.light)[0] for colour, mark in _COSTS.values()]
        figure.legend(handles, list(_COSTS), loc="outside upper right", ncols=len(_COSTS))
        caption = (
            f"Mean paired difference over seeds with its 95 % interval, {count}; left of zero the paper's order holds. "
            "Right: optimal transport distance to the oracles' first layer, by ground cost."
        )
        told = "; ".join(f"{each.reading.name} {_words(each.test)}" for each in results)
        label = f"Differences of L2 with RIFLE from L2 alone. Test error, in per cent of L2's mean: {told}."
        return drawn(figure, "rifle-oracle-orders", label=label, caption=caption)


def _words(measured: Measured) -> str:
    centre, low, high = measured.percent
    return f"{centre:+.3g} ({low:+.3g} to {high:+.3g})"


def _interval(axes: Axes, measured: Measured, place: float, colour: Colour, mark: str) -> None:
    centre, *ends = measured.percent
    axes.plot(ends, [place, place], color=colour.light, linewidth=1.6, solid_capstyle="butt")
    axes.plot(centre, place, mark, color=colour.light, markersize=4)


def _rows(axes: Axes, results: Sequence[Compared]) -> None:
    axes.set_yticks(range(len(results)), [each.reading.name for each in results])
    axes.set_ylim(len(results) - 0.45, -0.55)
    axes.grid(False, axis="y")

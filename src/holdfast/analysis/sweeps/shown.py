"""How the points of a sweep are told and drawn."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from holdfast.analysis.sweeps.sweep import Point
from holdfast.bench.statistics import LEVEL
from holdfast.report.measures import fixed
from holdfast.report.palette import Colour


def mean_in_words(point: Point) -> str:
    """The mean with its interval: ``73.1 % (95 % interval 71.0 to 75.2, 5 runs)``."""
    runs = len(point.entry.values)
    if point.group.interval is None:
        return f"{fixed(point.mean, 1)} % (1 run)"
    low, high = point.group.interval
    return f"{fixed(point.mean, 1)} % (95 % interval {fixed(low, 1)} to {fixed(high, 1)}, {runs} runs)"


def gain_in_words(point: Point) -> str:
    """The gain over the row that it is compared with, and whether chance explains it."""
    gain, p = point.entry.gain, point.entry.p
    if gain is None or p is None:
        return "too few pairs of runs to say what it gains"
    shown = f"{fixed(gain.mean, 1)} points over {point.entry.against}"
    verdict = "beyond chance" if p < LEVEL else "not beyond chance"
    return (
        f"{shown} (95 % interval {fixed(gain.low, 1)} to {fixed(gain.high, 1)}, {gain.pairs} pairs; p = {p:.2g} after "
        f"Holm's correction: {verdict})"
    )


def runs_in_words(points: Sequence[Point]) -> str:
    """How many runs stand behind each point: ``5 runs each``."""
    counts = sorted({len(point.entry.values) for point in points})
    if len(counts) == 1:
        return f"{counts[0]} run{'s' if counts[0] > 1 else ''} each"
    return f"{counts[0]} to {counts[-1]} runs each"


def draw_means(axes: Axes, places: Sequence[float], points: Sequence[Point], colour: Colour, name: str = "") -> None:
    """A line through means, each on its 95 % interval where it has one."""
    for place, point in zip(places, points, strict=True):
        if point.group.interval is not None:
            axes.plot([place, place], point.group.interval, color=colour.light, linewidth=1.2)
    means = [point.mean for point in points]
    axes.plot(places, means, color=colour.light, marker="o", markersize=4, label=name)

"""The pictures of ``gains``: a forest of intervals, accuracy beside calibration, gains over numbers and sources."""

from __future__ import annotations

import re
import statistics
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.analysis.drawing import Drawn, drawn
from holdfast.analysis.sweeps.shown import runs_in_words
from holdfast.analysis.sweeps.sweep import Point
from holdfast.bench.statistics import LEVEL
from holdfast.report.measures import Measure, fixed
from holdfast.report.palette import MUTED, RULE, method_colour
from holdfast.report.svg import chart, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 6.4
_MARGIN = "A row far from all others is told in numbers. "
_STYLES = ("o-", "s--", "^:", "D-.")


@dataclass(frozen=True)
class Figure:
    """How a figure beside the metric is shown.

    Attributes:
        name: in an entry.
        short: in a sentence.
        axis: with its unit.
        factor: from the stored to the shown unit.
        digits: after the point.
        unit: of a difference, in a sentence.
    """

    name: str
    short: str
    axis: str
    factor: float
    digits: int
    unit: str = ""

    def signed(self, value: float) -> str:
        """A difference with its sign."""
        return f"{self.factor * value:+.{self.digits}f}"


FIGURES = {
    "nll": Figure("nll", "NLL", "NLL (nats)", 1.0, 2),
    "ece": Figure("ece", "ECE", "ECE (%)", 100.0, 1, " points"),
}


def forest(column: str, points: Sequence[Point], measure: Measure) -> Drawn:
    """Gains of a column's rows on their 95 % intervals, the differences of single seeds as dots.

    A row whose gain lies far from all others is told in numbers at the margin, so that the others can be read.
    """
    found = [p for p in points if p.entry.gain is not None]
    base = {p.entry.row: p for p in points}
    against = found[0].entry.against
    far = far_apart([p.entry.gain.mean for p in found if p.entry.gain is not None])
    with chart(WIDTH, 0.9 + 0.32 * len(found)) as (figure, axes):
        axes.axvline(0, color=MUTED.light, linewidth=0.9)
        for place, point in enumerate(found):
            gain, colour = point.entry.gain, method_colour(point.entry.label).light
            assert gain is not None
            if far[place]:
                _at_margin(
                    axes, place, f"{gain.mean:+.1f} ({gain.low:+.1f} to {gain.high:+.1f})", colour, gain.mean < 0
                )
                continue
            control = base.get(point.entry.against or "")
            shared = [] if control is None else sorted(point.entry.values.keys() & control.entry.values.keys())
            differences = [] if control is None else [point.entry.values[s] - control.entry.values[s] for s in shared]
            axes.plot(differences, [place - 0.17] * len(differences), "o", color=colour, alpha=0.4, markersize=3)
            axes.plot([gain.low, gain.high], [place + 0.1] * 2, color=colour, linewidth=2)
            axes.plot(gain.mean, place + 0.1, "D", color=colour, markerfacecolor=colour if settled(point) else "white")
        axes.set_ylim(len(found) - 0.4, -0.6)
        axes.set_yticks(range(len(found)), [point.entry.label for point in found])
        axes.grid(False, axis="y")
        axes.set_xlabel(f"gain in {measure.label} over {against} ({measure.gain_unit}), {column}")
        told = "; ".join(f"{p.entry.label} {p.entry.gain.mean:+.1f}" for p in found if p.entry.gain is not None)
        return drawn(
            figure,
            f"gains-{_stem(column)}",
            label=f"Gains over {against} on {column}, in {measure.gain_unit}: {told}.",
            caption=(
                f"{column}: gains over {against}, paired by seed. Diamonds are means on 95 % intervals, filled where "
                f"the gain is beyond chance after Holm's correction over the whole table; dots are single seeds. "
                f"{_MARGIN if any(far) else ''}{_sentence(found)}"
            ),
        )


def quality(column: str, points: Sequence[Point], measure: Measure) -> Drawn:
    """Means with their standard deviations of the metric and, where measured, of likelihood and calibration."""
    beside = [figure for name, figure in FIGURES.items() if any(name in p.entry.beside for p in points)]
    far = far_apart([p.mean for p in points])
    with panels(WIDTH, 0.9 + 0.26 * len(points), 1, 1 + len(beside)) as (drawing, grid):
        row = grid[0]
        for axes, figure in zip(row, [None, *beside], strict=True):
            axes.set_xlabel(measure.axis if figure is None else figure.axis)
            for place, point in enumerate(points):
                _mean(axes, place, point, figure, far=far[place])
            axes.set_ylim(len(points) - 0.5, -0.5)
            axes.set_yticks(range(len(points)), [p.entry.label for p in points] if axes is row[0] else [])
            axes.grid(False, axis="y")
        told = "; ".join(f"{p.entry.label} {fixed(p.mean, 1)}" for p in points)
        return drawn(
            drawing,
            f"quality-{_stem(column)}",
            label=f"{measure.axis} on {column}: {told}; with likelihood and calibration beside it.",
            caption=(
                f"{column}: means and standard deviations over runs, filled where the paired difference from the "
                f"baseline is beyond chance after Holm's correction over all differences of its kind in the table. NLL "
                f"is the negative log-likelihood and ECE the expected calibration error: less is better. "
                f"{_MARGIN if any(far) else ''}{_sentence(points)}"
            ),
        )


def settled(point: Point) -> bool:
    """Whether the gain is beyond chance after correction."""
    return point.entry.p is not None and point.entry.p < LEVEL


def _mean(axes: Axes, place: int, point: Point, figure: Figure | None, *, far: bool) -> None:
    """Mean and spread of the metric, or of a figure beside it: a mark, or numbers for a row far from all others."""
    entry, colour = point.entry, method_colour(point.entry.label).light
    if figure is None:
        mean, spread, digits, filled = point.mean, entry.std, 1, settled(point)
    elif figure.name in entry.beside:
        found, digits = entry.beside[figure.name], figure.digits
        filled = found.settled != 0
        mean, spread = figure.factor * found.mean, None if found.std is None else figure.factor * found.std
    else:
        return
    if far:
        around = "" if spread is None else f" ± {fixed(spread, digits)}"
        _at_margin(axes, place, f"{fixed(mean, digits)}{around}", colour, None)
        return
    face = colour if filled else "white"
    axes.errorbar(mean, place, xerr=spread, fmt="D", color=colour, markerfacecolor=face, markersize=5)


def far_apart(values: Sequence[float]) -> list[bool]:
    """Which values lie so far from the middle that the others could not be told apart beside them.

    Farther from the median than ten times the median distance, and than ten points; none of four rows or fewer.
    """
    if len(values) <= 4:
        return [False] * len(values)
    middle = statistics.median(values)
    apart = [abs(value - middle) for value in values]
    return [distance > max(10.0, 10 * statistics.median(apart)) for distance in apart]


def _at_margin(axes: Axes, place: int, text: str, colour: str, left: bool | None) -> None:
    """A row in numbers in place of a mark; an arrow says on which side of the axis it would lie."""
    arrow = {True: "\N{LEFTWARDS ARROW} ", False: "\N{RIGHTWARDS ARROW} ", None: ""}[left]
    text = text.replace("-", "\N{MINUS SIGN}")  # as the axes have it
    axes.text(0.02, place, arrow + text, color=colour, transform=axes.get_yaxis_transform(), va="center")


def by_number(name: str, points: Sequence[Point], numbers: Mapping[str, int], measure: Measure) -> Drawn:
    """Gain of each row against the images per class."""
    return _lines(
        f"images-{_stem(name)}",
        points,
        {column: float(number) for column, number in numbers.items()},
        [str(number) for number in numbers.values()],
        "training images per class",
        measure,
    )


def by_source(name: str, points: Sequence[Point], sources: Mapping[str, str], measure: Measure) -> Drawn:
    """Gain of each row for each source that the network comes from."""
    return _lines(
        f"sources-{_stem(name)}",
        points,
        {column: float(place) for place, column in enumerate(sources)},
        list(sources.values()),
        "source of the starting point",
        measure,
    )


def _lines(
    name: str, points: Sequence[Point], places: Mapping[str, float], ticks: Sequence[str], axis: str, measure: Measure
) -> Drawn:
    """A line per row through its gains, on their intervals; rows are set apart so that intervals can be read."""
    rows = in_several_columns(points)
    span = max(places.values()) - min(places.values())
    with chart(WIDTH, 3.6) as (figure, axes):
        axes.axhline(0, color=RULE.light, linewidth=1.2)
        labels = [found[0].entry.label for found in rows]
        for number, (found, (colour, style)) in enumerate(zip(rows, looks(labels), strict=True)):
            aside = 0.02 * span * (number - (len(rows) - 1) / 2)
            x = [places[p.entry.column] + aside for p in found]
            gains = [p.entry.gain for p in found if p.entry.gain is not None]
            for at, gain in zip(x, gains, strict=True):
                axes.plot([at, at], [gain.low, gain.high], color=colour, linewidth=1)
            axes.plot(x, [g.mean for g in gains], style, color=colour, markersize=4, label=found[0].entry.label)
        axes.set_xticks(list(places.values()), [textwrap.fill(tick, 24) for tick in ticks])
        axes.set_xlabel(axis)
        axes.set_ylabel(f"gain in {measure.label} ({measure.gain_unit})")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        shown = [p for found in rows for p in found]
        told = "; ".join(
            f"{p.entry.label} on {p.entry.column} {p.entry.gain.mean:+.1f}" for p in shown if p.entry.gain is not None
        )
        return drawn(
            figure,
            name,
            label=f"Gains in {measure.gain_unit} over {axis}: {told}.",
            caption=(
                f"Gains over the same column's baseline, paired by seed, on 95 % intervals, of the rows measured in "
                f"several of these columns. {_sentence(shown)}"
            ),
        )


def in_several_columns(points: Sequence[Point]) -> list[list[Point]]:
    """Each row's points that have a gain, of the rows that have one in two columns at least."""
    rows: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        if point.entry.gain is not None:
            rows[point.entry.row].append(point)
    return [found for found in rows.values() if len(found) > 1]


def looks(labels: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Colour and line of each method; those that share a colour differ in marker and dash."""
    taken: Counter[str] = Counter()
    for label in labels:
        colour = method_colour(label).light
        yield colour, _STYLES[taken[colour] % len(_STYLES)]
        taken[colour] += 1


def _sentence(points: Sequence[Point]) -> str:
    said = runs_in_words(points)
    return f"{said[0].upper()}{said[1:]}."


def _stem(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")

"""The figures of the pages, each an SVG string with axis names, units and a text alternative."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from holdfast.report.palette import ACCENT, BLUE, MUTED, PAPER, RULE, Colour
from holdfast.report.quality import Bin, wilson
from holdfast.report.svg import chart, plain, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from holdfast.report.measures import Measure

WIDTH = 4.3  # inches: two figures side by side on a desk, one on a phone, legible in both
FAINTEST, STRONGEST = 0.07, 0.5  # opacity of a cell: a number on the strongest is still read on light and dark
NUMBERED_CLASSES = 30  # up to here a confusion matrix has room for its counts and every name


@dataclass(frozen=True)
class Line:
    """A curve: values over epochs, in a method's or a neutral colour."""

    name: str
    epochs: Sequence[float]
    values: Sequence[float]
    colour: Colour
    dashed: bool = False


@dataclass(frozen=True)
class Row:
    """A method's line in a comparison: its runs, their centre and the ends of the interval (None with one run)."""

    name: str
    values: Sequence[float]
    centre: float
    interval: tuple[float, float] | None
    colour: Colour


def curves(lines: Sequence[Line], axis: str, *, name: str, label: str, mark: float | None = None) -> str:
    """Curves over epochs; ``mark`` is the epoch whose weights were kept.

    Args:
        lines: at least one, named in a legend where there are several.
        axis: name and unit of the vertical axis.
        name: unique on the page.
        label: text alternative.
        mark: epoch of a thin vertical line.
    """
    with chart(WIDTH, 2.9) as (figure, axes):
        if mark is not None:
            axes.axvline(mark, color=MUTED.light, linewidth=0.8, linestyle=(0, (2, 2)))
        handles = []
        for line in lines:
            style: Any = (0, (3, 1.5)) if line.dashed else "-"
            marker = "o" if len(line.epochs) == 1 else None  # a single epoch has no line to draw
            colour = line.colour.light
            handles += axes.plot(line.epochs, line.values, color=colour, linestyle=style, marker=marker, markersize=4)
        axes.set_xlabel("epoch")
        axes.set_ylabel(plain(axis), parse_math=False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
        if len(lines) > 1:
            names = [plain(line.name, 22) for line in lines]
            columns = 3 if max(map(len, names)) <= 12 else 2
            legend = figure.legend(handles, names, loc="outside upper left", ncols=min(columns, len(lines)))
            for text in legend.get_texts():
                text.set_parse_math(False)
        return to_svg(figure, name, label)


def confusion_matrix(
    counts: NDArray[np.int64], classes: Sequence[str], *, name: str, label: str, numbered: int = NUMBERED_CLASSES
) -> str:
    """Shares of each true class (row) by predicted class (column); up to ``numbered`` classes counts are written in."""
    total = len(classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    written = total <= numbered
    width = min(8.0, 3.4 + 0.16 * total) if total <= NUMBERED_CLASSES else 8.0
    with chart(width, width) as (figure, axes):
        axes.set_xlim(-0.5, total - 0.5)
        axes.set_ylim(total - 0.5, -0.5)
        axes.set_aspect("equal")
        axes.grid(False)
        if written:
            _cells(axes, counts, shares)
        else:
            # Square root: one mistake in a hundred images must not vanish beside the diagonal.
            tint = np.empty((*shares.shape, 4))
            tint[...] = to_rgba(BLUE.light)
            tint[..., 3] = np.sqrt(shares)
            axes.imshow(tint, interpolation="none")
        name_classes(axes, classes)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        return to_svg(figure, name, label)


def _cells(axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    size = 9 if len(counts) <= 20 else 7
    for row, column in np.argwhere(counts):
        strength = FAINTEST + (STRONGEST - FAINTEST) * float(shares[row, column])
        cell = Rectangle((column - 0.5, row - 0.5), 1, 1, color=ACCENT.light, alpha=strength, linewidth=0)
        axes.add_patch(cell)
        axes.text(column, row, str(counts[row, column]), ha="center", va="center_baseline", fontsize=size)


def name_classes(axes: Axes, classes: Sequence[str], most: int = 60) -> None:
    """Every name on both axes where there is room for so many, else evenly spaced ones."""
    step = math.ceil(len(classes) / most)
    size = 9 if len(classes) <= 20 else 7
    places = range(0, len(classes), step)
    names = [plain(classes[place], 18) for place in places]
    axes.set_xticks(places, names, rotation=90, fontsize=size)
    axes.set_yticks(places, names, fontsize=size)
    for tick in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        tick.set_parse_math(False)


def reliability_diagram(bins: Sequence[Bin], *, name: str, label: str, intervals: bool = True) -> str:
    """Share right against mean confidence per bin; the diagonal is perfect calibration.

    Args:
        bins: at least one.
        name: unique on the page.
        label: text alternative.
        intervals: draw 95 % Wilson intervals, where the predictions are independent.
    """
    with chart(WIDTH, 3.7) as (figure, axes):
        draw_reliability(axes, bins, BLUE, intervals=intervals)
        return to_svg(figure, name, label)


def draw_reliability(axes: Axes, bins: Sequence[Bin], colour: Colour, *, intervals: bool = True) -> None:
    """Fill a pair of axes with the diagram."""
    axes.plot([0, 100], [0, 100], color=MUTED.light, linewidth=0.8, linestyle=(0, (2, 2)))
    largest = max(item.total for item in bins)
    for item in bins:
        x, share = 100 * item.confidence, 100 * item.right / item.total
        if intervals:
            low, high = wilson(item.right, item.total)
            axes.plot([x, x], [100 * low, 100 * high], color=colour.light, linewidth=1.2)
        # Area follows the number of images, so that a bin of three does not look like a bin of three hundred.
        axes.plot(x, share, "o", color=colour.light, markersize=3 + 7 * math.sqrt(item.total / largest))
    axes.set_xlim(-2, 102)
    axes.set_ylim(-2, 102)
    axes.set_aspect("equal")
    axes.set_xlabel("probability given to the predicted class (%)")
    axes.set_ylabel("predictions that were right (%)")


def dots(rows: Sequence[Row], measure: Measure, axis: str, *, name: str, label: str, zero: bool = False) -> str:
    """Runs as dots, below them their mean as a diamond on its interval, one row per method.

    Args:
        rows: from top to bottom.
        measure: scales the values.
        axis: name and unit of the horizontal axis.
        name: unique on the page.
        label: text alternative.
        zero: draw a line at zero, for differences.
    """
    with chart(WIDTH, 0.75 + 0.55 * len(rows)) as (figure, axes):
        if zero:
            axes.axvline(0, color=MUTED.light, linewidth=0.9)
        for place, row in enumerate(rows):
            _dot_row(axes, row, place, measure.factor)
        axes.set_ylim(len(rows) - 0.5, -0.75)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
        axes.set_xlabel(plain(axis, 60), parse_math=False)
        return to_svg(figure, name, label)


def _dot_row(axes: Axes, row: Row, place: int, factor: float) -> None:
    colour, line, below = row.colour.light, place, place + 0.2
    count = f"{len(row.values)} runs" if len(row.values) != 1 else "1 run"
    across = axes.get_yaxis_transform()
    text = f"{plain(row.name, 34)} ({count})"
    axes.text(0, place - 0.3, text, transform=across, va="center", fontsize=9, parse_math=False)
    axes.plot([0, 1], [line, line], transform=across, color=RULE.light, linewidth=0.5)
    values = [factor * value for value in row.values]
    axes.plot(values, [line] * len(values), "o", color=colour, alpha=0.45, markersize=4.5, markeredgewidth=0)
    if row.interval is not None:
        ends = [factor * end for end in row.interval]
        axes.plot(ends, [below, below], color=colour, linewidth=2, solid_capstyle="butt")
    axes.plot(factor * row.centre, below, "D", color=colour, markersize=5.5, markeredgecolor=PAPER.light)

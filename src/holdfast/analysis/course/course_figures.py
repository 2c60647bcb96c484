"""The figures of ``analyse curves``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from holdfast.analysis.course.courses import Course
from holdfast.analysis.drawing import Drawn, dashes, drawn
from holdfast.report.measures import Measure, counted, measure
from holdfast.report.palette import method_colour
from holdfast.report.svg import panels, plain

_BAND = 0.16  # opacity: three bands over one another still let the lines be seen


@dataclass(frozen=True)
class Plot:
    """A figure of columns of metrics.csv side by side.

    Attributes:
        name: last part of its files' stem.
        what: is shown, for the caption.
        columns: one pair of axes each.
        shared: whether the axes have one vertical scale.
    """

    name: str
    what: str
    columns: Sequence[str]
    shared: bool


PLOTS = (
    Plot("loss", "Mean cross-entropy of each epoch, without penalties", ("train.loss", "val.loss"), True),
    Plot("accuracy", "Accuracy of each epoch", ("train.accuracy", "val.accuracy"), True),
    Plot("rate", "Learning rates at the start of each epoch, before a method's factor", ("lr", "head_lr"), False),
)
_RATES = {
    "lr": Measure("lr", "learning rate, pre-trained layers", digits=5),
    "head_lr": Measure("head_lr", "learning rate, new head", digits=5),
}


def quantity(column: str) -> Measure:
    """What a column is called, with its unit."""
    return _RATES.get(column) or measure(column)


def draw(plot: Plot, found: Mapping[str, Sequence[Course]], runs: Mapping[str, int]) -> Drawn:
    """One pair of axes for each column that runs have, one line and band for each method.

    Args:
        plot: what to draw.
        found: courses by column, at least one.
        runs: how many there are of each method.
    """
    styles = dict(zip(runs, dashes([method_colour(method) for method in runs]), strict=True))
    width, height = (8.6 if len(found) > 1 else 4.6), 3.0 + 0.2 * len(runs)
    with panels(width, height, columns=len(found), sharex=True, sharey=plot.shared) as (figure, (row,)):
        for axes, (column, each) in zip(row, found.items(), strict=True):
            for one in each:
                _line(axes, one, quantity(column).factor, styles[one.method])
            axes.set_xlabel("epoch")
            axes.set_ylabel(quantity(column).axis)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
            axes.yaxis.set_tick_params(labelleft=True)
        keys = [Line2D([], [], color=method_colour(method).light, linestyle=styles[method]) for method in runs]
        names = [f"{plain(method, 80)} ({counted(n, 'run')})" for method, n in runs.items()]
        for text in figure.legend(keys, names, loc="outside upper left").get_texts():
            text.set_parse_math(False)
        return drawn(
            figure,
            f"curves-{plot.name}",
            label=f"{plot.what}. At the last epoch: {'; '.join(_ends(found))}.",
            caption=f"{plot.what}; {counted(sum(runs.values()), 'run')} of {counted(len(runs), 'method')}. Lines: "
            "means over a method's runs; bands: from the lowest to the highest of them"
            f"{_thinner(found)}.",
        )


def _line(axes: Any, one: Course, factor: float, style: Any) -> None:
    colour = method_colour(one.method).light
    centre, low, high = ([factor * value for value in values] for values in (one.mean, one.low, one.high))
    marker = "o" if len(one.epochs) == 1 else None  # a single epoch has no line to draw
    axes.plot(one.epochs, centre, color=colour, linestyle=style, marker=marker, markersize=4)
    if max(one.runs) > 1:
        axes.fill_between(one.epochs, low, high, color=colour, alpha=_BAND, linewidth=0)
    if (place := one.thins) is not None:
        axes.plot(one.epochs[place], centre[place], "|", color=colour, markersize=10, markeredgewidth=1.6)


def _ends(found: Mapping[str, Sequence[Course]]) -> list[str]:
    return [
        f"{quantity(column).label} of {one.method} {quantity(column).text(one.mean[-1])}"
        for column, each in found.items()
        for one in each
    ]


def _thinner(found: Mapping[str, Sequence[Course]]) -> str:
    fewer = any(one.thins is not None for each in found.values() for one in each)
    return "; after an upright stroke the mean is of fewer runs, those that have a figure there" if fewer else ""

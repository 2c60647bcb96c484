"""Accuracy of PtR over its ratio R, its targets' mean m and its threshold T, one at a time (PtR, §3.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from holdfast.analysis.drawing import Drawn, drawn
from holdfast.analysis.finding import Finding
from holdfast.analysis.sweeps.shown import draw_means, gain_in_words, mean_in_words, runs_in_words
from holdfast.analysis.sweeps.sweep import Point, Sweep, the_one
from holdfast.core.errors import UsageError
from holdfast.methods.ptr import PtR
from holdfast.report.palette import method_colour
from holdfast.report.svg import chart

NAMES = {
    "R": "R, ratio of gradient norms",
    "m": "m, mean of the targets",
    "T": "T, loss at which PtR begins (nats)",
}


class Place(NamedTuple):
    """The parameters of a point."""

    R: float
    m: float
    T: float


Line = Sequence[tuple[float, Point]]
"""Points by one parameter, in rising order."""


def rmt_sweep(sweep: Sweep) -> Finding:
    """Show accuracy over each parameter of PtR, the two others at the values of the centre.

    Raises:
        UsageError: several columns, two points of one place, or none.
    """
    column = sweep.one_column()
    placed, aside = sweep.placed(place)
    if not placed:
        raise UsageError(f"no row of {sweep.name} has one ptr: expected rows as ptr(R=3, m=1, T=1)")
    middle = centre(placed)
    lines = {name: line_through(placed, middle, name) for name in Place._fields}
    plain = next((point for point in sweep.points if not point.methods), None)
    on_lines = {id(point) for line in lines.values() for _, point in line}
    off = [point.entry.row for point in placed.values() if id(point) not in on_lines]
    aside = [row for row in aside if plain is None or row != plain.entry.row] + off
    return Finding(
        analysis="rmt-sweep",
        title=f"PtR over R, m and T: {column}",
        text=_in_words(lines, placed[middle], middle, plain),
        data={
            "column": column,
            "centre": {name: _number(value) for name, value in middle._asdict().items()},
            "lines": {
                name: [{name: _number(value), **point.as_data()} for value, point in line]
                for name, line in lines.items()
            },
            "plain": None if plain is None else plain.as_data(),
        },
        figures=[_figure(sweep, lines, middle, plain)],
        inputs=sweep.inputs,
        notes=[
            *([f"Rows on none of the three lines are left out: {', '.join(aside)}."] if aside else []),
            *sweep.notes(),
        ],
    )


def place(point: Point) -> Place | None:
    """R, m and T of a point's only ``ptr``; None without one."""
    method = the_one(point.methods, PtR)
    return None if method is None else Place(method.R, method.m, method.T)


def centre(places: Mapping[Place, Point]) -> Place:
    """The place with the most others that differ from it in one parameter alone, the first of several."""

    def beside(here: Place) -> int:
        return sum(sum(a != b for a, b in zip(here, other, strict=True)) == 1 for other in places)

    return max(places, key=beside)


def line_through(places: Mapping[Place, Point], middle: Place, name: str) -> Line:
    """The points that differ from the centre in one parameter alone, and the centre."""
    found = [
        (float(getattr(at, name)), point)
        for at, point in places.items()
        if at._replace(**{name: getattr(middle, name)}) == middle
    ]
    return sorted(found, key=lambda each: each[0])


def _number(value: float) -> float | str:
    """JSON has no infinity."""
    return value if math.isfinite(value) else "inf"


def _shown(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else "∞"


def _at(middle: Place) -> str:
    return ", ".join(f"{name} = {_shown(value)}" for name, value in middle._asdict().items())


def _in_words(lines: Mapping[str, Line], start: Point, middle: Place, plain: Point | None) -> str:
    against = "" if start.entry.gain is None else f", {gain_in_words(start)}"
    parts = [f"PtR at {_at(middle)}: {mean_in_words(start)}{against}."]
    if plain is not None:
        parts.append(f"Plain fine-tuning: {mean_in_words(plain)}.")
    for name, line in lines.items():
        if len(line) < 2:
            continue
        low, high = (pick(line, key=lambda found: found[1].mean) for pick in (min, max))
        parts.append(
            f"Over {name} from {_shown(line[0][0])} to {_shown(line[-1][0])} the means range from "
            f"{low[1].mean:.1f} % at {_shown(low[0])} to {high[1].mean:.1f} % at {_shown(high[0])}."
        )
    return " ".join(parts)


def _figure(sweep: Sweep, lines: Mapping[str, Line], middle: Place, plain: Point | None) -> Drawn:
    points = [point for line in lines.values() for _, point in line]
    with chart(9.0, 3.3) as (figure, whole):
        whole.remove()
        for axes, (name, line) in zip(figure.subplots(1, len(lines), sharey=True), lines.items(), strict=True):
            _panel(axes, name, line, plain)
        figure.axes[0].set_ylabel(sweep.measure.axis)
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=2)
        told = "; ".join(
            f"{name}: " + ", ".join(f"{_shown(value)} {point.mean:.1f} %" for value, point in line)
            for name, line in lines.items()
        )
        base = "" if plain is None else f" Plain: {plain.mean:.1f} %."
        return drawn(
            figure,
            "rmt-sweep",
            label=f"{sweep.measure.label.capitalize()} of PtR. {told}.{base}",
            caption=f"{sweep.table.title}: means and their 95 % intervals over seeds, {runs_in_words(points)}; one "
            f"parameter at a time around {_at(middle)}; values are evenly spaced; dashed and band: plain.",
        )


def _panel(axes: Axes, name: str, line: Line, plain: Point | None) -> None:
    places = range(len(line))
    if plain is not None:
        colour = method_colour("plain").light
        axes.axhline(plain.mean, color=colour, linewidth=1.0, linestyle=(0, (3, 2)), label="plain")
        if plain.group.interval is not None:
            axes.axhspan(*plain.group.interval, color=colour, alpha=0.12, linewidth=0)
    draw_means(axes, list(places), [point for _, point in line], method_colour("ptr"), "ptr")
    axes.set_xticks(places, [_shown(value) for value, _ in line])
    axes.set_xlim(-0.5, len(line) - 0.5)
    axes.set_xlabel(NAMES[name])

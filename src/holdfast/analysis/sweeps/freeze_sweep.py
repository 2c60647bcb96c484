"""Accuracy against the number of frozen layers, for each method that trains the rest (L2-SP, §5.2, Figure 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from holdfast.analysis.drawing import Drawn, drawn
from holdfast.analysis.finding import Finding
from holdfast.analysis.sweeps.shown import draw_means, gain_in_words, mean_in_words, runs_in_words
from holdfast.analysis.sweeps.sweep import Point, Sweep, the_one
from holdfast.core.errors import UsageError
from holdfast.core.method import Method
from holdfast.methods.freeze import Freeze
from holdfast.report.palette import method_colour
from holdfast.report.svg import chart

Line = Sequence[tuple[int, Point]]
"""Points by their number of frozen layers, in rising order."""


def freeze_sweep(sweep: Sweep) -> Finding:
    """Show accuracy over the number of frozen layers, one line for each method beside ``freeze``.

    Raises:
        UsageError: several columns, two points of one place, or none.
    """
    column = sweep.one_column()
    placed, aside = sweep.placed(place)
    if not placed:
        raise UsageError(
            f"no row of {sweep.name} is a number of frozen layers; expected rows as freeze(layers=4)+l2_sp"
        )
    lines = {
        name: sorted(((k, p) for (other, k), p in placed.items() if other == name), key=lambda found: found[0])
        for name in dict.fromkeys(name for name, _ in placed)
    }
    return Finding(
        analysis="freeze-sweep",
        title=f"Freezing the first layers: {column}",
        text=" ".join(_in_words(name, line) for name, line in lines.items()),
        data={
            "column": column,
            "lines": {name: [{"layers": k, **p.as_data()} for k, p in line] for name, line in lines.items()},
        },
        figures=[_figure(sweep, lines)],
        inputs=sweep.inputs,
        notes=[
            *([f"Rows that are no number of frozen layers are left out: {', '.join(aside)}."] if aside else []),
            "The number with the highest mean is picked by the very figures that are shown: it is optimistic.",
            *sweep.notes(),
        ],
    )


def place(point: Point) -> tuple[str, int] | None:
    """The methods beside ``freeze`` by name, and how many layers are frozen; None where that is said by a module."""
    beside = names_of(method for method in point.methods if not isinstance(method, Freeze))
    freeze = the_one(point.methods, Freeze)
    if freeze is None:
        return (beside, 0) if not any(isinstance(method, Freeze) for method in point.methods) else None
    return None if freeze.until else (beside, freeze.layers)


def names_of(methods: Iterable[Method]) -> str:
    """Methods by name alone, ``l2_sp+dtnh(know_dist)``; ``plain`` without any."""
    return "+".join(m.stem + (f"({names_of(m.children)})" if m.children else "") for m in methods) or "plain"


def _in_words(name: str, line: Line) -> str:
    free = next((point for k, point in line if k == 0), None)
    best, top = max(line, key=lambda found: found[1].mean)
    start = "" if free is None else f"with nothing frozen {mean_in_words(free)}; "
    if best == 0:
        return f"{name}: {start}no number of frozen layers has a higher mean."
    against = "" if top.entry.against is None else f", {gain_in_words(top)}"
    return f"{name}: {start}highest with {best} layers frozen, {mean_in_words(top)}{against}."


def _figure(sweep: Sweep, lines: Mapping[str, Line]) -> Drawn:
    points = [point for line in lines.values() for _, point in line]
    many = len(lines) - 1
    with chart(5.6, 3.4) as (figure, axes):
        for number, (name, line) in enumerate(lines.items()):
            colour = method_colour(name)
            shift = 0.12 * (number - many / 2)  # so that intervals of several methods stand side by side
            draw_means(axes, [k + shift for k, _ in line], [point for _, point in line], colour, name)
            if line[0][0] == 0:
                axes.axhline(line[0][1].mean, color=colour.light, linewidth=0.8, linestyle=(0, (3, 2)))
        axes.set_xlabel("frozen layers (stem, then whole blocks)")
        axes.set_ylabel(sweep.measure.axis)
        axes.set_xticks(sorted({k for line in lines.values() for k, _ in line}))
        figure.legend(loc="outside upper left", ncols=3)
        told = "; ".join(
            f"{name}: " + ", ".join(f"{k} {p.mean:.1f} %" for k, p in line) for name, line in lines.items()
        )
        return drawn(
            figure,
            "freeze-sweep",
            label=f"{sweep.measure.label.capitalize()} by number of frozen layers. {told}.",
            caption=f"{sweep.table.title}: means and their 95 % intervals over seeds, {runs_in_words(points)}; dashed: "
            "nothing frozen.",
        )

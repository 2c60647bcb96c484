"""Which methods help, and on what: gains of a comparison by column, by images per class and by source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from holdfast.analysis.drawing import Drawn
from holdfast.analysis.finding import Finding
from holdfast.analysis.sweeps.gain_figures import (
    FIGURES,
    by_number,
    by_source,
    forest,
    in_several_columns,
    quality,
    settled,
)
from holdfast.analysis.sweeps.sweep import Point, Sweep
from holdfast.report.measures import fixed


def gains(sweep: Sweep) -> Finding:
    """Compare every row with the one that it is measured against, paired by seed.

    A gain is the mean over seeds of the difference in the metric, in points, with Student's 95 % interval for that one
    comparison; p is corrected by Holm over all gains of the table. Differences in the negative log-likelihood and in
    the expected calibration error are taken likewise, each corrected over all differences of its kind.

    Args:
        sweep: the points of the comparison.
    """
    by_column = {column: [p for p in sweep.points if p.entry.column == column] for column in sweep.columns}
    figures = [forest(column, points, sweep.measure) for column, points in by_column.items() if _gained(points)]
    figures += [quality(column, points, sweep.measure) for column, points in by_column.items()]
    figures += list(_across(sweep))
    told = {column: in_words(column, points) for column, points in by_column.items()}
    return Finding(
        analysis="gains",
        title=f"Gains: {sweep.table.title}",
        text=" ".join(told.values()),
        data={"cells": [{**point.as_data(), **_beside(point)} for point in sweep.points], "columns": told},
        figures=figures,
        inputs=sweep.inputs,
        notes=sweep.notes(),
    )


def in_words(column: str, points: Sequence[Point]) -> str:
    """One column in words: what holds after correction, what by itself alone, and what is open."""
    found = _gained(points)
    if not found:
        return f"{column}: no row has two runs in common with the row that it is measured against."
    base = next((p for p in points if p.entry.row == found[0].entry.against), None)
    level = "" if base is None else f" ({base.entry.label} {_level(base)})"
    certain = [p for p in found if settled(p)]
    hints = [p for p in found if p not in certain and _excludes_zero(p)]
    opened = [p for p in found if p not in certain and p not in hints]
    parts = [
        f"beyond chance after Holm's correction: {_listed(certain)}",
        f"by its own interval alone: {_listed(hints)}" if hints else "",
        f"not told apart: {', '.join(p.entry.label for p in opened)}" if opened else "",
    ]
    sentences = ["; ".join(part for part in parts if part), *(_beside_in_words(points, name) for name in FIGURES)]
    return f"{column}{level}: {'. '.join(sentence for sentence in sentences if sentence)}."


def _beside_in_words(points: Sequence[Point], name: str) -> str:
    """Rows whose likelihood or calibration differs after correction, the better ones first."""
    figure = FIGURES[name]
    measured = [(p.entry.label, p.entry.beside[name]) for p in points if name in p.entry.beside]
    differences = [(label, each.difference) for label, each in measured if each.difference and each.settled]
    if not differences:
        compared = any(each.difference for _, each in measured)
        return f"{figure.short}: no difference after Holm's correction" if compared else ""
    told = [
        f"{label} {figure.signed(gap.mean)}{figure.unit} ({figure.signed(gap.low)} to {figure.signed(gap.high)})"
        for label, gap in sorted(differences, key=lambda each: each[1].mean)
    ]
    return f"{figure.short} after Holm's correction, less is better: {', '.join(told)}"


def _gained(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if point.entry.gain is not None]


def _excludes_zero(point: Point) -> bool:
    gain = point.entry.gain
    return gain is not None and not gain.low <= 0 <= gain.high


def _level(point: Point) -> str:
    std = "" if point.entry.std is None else f" ± {fixed(point.entry.std, 1)}"
    return f"{fixed(point.mean, 1)}{std}, {len(point.entry.values)} runs"


def _listed(points: Sequence[Point]) -> str:
    told = []
    for point in points:
        gain = point.entry.gain
        assert gain is not None
        told.append(f"{point.entry.label} {gain.mean:+.1f} points ({gain.low:+.1f} to {gain.high:+.1f})")
    return ", ".join(told) or "nothing"


def _beside(point: Point) -> Mapping[str, Any]:
    return {
        name: {
            "mean": each.mean,
            "std": each.std,
            "difference": None if each.difference is None else {**asdict(each.difference), "p_holm": each.p},
        }
        for name, each in point.entry.beside.items()
    }


def _across(sweep: Sweep) -> Iterator[Drawn]:
    """Figures over columns that differ in one thing alone: the images per class, or the network they start from."""
    recipe = sweep.recipe
    places = {column: recipe.columns[column] for column in sweep.columns}
    for column, (data, model) in places.items():
        others = {
            name: recipe.data[d].samples_per_class
            for name, (d, m) in places.items()
            if m == model and recipe.data[d].data == recipe.data[data].data
        }
        numbers = {name: number for name, number in others.items() if number is not None}
        if _comparable(sweep, numbers) and column == next(iter(numbers)):
            yield by_number(f"{data}-{model}", _of(sweep, numbers), numbers, sweep.measure)
        sources = {name: recipe.models[m].source or m for name, (d, m) in places.items() if d == data}
        if _comparable(sweep, sources) and column == next(iter(sources)):
            yield by_source(data, _of(sweep, sources), sources, sweep.measure)


def _comparable(sweep: Sweep, columns: Mapping[str, object]) -> bool:
    return bool(in_several_columns(_of(sweep, columns)))


def _of(sweep: Sweep, columns: Mapping[str, object]) -> list[Point]:
    return [point for point in sweep.points if point.entry.column in columns]

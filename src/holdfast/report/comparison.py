"""The page that compares methods: several runs of each, paired by seed with a baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.report.answers import FOLD
from holdfast.report.figures import Line, Row, curves, dots
from holdfast.report.flat import shared_settings, shared_versions
from holdfast.report.groups import Group, grouped
from holdfast.report.measures import Measure, counted, fixed, measure
from holdfast.report.page import REPORT, render, write_page
from holdfast.report.palette import method_colour
from holdfast.report.parts import Cell, Figure, Figures, Notes, Part, Points, Section, Table, Text, number_cell
from holdfast.report.verdicts import caution, summary, verdict

_BESIDE = ("test.accuracy", "test.nll", "test.ece", "seconds")


def write_comparison(
    results: Sequence[Mapping[str, Any]],
    out: Path,
    *,
    title: str,
    baseline: str = "plain",
    metric: str = "test.accuracy",
    notes: Sequence[str] = (),
) -> Path:
    """Write a page that compares methods by their runs and return its path.

    Args:
        results: one mapping per run: ``method`` and ``seed``, the figures under the keys of ``result.json``
            (``test.accuracy`` as a fraction, ``seconds`` …), optionally ``curve``, the validation accuracy after each
            epoch as fractions, None where there was no validation, and ``settings``. Methods are shown in the order of
            their first run.
        out: file to write; in a folder, ``report.html``.
        title: the heading.
        baseline: the method that gains are over, run by run with the same seed.
        metric: key of the compared figure.
        notes: sentences below the table, such as how strengths were chosen.

    Raises:
        UsageError: no result, none of the baseline, two of one method and seed, or none that has the metric.
    """
    groups = grouped(results, baseline, metric)
    what, out = measure(metric), Path(out)
    table = results_table(groups, results, metric)
    notes = [*notes, *(note for group in groups for note in group.notes)]
    sections = list(comparison_sections(groups, what, table, notes))
    closing = Section("settings", "Runs and settings", list(comparison_closing(results, metric)))
    html = render(title, list(comparison_lead(groups, what)), [*sections, closing])
    return write_page(out / REPORT if out.is_dir() else out, html)


def comparison_lead(groups: Sequence[Group], what: Measure) -> Iterator[str]:
    """How many runs of how many methods, then what they settle."""
    runs = sum(len(group.values) for group in groups)
    bases = dict.fromkeys(group.against for group in groups if group.against is not None)
    over = f"; gains are over {' or '.join(bases)}" if bases else ""
    yield f"{counted(len(groups), 'method')}, {counted(runs, 'run')}. Compared by {what.axis}{over}."
    yield from summary([(group.name, group) for group in groups], what)


def comparison_sections(
    groups: Sequence[Group],
    what: Measure,
    table: Table,
    notes: Sequence[str],
    *,
    prefix: str = "",
    family: tuple[int, str] | None = None,
) -> Iterator[Section]:
    """The sections of a comparison, runs and settings excepted.

    Args:
        groups: the methods.
        what: the compared figure.
        table: of the results.
        notes: below it.
        prefix: of the identifiers, where a page shows several comparisons.
        family: how many gains Holm's correction took together, and where they stand; None: those of ``groups``.
    """
    yield Section(f"{prefix}table", "Results", [table, Notes(notes)])
    if shown := list(_figures(groups, what, prefix)):
        yield Section(f"{prefix}runs", "Runs and gains", [Figures(shown)])
    if compared := [group for group in groups if group.against is not None]:
        number, of = family or (sum(group.holm is not None for group in compared), "this comparison")
        sure: list[Part] = [Points([verdict(group, what) for group in compared]), Text(caution(number, of))]
        yield Section(f"{prefix}sure", "How sure is this?", sure)
    if lines := list(_curves(groups, prefix)):
        yield Section(f"{prefix}curves", "Learning curves", [Figures(lines)])


def comparison_closing(results: Sequence[Mapping[str, Any]], metric: str) -> Iterator[Part]:
    """The tables that stand at the end: every run, settings, versions."""
    yield _runs(results, metric)
    for table in (shared_settings(results), shared_versions(results)):
        if table.rows:
            yield table


def results_table(groups: Sequence[Group], results: Sequence[Mapping[str, Any]], metric: str) -> Table:
    """A row for each method: mean, spread, gain and interval of the metric, and the usual figures beside it."""
    what = measure(metric)
    beside = [key for key in _BESIDE if key != metric and any(key in result for result in results)]
    base = next((group.against for group in groups if group.against is not None), None)
    columns = ["method", "runs", what.axis]
    if base is not None:
        columns += [f"gain over {base}" + (f" ({what.gain_unit})" if what.gain_unit else ""), "95 % interval"]
    columns += [measure(key).axis for key in beside]
    rows = [
        [
            Cell(group.name),
            number_cell(str(len(group.values)), len(group.values)),
            _spread(group, metric),
            *(_gain_cells(group, what) if base is not None else ()),
            *(_spread(group, key) for key in beside),
        ]
        for group in groups
    ]
    return Table(f"Mean ± standard deviation over runs; {what.label} first", columns, rows)


def _spread(group: Group, key: str) -> Cell:
    what, (mean, std) = measure(key), group.spread(key)
    shown = what.number(mean) if std is None else f"{what.number(mean)} ± {fixed(std * what.factor, what.digits)}"
    return number_cell(shown, mean)


def _gain_cells(group: Group, what: Measure) -> tuple[Cell, Cell]:
    gain = group.gain
    nothing = number_cell("–", float("nan"))
    if gain is None:
        return nothing, nothing
    mean = number_cell(what.signed(gain.mean), gain.mean)
    if gain.interval is None:
        return mean, nothing
    low, high = gain.interval
    return mean, number_cell(f"{what.signed(low)} to {what.signed(high)}", low)


def _figures(groups: Sequence[Group], what: Measure, prefix: str) -> Iterator[Figure]:
    shown = [group for group in groups if group.values]
    if not shown:
        return
    runs = [Row(g.name, g.values, g.mean, g.interval, method_colour(g.name)) for g in shown]
    label = f"Runs of each method, mean {what.label}: " + "; ".join(f"{g.name} {what.text(g.mean)}" for g in shown)
    svg = dots(runs, what, what.axis, name=f"{prefix}runs", label=label)
    yield Figure(svg, "Dots: single runs. Diamonds: their means, on 95 % t-intervals.")
    gains = [(group, group.gain) for group in groups if group.gain is not None]
    if gains:
        rows = [Row(g.name, d.differences, d.mean, d.interval, method_colour(g.name)) for g, d in gains]
        bases = dict.fromkeys(str(group.against) for group, _ in gains)
        base = next(iter(bases)) if len(bases) == 1 else "its own baseline"
        axis = f"gain in {what.label} over {base}" + (f" ({what.gain_unit})" if what.gain_unit else "")
        label = "; ".join(f"{group.name} {what.signed(gain.mean)}" for group, gain in gains)
        svg = dots(rows, what, axis, name=f"{prefix}gains", label=f"Paired {axis}: {label}", zero=True)
        pairs = "Dots: differences between runs with the same seed. Diamonds: their means, on 95 % t-intervals."
        yield Figure(svg, f"{pairs} {_better_side(what)}".rstrip())


def _better_side(what: Measure) -> str:
    if what.higher_is_better is None:
        return ""
    return f"Better lies to the {'right' if what.higher_is_better else 'left'} of the line."


def _curves(groups: Sequence[Group], prefix: str) -> Iterator[Figure]:
    lines, used = [], set()
    for group in groups:
        means = group.mean_curve()
        epochs = [epoch for epoch, value in enumerate(means, start=1) if math.isfinite(value)]
        if epochs:
            colour = method_colour(group.name)
            values = [100 * means[epoch - 1] for epoch in epochs]
            lines.append(Line(group.name, epochs, values, colour, dashed=colour in used))
            used.add(colour)
    if lines:
        label = "; ".join(f"{line.name} ends at {line.values[-1]:.1f} %" for line in lines)
        label = f"Mean validation accuracy: {label}"
        svg = curves(lines, "validation accuracy (%)", name=f"{prefix}curves", label=label)
        counts = sorted({len(group.curves) for group in groups if group.curves})
        runs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        yield Figure(svg, f"Validation accuracy after each epoch, mean of {runs} runs per method.")


def _runs(results: Sequence[Mapping[str, Any]], metric: str) -> Table:
    keys = [key for key in dict.fromkeys((metric, *_BESIDE)) if any(key in result for result in results)]
    placed = any("run" in result for result in results)
    rows = []
    for result in results:
        numbers = [_number(result.get(key)) for key in keys]
        cells = [number_cell(measure(key).number(value), value) for key, value in zip(keys, numbers, strict=True)]
        place = [Cell(str(result.get("run", "")))] if placed else []
        rows.append([Cell(str(result["method"])), Cell(str(result["seed"])), *cells, *place])
    columns = ("method", "seed", *(measure(key).axis for key in keys), *(("folder",) if placed else ()))
    return Table(f"The {len(rows)} runs", columns, rows, folded=len(rows) > FOLD)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")

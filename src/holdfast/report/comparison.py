"""The page that compares methods: several runs of each, paired by seed with a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.report.figures import Line, Row, curves, dots
from holdfast.report.groups import Group, grouped
from holdfast.report.measures import Measure, fixed, measure
from holdfast.report.page import Cell, Figure, Table, number_cell, render, write_page
from holdfast.report.palette import method_colour
from holdfast.report.run import REPORT, flatten

_BESIDE = ("test.accuracy", "test.nll", "test.ece", "seconds")
_FOLD = 25  # a table with more rows starts closed


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
            epoch as fractions, and ``settings``. Methods are shown in the order of their first run.
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
    html = render(
        "comparison.html",
        title=title,
        lead=list(_lead(groups, what)),
        table=_table(groups, results, metric),
        notes=[*notes, *(note for group in groups for note in group.notes)],
        figures=_figures(groups, what),
        verdicts=[_verdict(group, groups[0].name, what) for group in groups[1:]],
        caution=_caution(groups) if len(groups) > 1 else "",
        curves=list(_curves(groups)),
        runs=_runs(results, metric),
        settings=_settings(results),
    )
    return write_page(out / REPORT if out.is_dir() else out, html)


def _lead(groups: Sequence[Group], what: Measure) -> Iterator[str]:
    base, runs = groups[0].name, sum(len(group.values) for group in groups)
    yield f"{_count(len(groups), 'method')}, {_count(runs, 'run')}. Compared by {what.axis}; gains are over {base}."
    compared = [group for group in groups[1:] if group.holm is not None]
    if len(groups) > 1 and not compared:
        yield "Without two seeds shared with the baseline nothing is settled: add seeds to see how far chance reaches."
    settled: dict[str, list[str]] = {}
    for group in filter(_settled, compared):
        settled.setdefault(_direction(group, what), []).append(group.name)
    if settled:
        told = "; ".join(f"{how} {_than(how)} {base}: {', '.join(names)}" for how, names in settled.items())
        yield f"Beyond chance, with {_count(len(compared), 'comparison')} allowed for: {told}."
    if opened := [group.name for group in compared if not _settled(group)]:
        yield f"Not told apart from {base} by these runs: {', '.join(opened)}."


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _settled(group: Group) -> bool:
    return group.holm is not None and group.holm < 0.05


def _than(direction: str) -> str:
    return "from" if direction == "different" else "than"


def _direction(group: Group, what: Measure) -> str:
    """``better``, ``worse`` or ``different`` where the interval excludes zero, else ``open``."""
    if group.gain is None or group.gain.interval is None:
        return "open"
    low, high = group.gain.interval
    if low <= 0 <= high:
        return "open"
    if what.higher_is_better is None:
        return "different"
    return "better" if (low > 0) == what.higher_is_better else "worse"


def _verdict(group: Group, baseline: str, what: Measure) -> str:
    gain = group.gain
    if gain is None:
        return f"{group.name} shares no seed with {baseline}: no gain can be given."
    unit = f" {what.gain_unit}" if what.gain_unit else ""
    shown = f"{what.signed(gain.mean)}{unit}"
    if gain.interval is None:
        return f"{group.name}: {shown} in one pair of runs, which cannot tell a gain from chance."
    low, high = gain.interval
    shown += f" (95 % interval {what.signed(low)} to {what.signed(high)}, {gain.pairs} pairs of runs)"
    direction = _direction(group, what)
    if direction == "open":
        return f"{group.name}: {shown}. The interval includes zero: these runs do not settle whether it helps or harms."
    if _settled(group):
        return f"{group.name} is {direction} {_than(direction)} {baseline}: {shown}, also after Holm's correction."
    return (
        f"{group.name}: {shown}. Taken by itself {direction} {_than(direction)} {baseline}, but not after Holm's "
        "correction: a hint, no proof."
    )


def _caution(groups: Sequence[Group]) -> str:
    compared = _count(sum(group.holm is not None for group in groups), "comparison")
    return (
        "A gain is the mean difference between runs with the same seed; its interval is Student's, for that one "
        f"comparison by itself. Holm's correction takes the {compared} of this page together. Both cover what changes "
        "with the seed, not other data, networks or strengths."
    )


def _table(groups: Sequence[Group], results: Sequence[Mapping[str, Any]], metric: str) -> Table:
    what = measure(metric)
    beside = [key for key in _BESIDE if key != metric and any(key in result for result in results)]
    unit = f" ({what.gain_unit})" if what.gain_unit else ""
    columns = ["method", "runs", what.axis, f"gain over {groups[0].name}{unit}", "95 % interval"]
    columns += [measure(key).axis for key in beside]
    rows = [
        [
            Cell(group.name),
            number_cell(str(len(group.values)), len(group.values)),
            _spread(group, metric),
            *_gain_cells(group, what),
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


def _figures(groups: Sequence[Group], what: Measure) -> list[Figure]:
    shown = [group for group in groups if group.values]
    runs = [Row(g.name, g.values, g.mean, g.interval, method_colour(g.name)) for g in shown]
    label = "; ".join(f"{group.name} {what.text(group.mean)}" for group in shown)
    made = [
        Figure(
            dots(runs, what, what.axis, name="runs", label=f"Runs of each method, mean {what.label}: {label}"),
            "Dots: single runs. Diamonds: their means, on 95 % t-intervals.",
        )
    ]
    gains = [(group, group.gain) for group in groups[1:] if group.gain is not None]
    if gains:
        rows = [Row(g.name, d.differences, d.mean, d.interval, method_colour(g.name)) for g, d in gains]
        axis = f"gain in {what.label} over {groups[0].name}" + (f" ({what.gain_unit})" if what.gain_unit else "")
        label = "; ".join(f"{group.name} {what.signed(gain.mean)}" for group, gain in gains)
        svg = dots(rows, what, axis, name="gains", label=f"Paired {axis}: {label}", zero=True)
        pairs = "Dots: differences between runs with the same seed. Diamonds: their means, on 95 % t-intervals."
        made.append(Figure(svg, f"{pairs} {_better_side(what)}".rstrip()))
    return made


def _better_side(what: Measure) -> str:
    if what.higher_is_better is None:
        return ""
    return f"Better lies to the {'right' if what.higher_is_better else 'left'} of the line."


def _curves(groups: Sequence[Group]) -> Iterator[Figure]:
    lines, used = [], set()
    for group in groups:
        if means := group.mean_curve():
            colour = method_colour(group.name)
            epochs = range(1, len(means) + 1)
            lines.append(Line(group.name, epochs, [100 * value for value in means], colour, dashed=colour in used))
            used.add(colour)
    if lines:
        label = "; ".join(f"{line.name} ends at {line.values[-1]:.1f} %" for line in lines)
        svg = curves(lines, "validation accuracy (%)", name="curves", label=f"Mean validation accuracy: {label}")
        counts = sorted({len(group.curves) for group in groups if group.curves})
        runs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        yield Figure(svg, f"Validation accuracy after each epoch, mean of {runs} runs per method.")


def _runs(results: Sequence[Mapping[str, Any]], metric: str) -> Table:
    keys = [key for key in dict.fromkeys((metric, *_BESIDE)) if any(key in result for result in results)]
    rows = []
    for result in results:
        numbers = [_number(result.get(key)) for key in keys]
        cells = [number_cell(measure(key).number(value), value) for key, value in zip(keys, numbers, strict=True)]
        rows.append([Cell(str(result["method"])), Cell(str(result["seed"])), *cells])
    columns = ("method", "seed", *(measure(key).axis for key in keys))
    return Table(f"The {len(rows)} runs", columns, rows, folded=len(rows) > _FOLD)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _settings(results: Sequence[Mapping[str, Any]]) -> Table:
    """Every setting once; where methods differ, each value with the methods that have it."""
    found: dict[str, dict[str, dict[str, None]]] = {}
    for result in results:
        for key, value in flatten(result.get("settings") or {}):
            if key not in ("seed", "method", "out"):
                found.setdefault(key, {}).setdefault(value, {})[str(result["method"])] = None
    rows = []
    for key, values in found.items():
        several = len(values) > 1
        parts = [f"{value} ({', '.join(methods)})" if several else value for value, methods in values.items()]
        rows.append([Cell(key), Cell("; ".join(parts))])
    return Table("Settings", ("setting", "value"), rows)

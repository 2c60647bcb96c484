"""How training went: loss, accuracy and learning rate over the epochs of several runs, by method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from holdfast.analysis.course.course_figures import PLOTS, draw, quantity
from holdfast.analysis.course.courses import Course, by_method, courses, diverged
from holdfast.analysis.finding import Finding
from holdfast.analysis.finished import differing, finished_together
from holdfast.core.errors import DataError
from holdfast.report.measures import counted
from holdfast.report.records import RunRecord

_TOLD = ("val.accuracy", "train.accuracy")
"""The figures of the paragraph: the first that the runs have."""


def curves(runs: Sequence[Path]) -> Finding:
    """Draw the learning curves of finished runs; the runs of one method are averaged.

    Args:
        runs: their folders.

    Raises:
        UsageError: no run, or one given twice.
        DataError: one is not finished or has no metrics.csv, or their classes differ.
    """
    records = finished_together(runs)
    for record in records:
        if not record.metrics:
            raise DataError(
                f"expected the figures of each epoch in {record.folder / 'metrics.csv'}, found none; leave the run out"
            )
    groups = by_method(records)
    counts = {method: len(found) for method, found in groups.items()}
    found = {column: courses(groups, column) for plot in PLOTS for column in plot.columns}
    drawable = [(plot, {column: found[column] for column in plot.columns if found[column]}) for plot in PLOTS]
    return Finding(
        analysis="curves",
        title=f"Learning curves of {counted(len(counts), 'method')}",
        text=_text(found, counts),
        data={
            "methods": {method: _of_method(each) for method, each in groups.items()},
            "curves": {column: [asdict(one) for one in each] for column, each in found.items()},
        },
        figures=[draw(plot, own, counts) for plot, own in drawable if own],
        inputs={"runs": [str(run) for run in runs]},
        notes=list(_notes(records, found)),
    )


def _of_method(records: Sequence[RunRecord]) -> dict[str, Any]:
    return {
        "runs": [str(record.folder) for record in records],
        "seeds": [record.settings.get("seed") for record in records],
    }


def _text(found: Mapping[str, Sequence[Course]], counts: Mapping[str, int]) -> str:
    total = f"{counted(sum(counts.values()), 'run')} of {counted(len(counts), 'method')}."
    column = next((each for each in _TOLD if found[each]), None)
    if column is None:
        return f"{total} None has written down an accuracy."
    what = quantity(column)
    ends = [f"{one.method} ends at {_end(one, column)}" for one in found[column]]
    return f"{total} The {what.label}: {'; '.join(ends)}. A run that keeps its best epoch may have had a better one."


def _end(one: Course, column: str) -> str:
    what, n = quantity(column), one.runs[-1]
    spread = f" ({what.number(one.low[-1])} to {what.number(one.high[-1])} over {n} runs)" if n > 1 else " (1 run)"
    return f"{what.text(one.mean[-1])}{spread} after epoch {one.epochs[-1]:g}"


def _notes(records: Sequence[RunRecord], found: Mapping[str, Sequence[Course]]) -> Iterator[str]:
    others = differing(records, besides=("method", "seed"))
    if others:
        yield f"The runs differ in {', '.join(others)} too, not in method and seed alone."
    for record in records:
        if columns := diverged(record):
            yield f"{record.folder} has numbers that are not finite in {', '.join(columns)}; they are left out."
    if any(one.thins is not None for each in found.values() for one in each):
        yield (
            "At some epochs not all runs of a method have a figure, for some have stopped or diverged: the means are "
            "of those that have."
        )
    if not found["val.accuracy"]:
        yield "No run was validated while it trained."

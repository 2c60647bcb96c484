"""How a figure of training goes over the epochs: the mean of a method's runs, with the lowest and the highest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.analysis.finished import method_of
from holdfast.bench.statistics import mean
from holdfast.report.records import RunRecord


@dataclass(frozen=True)
class Course:
    """One figure of one method's runs over the epochs.

    Attributes:
        method: its text form.
        epochs: those at which at least one run has the figure, ascending.
        mean: over the runs that have it then.
        low: lowest of them.
        high: highest of them.
        runs: how many they are.
    """

    method: str
    epochs: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    runs: Sequence[int]

    @property
    def thins(self) -> int | None:
        """Place of the last epoch before the first one with fewer runs; None where their number never falls."""
        return next((place for place in range(len(self.runs) - 1) if self.runs[place + 1] < self.runs[place]), None)


def by_method(records: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """Runs by their method's text form, in the order of the first of each."""
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        found.setdefault(method_of(record), []).append(record)
    return found


def course(method: str, records: Sequence[RunRecord], column: str) -> Course | None:
    """The course of a column of metrics.csv over the runs of a method; None where no run has a finite number in it.

    At an epoch those runs count that have a finite number there: one that stopped early is missing from later means.
    """
    values: dict[float, list[float]] = {}
    for row in (row for record in records for row in record.metrics):
        if math.isfinite(row.get(column, math.nan)):
            values.setdefault(row["epoch"], []).append(row[column])
    if not values:
        return None
    epochs = sorted(values)
    at = [values[epoch] for epoch in epochs]
    return Course(
        method, epochs, [mean(v) for v in at], [min(v) for v in at], [max(v) for v in at], [len(v) for v in at]
    )


def courses(groups: Mapping[str, Sequence[RunRecord]], column: str) -> list[Course]:
    """One course for each method that has the column."""
    found = (course(method, records, column) for method, records in groups.items())
    return [each for each in found if each is not None]


def diverged(record: RunRecord) -> list[str]:
    """The columns in which a run has a number that is not finite."""
    names = dict.fromkeys(name for row in record.metrics for name in row)
    return [name for name in names if any(not math.isfinite(row.get(name, 0.0)) for row in record.metrics)]

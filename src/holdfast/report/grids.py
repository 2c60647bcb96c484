"""A folder of ``holdfast bench`` as a chapter: the bench's own table, column by column, with what it settles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from holdfast.bench.asked import Asked
from holdfast.bench.plan import Plan, stored_plan
from holdfast.bench.status import Watch
from holdfast.bench.store import Store
from holdfast.bench.table import Comparison, Entry, make_table
from holdfast.report.chapter import Chapter
from holdfast.report.comparison import comparison_closing, comparison_sections
from holdfast.report.grid_table import column_table, overview_table
from holdfast.report.groups import Gain, Group
from holdfast.report.measures import Measure, counted, measure
from holdfast.report.parts import Notes, Part, Section
from holdfast.report.verdicts import summary

_METRICS = {
    "mean_iou": Measure("", "mean intersection over union", "%", digits=1, higher_is_better=True),
    "source_accuracy_drop": Measure("", "accuracy lost on the source task", "%", digits=1, higher_is_better=False),
}


@dataclass(frozen=True)
class Filled:
    """A recipe's table as far as a folder fills it.

    Attributes:
        plan: the recipe and its runs.
    """

    plan: Plan

    @cached_property
    def table(self) -> Comparison:
        """What the bench makes of the runs."""
        return make_table(self.plan)

    @cached_property
    def columns(self) -> list[str]:
        """The columns that the table has entries in."""
        return list(dict.fromkeys(entry.column for entry in self.table.entries))

    @cached_property
    def _stored(self) -> Mapping[tuple[str, str, int], Mapping[str, Any]]:
        runs = {(job.cell.row, job.cell.column, job.seed): self.plan.result(job) for job in self.plan.final()}
        return {place: run for place, run in runs.items() if run is not None}

    def entries(self, column: str) -> list[Entry]:
        """The table's entries in a column."""
        return [entry for entry in self.table.entries if entry.column == column]

    def groups(self, column: str) -> list[Group]:
        """The rows of a column that have runs, with the bench's gains and corrected probabilities, in per cent."""
        entries = {entry.row: entry for entry in self.entries(column)}
        return [self._group(entry, entries.get(entry.against or "")) for entry in entries.values() if entry.values]

    def _group(self, entry: Entry, base: Entry | None) -> Group:
        group = Group(entry.label, self.results(entry), list(entry.values.values()), holm=entry.p)
        if base is None or not base.values:
            return group
        pairs = [value - base.values[seed] for seed, value in entry.values.items() if seed in base.values]
        gain = None
        if entry.gain is not None:
            gain = Gain(pairs, entry.gain.mean, (entry.gain.low, entry.gain.high), entry.gain.p)
        elif pairs:
            gain = Gain(pairs, pairs[0], None, None)
        return replace(group, against=base.label, gain=gain)

    def results(self, entry: Entry) -> list[dict[str, Any]]:
        """The runs of a cell as ``write_comparison`` takes them."""
        runs = (self._stored[entry.row, entry.column, seed] for seed in entry.values)
        return [_as_result(run, entry.label) for run in runs]


def grid_chapter(out: Path, asked: Asked, prefix: str) -> Chapter:
    """The chapter of one recipe.

    Args:
        out: the folder of results.
        asked: of it.
        prefix: of the identifiers on the page.

    Raises:
        UsageError: a stored run that is damaged, or made with other settings.
    """
    filled = Filled(stored_plan(asked.recipe, asked.scope, out))
    columns, notes = filled.columns, filled.table.notes
    if len(columns) == 1:
        sections = list(_column(filled, columns[0], prefix, notes))
    else:
        overview: list[Part] = [overview_table(filled.table, columns), Notes(notes)]
        sections = [Section(f"{prefix}overview", "All columns", overview)]
        for number, column in enumerate(columns):
            own = f"{prefix}{number}-"
            sections.append(Section(f"{own}column", column, list(_column(filled, column, own))))
    return Chapter(f"{prefix}grid", filled.table.title, sections, list(_summary(filled)), list(_closing(filled)))


def unasked_results(out: Path) -> dict[str, list[dict[str, Any]]]:
    """Final runs by column, as ``write_comparison`` takes them, of a folder that does not say what was asked of it.

    Raises:
        UsageError: a stored run that is damaged.
    """
    store = Store(out)
    found: dict[str, list[dict[str, Any]]] = {}
    for name in sorted(store.finished()):
        run = store.read(name)
        if run is not None and run["stage"] == "run":
            found.setdefault(str(run["column"]), []).append(_as_result(run, str(run["row"])))
    return {column: sorted(runs, key=lambda r: (r["method"], r["seed"])) for column, runs in sorted(found.items())}


def _as_result(run: Mapping[str, Any], method: str) -> dict[str, Any]:
    own = {"method": method, "seed": run["seed"], "settings": run["settings"], "curve": run.get("curve")}
    return {**run["figures"], **own}


def _summary(filled: Filled) -> Iterator[str]:
    """How far it is, then what it settles, over all columns."""
    entries, columns = filled.table.entries, filled.columns
    asked, done = (sum(values) for values in ((e.asked for e in entries), (len(e.values) for e in entries)))
    methods = len({entry.row for entry in entries})
    places = columns[0] if len(columns) == 1 else f"{counted(len(columns), 'column')} of data and networks"
    missing = "; cells with fewer runs than were asked for are marked *" if done < asked else ""
    tuning = "" if not any(True for _ in filled.plan.trials()) else f" With tuning: {Watch(filled.plan).look(()).line}."
    yield f"{counted(methods, 'method')} on {places}: {done} of {asked} runs are done{missing}.{tuning}"
    named = [
        (group.name if len(columns) == 1 else f"{group.name} ({column})", group)
        for column in columns
        for group in filled.groups(column)
    ]
    yield from summary(named, _measure(filled.table.metric, "test"))


def _measure(metric: str, part: str) -> Measure:
    """The measure of a recipe's metric, whose values are in per cent already."""
    return _METRICS.get(metric) or replace(measure(f"{part}.{metric}"), factor=1.0)


def _part(entries: Sequence[Entry]) -> str:
    """``val`` where the data have no test part."""
    return next((entry.part for entry in entries if entry.values), "test")


def _column(filled: Filled, column: str, prefix: str, notes: Sequence[str] = ()) -> Iterator[Section]:
    entries = filled.entries(column)
    what = _measure(filled.table.metric, _part(entries))
    tested = sum(entry.gain is not None for entry in filled.table.entries)
    family = (tested, "the whole table")
    table = column_table(entries, what)
    yield from comparison_sections(filled.groups(column), what, table, notes, prefix=prefix, family=family)


def _closing(filled: Filled) -> Iterator[Part]:
    results = []
    for entry in filled.table.entries:
        name = entry.label if len(filled.columns) == 1 else f"{entry.label}, {entry.column}"
        results += [{**result, "method": name} for result in filled.results(entry)]
    if results:
        yield from comparison_closing(results, f"{_part(filled.table.entries)}.{filled.table.metric}")

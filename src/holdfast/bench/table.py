"""The table of a comparison: ours, what is published, and how far apart they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.bench import beside as further
from holdfast.bench.beside import Beside
from holdfast.bench.catalogue import protocol
from holdfast.bench.grid import Cell
from holdfast.bench.plan import Plan
from holdfast.bench.recipe import Printed
from holdfast.bench.statistics import Paired, holm, mean, paired_difference, sample_std
from holdfast.bench.status import failures


@dataclass(frozen=True)
class Entry:
    """One cell of the table, in per cent and points.

    Attributes:
        row: of the recipe.
        column: of the recipe.
        label: what the row is called.
        method: text form with the values that were chosen; None while they are not known.
        asked: runs that were asked for.
        values: figure of each finished run by its seed.
        failed: runs that failed.
        trials: that came through in tuning.
        untuned: whether none did.
        mean: of the values; None without any.
        std: sample standard deviation; None for fewer than two values.
        against: row that the gain is measured against.
        gain: paired with that row's runs of the same seeds; None for fewer than two pairs.
        p: of the gain, Holm-corrected over all gains of the table.
        error_reduction: share of that row's errors that this one avoids, in per cent.
        published: the printed figure.
        part: ``test``, or ``val`` where the data have no test part.
        metric: what was measured in our runs.
        beside: other figures of the finished runs, by name: ``nll``, ``ece``, ``seconds``.
    """

    row: str
    column: str
    label: str
    method: str | None
    asked: int
    values: dict[int, float]
    failed: int = 0
    trials: int = 0
    untuned: bool = False
    mean: float | None = None
    std: float | None = None
    against: str | None = None
    gain: Paired | None = None
    p: float | None = None
    error_reduction: float | None = None
    published: Printed | None = None
    part: str = "test"
    metric: str = "accuracy"
    beside: Mapping[str, Beside] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether as many runs stand behind the figure as were asked for."""
        return len(self.values) == self.asked

    @property
    def difference(self) -> float | None:
        """Ours less the published figure; where that was quoted from another paper, our gain less the printed gain.

        None where the paper measured something else.
        """
        printed = self.published
        if printed is None or printed.metric != self.metric:
            return None
        if printed.origin == "quoted" or printed.value is None:
            theirs = printed.gain
            if theirs is None and printed.value is not None and printed.baseline is not None:
                theirs = printed.value - printed.baseline
            return None if theirs is None or self.gain is None else self.gain.mean - theirs
        return None if self.mean is None else self.mean - printed.value


@dataclass(frozen=True)
class Comparison:
    """A whole table.

    Attributes:
        title: of the recipe.
        metric: what was measured.
        entries: column by column, in the recipe's order.
        notes: what a reader should know.
    """

    title: str
    metric: str
    entries: Sequence[Entry]
    notes: Sequence[str] = field(default=())


def make_table(plan: Plan) -> Comparison:
    """The table of what a folder holds; cells that no run stands behind yet show the published figure alone."""
    recipe = plan.grid.recipe
    rows = [_entry(plan, Cell(row, column)) for column in recipe.columns for row in recipe.methods]
    wanted = set(plan.grid.cells)
    picked = [e for e in rows if Cell(e.row, e.column) in wanted or (plan.grid.scope.only is None and e.published)]
    entries = _corrected([_compared(entry, rows) for entry in picked])
    return Comparison(recipe.title, recipe.metric, entries, list(_notes(plan, entries)))


def _entry(plan: Plan, cell: Cell) -> Entry:
    """A cell without its gain."""
    recipe, store = plan.grid.recipe, plan.store
    runs = cell.column in recipe.columns_of(cell.row)
    begun = runs and all(store.sources.get(place) is not None for place in plan.grid.places(cell))
    chosen = plan.tuner.chosen(cell) if begun else None
    values: dict[int, float] = {}
    figures: dict[int, Mapping[str, Any]] = {}
    failed, part = 0, "test"
    if chosen is not None and chosen.values is not None:
        for seed in range(plan.grid.seeds(cell)):
            job = plan.grid.job("run", cell, chosen.values, seed)
            found = plan.result(job)
            failed += found is None and store.reason(job.name) is not None
            if found is not None:
                part = "test" if f"test.{recipe.metric}" in found["figures"] else "val"
                values[seed] = 100 * found["figures"][f"{part}.{recipe.metric}"]
                figures[seed] = found["figures"]
    return Entry(
        row=cell.row,
        column=cell.column,
        label=recipe.methods[cell.row].label or cell.row,
        method=plan.grid.method(cell, chosen.values) if chosen is not None and chosen.values is not None else None,
        asked=plan.grid.seeds(cell) if runs else 0,
        values=values,
        failed=failed,
        trials=0 if chosen is None else chosen.trials,
        untuned=chosen is not None and chosen.values is None,
        mean=mean(list(values.values())) if values else None,
        std=sample_std(list(values.values())) if len(values) > 1 else None,
        against=recipe.against(cell.row),
        published=_printed(plan, cell),
        part=part,
        metric=recipe.metric,
        beside=further.beside(figures, part),
    )


def _printed(plan: Plan, cell: Cell) -> Printed | None:
    recipe = plan.grid.recipe
    of_cell = [p for p in recipe.published if (p.row, p.column) == (cell.row, cell.column)]
    return next((p for p in of_cell if p.metric == recipe.metric), next(iter(of_cell), None))


def _compared(entry: Entry, entries: Sequence[Entry]) -> Entry:
    """An entry with its gain over the row that it is measured against, paired by seed."""
    control = next((e for e in entries if (e.row, e.column) == (entry.against, entry.column)), None)
    if control is None:
        return entry
    entry = replace(entry, beside=further.compared(entry.beside, control.beside))
    seeds = sorted(entry.values.keys() & control.values.keys())
    if len(seeds) < 2:
        return entry
    gain = paired_difference([entry.values[s] for s in seeds], [control.values[s] for s in seeds])
    errors = 100 - mean([control.values[s] for s in seeds])
    return replace(entry, gain=gain, error_reduction=100 * gain.mean / errors if errors > 0 else None)


def _corrected(entries: list[Entry]) -> list[Entry]:
    """Entries with the probabilities of their gains, corrected for there being several."""
    adjusted = iter(holm([entry.gain.p for entry in entries if entry.gain is not None]))
    figures = further.corrected([entry.beside for entry in entries])
    entries = [replace(entry, beside=each) for entry, each in zip(entries, figures, strict=True)]
    return [entry if entry.gain is None else replace(entry, p=next(adjusted)) for entry in entries]


def _notes(plan: Plan, entries: Sequence[Entry]) -> list[str]:
    recipe = plan.grid.recipe
    notes = []
    if recipe.data_only is not None:
        notes.append(f"Not run: {recipe.data_only}")
    if plan.grid.scope.mini:
        notes.append("Made small (--scale mini): the figures say that it runs, and nothing else.")
    short = [entry for entry in entries if entry.asked and not entry.complete]
    if short:
        notes.append("* fewer runs than were asked for.")
    if any(entry.part == "val" and entry.values for entry in entries):
        notes.append("The data have no test part: figures are of the validation part.")
    if any(figure.settled for entry in entries for figure in entry.beside.values()):
        notes.append(
            "\N{DOWNWARDS ARROW} \N{UPWARDS ARROW} NLL or ECE below or above that of the row that gains are over, "
            "paired by seed and beyond chance after Holm's correction; below is better."
        )
    trials = sorted({entry.trials for entry in entries if entry.trials})
    if len(trials) > 1:
        notes.append(f"Tuned with unequal numbers of trials, {trials[0]} to {trials[-1]}.")
    failed = sum(entry.failed for entry in entries)
    if failed:
        notes.append(f"{failed} of the runs failed.")
    notes += [f"failed{f' {n} times' if n > 1 else ''}: {reason}" for reason, n in failures(plan).items()]
    notes += [f"{e.row}, {e.column}: no trial of its tuning came through." for e in entries if e.untuned]
    notes += _versions(plan)
    if recipe.protocol is not None:
        notes += protocol(recipe.protocol).deviations
    places: list[tuple[str, Any]] = [*recipe.data.items(), *recipe.models.items(), *recipe.methods.items()]
    notes += [f"{name}: {part.note}" for name, part in places if part.note]
    doubtful = [p for p in recipe.published if p.doubtful]
    notes += [f"? {p.row}, {p.column}: {p.note}" for p in doubtful]
    return [*notes, *recipe.notes]


def _versions(plan: Plan) -> list[str]:
    """Whether the runs were made with more than one version of something that may matter."""
    seen: dict[str, set[str]] = {}
    for job in plan.final():
        row = plan.result(job)
        for name, value in (row or {"figures": {}})["figures"].items():
            if name.startswith("versions."):
                seen.setdefault(name.removeprefix("versions."), set()).add(str(value))
    mixed = [f"{name} {' and '.join(sorted(values))}" for name, values in seen.items() if len(values) > 1]
    return [f"Runs were made with different versions: {'; '.join(mixed)}."] if mixed else []


def finite(value: float | None) -> float | None:
    """A number that JSON can hold."""
    return value if value is not None and math.isfinite(value) else None

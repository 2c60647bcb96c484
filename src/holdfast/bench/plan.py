"""What is left to do: trials first, then the final runs, seed after seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.bench.asked import note
from holdfast.bench.grid import Cell, Grid, Job, Scope
from holdfast.bench.recipe import Recipe
from holdfast.bench.sources import fingerprints
from holdfast.bench.store import Store
from holdfast.bench.tuning import Ask, Tuner
from holdfast.core.errors import UsageError


@dataclass(frozen=True)
class Plan:
    """A recipe's runs in a folder of results.

    Attributes:
        grid: cells and how runs are made of them.
        tuner: trials and choices.
        store: results so far.
        missing: why cells that are asked for, or that these build on, cannot be run here.
    """

    grid: Grid
    tuner: Tuner
    store: Store
    missing: dict[Cell, str]

    @property
    def left_out(self) -> dict[str, str]:
        """What cannot be run here, in words, and why: whole columns, and single rows of the others."""
        here = {cell.column for cell in self._cells()}
        return {
            f"{cell.row} in column {cell.column}" if cell.column in here else f"column {cell.column}": reason
            for cell, reason in self.missing.items()
        }

    def result(self, job: Job) -> dict[str, Any] | None:
        """What a finished run left; None where it is not finished.

        Raises:
            UsageError: it was made with other settings, for another version has other defaults.
        """
        return self.tuner.result(job)

    def ready(self) -> Iterator[Job | Ask]:
        """What can be done now and is not settled; what follows from open trials is not among it."""
        for cell in self._tuned():
            for trial in self.tuner.jobs(cell):
                if isinstance(trial, Ask):
                    yield trial
                else:
                    yield from (job for job in trial if not self.store.settled(job.name))
        yield from (job for job in self.final() if not self.store.settled(job.name))

    def final(self) -> Iterator[Job]:
        """The final runs whose values are known, seed after seed over all cells."""
        chosen = [(cell, self.tuner.chosen(cell)) for cell in self._cells()]
        known = [(cell, found.values) for cell, found in chosen if found is not None and found.values is not None]
        for seed in range(max((self.grid.seeds(cell) for cell, _ in known), default=0)):
            for cell, values in known:
                if seed < self.grid.seeds(cell):
                    yield self.grid.job("run", cell, values, seed)

    def trials(self) -> Iterator[Job]:
        """All runs of trials whose values are known."""
        for cell in self._tuned():
            for trial in self.tuner.jobs(cell):
                yield from () if isinstance(trial, Ask) else trial

    def unknown(self) -> int:
        """Runs that are due, but whose values depend on open trials."""
        tuning = self.grid.recipe.tuning
        waiting = [cell for cell in self._cells() if self.tuner.chosen(cell) is None]
        open_trials = sum(self._open_trials(cell) for cell in self._tuned())
        return sum(map(self.grid.seeds, waiting)) + open_trials * (tuning.seeds if tuning else 0)

    def _open_trials(self, cell: Cell) -> int:
        """Trials of a cell whose values are not known; those of a row that builds on a failed one will never be."""
        if self.tuner.chosen(cell) is not None:
            return 0
        known = sum(not isinstance(trial, Ask) for trial in self.tuner.jobs(cell))
        return self.tuner.budget(cell) - known

    def _cells(self) -> list[Cell]:
        return [cell for cell in self.grid.cells if cell not in self.missing]

    def _tuned(self) -> list[Cell]:
        return [cell for cell in self.tuner.cells() if cell not in self.missing]


def make_plan(recipe: Recipe, scope: Scope, out: Path, *, writes: bool) -> Plan:
    """What a recipe asks for here.

    Args:
        recipe: what is compared.
        scope: which part of it, and where the data are.
        out: folder of the results.
        writes: note what is asked, and what the data and weights are, for later runners to be compared with.

    Raises:
        UsageError: nothing can be run, or data or weights are not what they were when the folder was begun.
    """
    store = Store(out)
    found, absent = fingerprints(recipe, scope.root, Grid(recipe, scope, {}).files())
    for place, fingerprint in found.items():
        if writes or store.sources.get(place) is not None:
            store.sources.note(place, fingerprint)
    grid = Grid(recipe, scope, found)
    if not grid.cells:
        why = recipe.data_only or "no cell of the table is picked by --only, or none has a method"
        raise UsageError(f"there is nothing to run: {why}")
    tuner = Tuner(grid, store)
    missing = _missing(tuner, absent)
    if missing.keys() >= set(grid.cells):
        raise UsageError(f"no column can be run here: {next(iter(missing.values()))}")
    if writes:
        note(out, recipe, scope)
    return Plan(grid, tuner, store, missing)


def stored_plan(recipe: Recipe, scope: Scope, out: Path) -> Plan:
    """What a folder holds of a recipe, without the data: cells that were never begun are missing."""
    store = Store(out)
    grid = Grid(recipe, scope, store.sources)
    tuner = Tuner(grid, store)
    places = {place for cell in (*grid.cells, *tuner.cells()) for place in grid.places(cell)}
    return Plan(grid, tuner, store, _missing(tuner, {p: "not begun" for p in places if store.sources.get(p) is None}))


def _missing(tuner: Tuner, absent: Mapping[str, str]) -> dict[Cell, str]:
    """Reasons for the cells that need something absent, or take values over from a cell that does."""
    grid, found = tuner.grid, {}
    for cell in dict.fromkeys((*grid.cells, *tuner.cells())):
        other = grid.recipe.methods[cell.row].reuse
        needed = (*grid.places(cell), *(grid.places(Cell(other, cell.column)) if other is not None else ()))
        reason = next((absent[place] for place in needed if place in absent), None)
        if reason is not None:
            found[cell] = reason
    return found

"""Choosing hyper-parameters: which values are tried, and which of them win on validation."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from holdfast.bench.grid import Cell, Grid, Job, Values, recorded
from holdfast.bench.store import Store
from holdfast.bench.trials import Trials
from holdfast.core.errors import UsageError
from holdfast.train.settings import Settings

MOST_POINTS = 1_000_000


@dataclass(frozen=True)
class Ask:
    """A trial whose values Optuna has not been asked for yet."""

    cell: Cell
    number: int


@dataclass(frozen=True)
class Chosen:
    """What tuning came to for a cell.

    Attributes:
        values: the winner's; None where no trial came through.
        trials: how many came through.
    """

    values: Values | None
    trials: int


class Tuner:
    """The trials of a grid's cells, and the choices that follow from their results.

    Args:
        grid: the cells and how runs are made of them.
        store: results so far.
    """

    def __init__(self, grid: Grid, store: Store) -> None:
        self.grid, self._store = grid, store
        tuning = grid.recipe.tuning
        self.trials = Trials(store.root / "trials", None if tuning is None else tuning.storage)
        self._chosen: dict[Cell, Chosen] = {}

    def tuned(self, cell: Cell) -> bool:
        """Whether a cell has anything to tune itself."""
        return self.grid.recipe.tuning is not None and bool(self.grid.recipe.search_of(cell.row))

    def cells(self) -> list[Cell]:
        """The cells that are tuned: those asked for, before them those whose values they take over."""
        wanted: dict[Cell, None] = {}
        for cell in self.grid.cells:
            other = self.grid.recipe.methods[cell.row].reuse
            if other is not None:
                wanted[Cell(other, cell.column)] = None
            wanted[cell] = None
        return [cell for cell in wanted if self.tuned(cell)]

    def budget(self, cell: Cell) -> int:
        """Trials of a cell."""
        tuning = self.grid.recipe.tuning
        assert tuning is not None
        data = self.grid.recipe.data[self.grid.recipe.columns[cell.column][0]]
        trials = data.trials or tuning.trials or len(self._points(cell))
        return min(trials, self.grid.recipe.mini.trials) if self.grid.scope.mini else trials

    def jobs(self, cell: Cell) -> Iterator[list[Job] | Ask]:
        """The trials of a cell: the runs of each, or the question that is open."""
        before = self._taken_over(cell)
        if before is None or before.values is None:
            return
        for number, values in enumerate(self._tried(cell)):
            yield Ask(cell, number) if values is None else self.grid.trial(cell, {**before.values, **values})

    def chosen(self, cell: Cell) -> Chosen | None:
        """The values that a cell's final runs take; None while its trials, or those it builds on, are under way."""
        if cell not in self._chosen:
            found = self._choose(cell)
            if found is None:
                return None
            self._chosen[cell] = found
        return self._chosen[cell]

    def tell(self, cell: Cell) -> None:
        """Tell Optuna how the cell's trials ended."""
        ended: dict[int, float | None] = {}
        for number, trial in enumerate(self.jobs(cell)):
            if not isinstance(trial, Ask) and self.settled(trial):
                score = self.score(trial)
                ended[number] = None if score is None else score[0]
        if ended:
            self.trials.tell(self.study(cell), ended)

    def score(self, jobs: list[Job]) -> tuple[float, float] | None:
        """Mean validation accuracy of a trial, then its negative log-likelihood with the sign that makes more better.

        None where a run of it failed.
        """
        rows = [self.result(job) for job in jobs]
        figures: list[dict[str, Any]] = [row["figures"] for row in rows if row is not None]
        if len(figures) < len(jobs):
            return None
        mean = [math.fsum(f[name] for f in figures) / len(figures) for name in ("val.accuracy", "val.nll")]
        return mean[0], -mean[1]

    def result(self, job: Job) -> dict[str, Any] | None:
        """What a finished run left; None where it is not finished.

        Raises:
            UsageError: it was made with other settings, for another version has other defaults.
        """
        found = self._store.read(job.name)
        if found is None:
            return None
        now, then = recorded(job.settings), found["settings"]
        other = [f"{k} was {v} and is {now[k]}" for k, v in then.items() if k in now and v != now[k]]
        if other:
            raise UsageError(
                f"the runs in {self._store.root} were made by a version with other defaults ({'; '.join(other)}); "
                "write these into the recipe's settings, or choose another folder with --out"
            )
        return found

    def settled(self, jobs: list[Job]) -> bool:
        """Whether all runs of a trial have ended."""
        return all(self._store.settled(job.name) for job in jobs)

    def _choose(self, cell: Cell) -> Chosen | None:
        before = self._taken_over(cell)
        if before is None or before.values is None or not self.tuned(cell):
            return before
        trials = list(self.jobs(cell))
        asked = [trial for trial in trials if not isinstance(trial, Ask)]
        if len(asked) < len(trials) or not all(self.settled(trial) for trial in asked):
            return None
        scores = [(score, -place) for place, trial in enumerate(asked) if (score := self.score(trial)) is not None]
        if not scores:
            return Chosen(None, 0)
        return Chosen(asked[-max(scores)[1]][0].values, len(scores))

    def _taken_over(self, cell: Cell) -> Chosen | None:
        """What another row passes on to this one; None while it is not known."""
        row = self.grid.recipe.methods[cell.row]
        chosen = Chosen({}, 0) if row.reuse is None else self.chosen(Cell(row.reuse, cell.column))
        if chosen is None or chosen.values is None:
            return chosen
        used = row.placeholders | Settings.model_fields.keys()
        return Chosen({name: value for name, value in chosen.values.items() if name in used}, 0)

    def _tried(self, cell: Cell) -> list[Values | None]:
        """The values of each trial; None where Optuna is yet to be asked."""
        tuning, budget = self.grid.recipe.tuning, self.budget(cell)
        assert tuning is not None
        if tuning.by == "optuna":
            study = self.study(cell)
            return [self.trials.read(study, number) for number in range(budget)]
        points = self._points(cell)
        if tuning.by == "list":
            return list(points[:budget])
        if budget < len(points):
            points = [points[place] for place in sorted(random.Random(0).sample(range(len(points)), budget))]
        return list(points)

    def _points(self, cell: Cell) -> list[Values]:
        search = self.grid.recipe.search_of(cell.row)
        lists = [options for options in search.values() if isinstance(options, list)]
        if self.grid.recipe.tuning is not None and self.grid.recipe.tuning.by == "list":
            return [dict(zip(search, point, strict=True)) for point in zip(*lists, strict=True)]
        if math.prod(len(options) for options in lists) > MOST_POINTS:
            raise UsageError(f"the grid of {cell.row} has more than {MOST_POINTS} points; search fewer values")
        return [dict(zip(search, point, strict=True)) for point in product(*lists)]

    def study(self, cell: Cell) -> str:
        """Name of a cell's study: other values to try, other data or another scale make it another one."""
        search = self.grid.recipe.search_of(cell.row)
        before = self._taken_over(cell)
        values = dict(before.values or {}) if before is not None else {}
        for name, options in search.items():
            values[name] = options[0] if isinstance(options, list) else options.low
        spaces = {
            name: options if isinstance(options, list) else options.model_dump() for name, options in search.items()
        }
        content = json.dumps([self.grid.job("tune", cell, values, 0).name, spaces], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:20]

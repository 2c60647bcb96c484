"""The stored results of a comparison read as a sweep: points with their methods, means and intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from holdfast.bench.asked import asked_one
from holdfast.bench.catalogue import load
from holdfast.bench.grid import Scope
from holdfast.bench.plan import stored_plan
from holdfast.bench.recipe import Recipe
from holdfast.bench.store import check_results
from holdfast.bench.table import Comparison, Entry, make_table
from holdfast.core.compose import compose
from holdfast.core.errors import DataError, UsageError
from holdfast.core.method import Method
from holdfast.report.groups import Group
from holdfast.report.measures import Measure, measure

Kind = TypeVar("Kind", bound=Method)


@dataclass(frozen=True)
class Point:
    """One cell of a comparison, with at least one finished run; figures in per cent, gains in points.

    Attributes:
        entry: of the table.
        methods: of its text, not bound.
        group: its runs, for their mean and its interval.
    """

    entry: Entry
    methods: tuple[Method, ...]
    group: Group

    @property
    def mean(self) -> float:
        """Over seeds."""
        return self.group.mean

    def as_data(self) -> dict[str, Any]:
        """For a finding: figures by seed, the mean and its interval, the gain over the row that it is compared with."""
        gain = self.entry.gain
        return {
            "row": self.entry.row,
            "column": self.entry.column,
            "method": self.entry.method,
            "values": {str(seed): value for seed, value in self.entry.values.items()},
            "mean": self.mean,
            "interval": None if self.group.interval is None else list(self.group.interval),
            "against": self.entry.against,
            "gain": None if gain is None else {**asdict(gain), "p_holm": self.entry.p},
        }


@dataclass(frozen=True)
class Sweep:
    """The points of a comparison.

    Attributes:
        name: of the recipe, or its title where the folder recorded it.
        recipe: what was compared.
        table: of all cells.
        points: cells with a result, column by column.
        inputs: for a finding.
    """

    name: str
    recipe: Recipe
    table: Comparison
    points: Sequence[Point]
    inputs: Mapping[str, Any]

    @property
    def measure(self) -> Measure:
        """What was measured; its figures here are in the shown unit already."""
        part = self.points[0].entry.part
        return measure(f"{part}.{self.table.metric}")

    @property
    def columns(self) -> list[str]:
        """Columns with a result."""
        return list(dict.fromkeys(point.entry.column for point in self.points))

    def one_column(self) -> str:
        """The column of all points.

        Raises:
            UsageError: there are several.
        """
        if len(self.columns) > 1:
            raise UsageError(f"expected one column, found {', '.join(self.columns)}: choose one with --only")
        return self.columns[0]

    def placed(self, at: Callable[[Point], Any]) -> tuple[dict[Any, Point], list[str]]:
        """Points by their place, and the rows that have none, for which ``at`` gives None.

        Raises:
            UsageError: two points have the same place.
        """
        found: dict[Any, Point] = {}
        for point in self.points:
            place = at(point)
            if place is not None and place in found:
                both = " and ".join(f"{p.entry.row} in {p.entry.column}" for p in (found[place], point))
                raise UsageError(f"{both} are the same point of the sweep: choose one with --only")
            if place is not None:
                found[place] = point
        placed = {id(point) for point in found.values()}
        return found, [point.entry.row for point in self.points if id(point) not in placed]

    def notes(self) -> list[str]:
        """What a reader must know: the table's notes, cells with fewer runs than asked or none."""
        short = [entry for entry in self.table.entries if entry.asked and not entry.complete]
        begun = ", ".join(f"{e.row} in {e.column} {len(e.values)} of {e.asked}" for e in short if e.values)
        waiting = {e.column: [each.row for each in short if each.column == e.column and not each.values] for e in short}
        return [
            *([f"Not all runs are finished: {begun}."] if begun else []),
            *(f"Not run yet in {column}: {', '.join(rows)}." for column, rows in waiting.items() if rows),
            *(note for note in self.table.notes if not note.startswith("*")),
        ]


def read_sweep(
    folder: Path,
    recipe: str | None = None,
    *,
    mini: bool | None = None,
    seeds: int | None = None,
    only: str | None = None,
) -> Sweep:
    """Read what ``holdfast bench run`` has left.

    Args:
        folder: of the results.
        recipe: name or file; None: what the folder says was asked of it.
        mini: whether they were made with ``--scale mini``; None: as the folder says, False where a recipe is given.
        seeds: runs of each cell, where not the number that was asked for, or the recipe's.
        only: which cells, see ``holdfast.bench.selection``; None: all that were asked for, or all of the recipe.

    Raises:
        DataError: no such folder, or no finished run of the recipe in it.
        UsageError: no such recipe; or none is given and the folder does not name a single one.
    """
    given = None if recipe is None else load(recipe)
    check_results(folder)
    if given is None:
        one = asked_one(folder, mini)
        name, found, scope = one.recipe.title, one.recipe, one.scope
    else:
        (name, found), scope = given, Scope(mini=bool(mini))
    scope = replace(scope, root=Path().absolute(), seeds=seeds or scope.seeds, only=only or scope.only)
    table = make_table(stored_plan(found, scope, folder))
    points = [_point(entry) for entry in table.entries if entry.values]
    if not points:
        scale = "made small" if scope.mini else "at full scale"
        raise DataError(
            f"{folder} holds no final run of {name} {scale}; give the recipe they were made from with --recipe, and "
            f"--scale mini {'only ' if scope.mini else ''}where they were made so"
        )
    runs = [len(point.entry.values) for point in points]
    inputs = {
        "results": str(folder),
        "recipe": name,
        "title": table.title,
        "scale": "mini" if scope.mini else "full",
        "runs": sum(runs),
        "seeds_per_cell": [min(runs), max(runs)],
    }
    return Sweep(name, found, table, points, inputs)


def _point(entry: Entry) -> Point:
    assert entry.method is not None
    methods = tuple(compose(entry.method).expression)
    return Point(entry, methods, Group(entry.row, (), list(entry.values.values())))


def the_one(methods: Sequence[Method], kind: type[Kind]) -> Kind | None:
    """The method of this kind, where exactly one stands there."""
    found = [method for method in methods if isinstance(method, kind)]
    return found[0] if len(found) == 1 else None

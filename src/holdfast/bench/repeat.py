"""Finished runs done once more, to see whether they give the figures that were written down."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.bench.grid import Job, Scope
from holdfast.bench.plan import Plan, stored_plan
from holdfast.bench.recipe import Recipe
from holdfast.bench.sources import fingerprints
from holdfast.bench.work import Fit, executed, fit, measured
from holdfast.core.errors import DataError, HoldfastError, UsageError

_MEASURED = ("test.", "val.")
_SETTING = ("versions.", "device")


@dataclass(frozen=True)
class Repeated:
    """A run and its figures, as they were written down and as they are now.

    Attributes:
        job: the run.
        before: of the result in the folder.
        after: of the repetition.
    """

    job: Job
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    @property
    def differing(self) -> list[str]:
        """Names of the measured figures that are not the same to the last digit."""
        names = dict.fromkeys(name for name in (*self.before, *self.after) if name.startswith(_MEASURED))
        return [name for name in names if self.before.get(name) != self.after.get(name)]

    def as_data(self) -> dict[str, Any]:
        """For a file: the run, every figure then and now, the names of those that differ."""
        return {
            "row": self.job.cell.row,
            "column": self.job.cell.column,
            "seed": self.job.seed,
            "method": self.job.settings.method,
            "before": dict(self.before),
            "after": dict(self.after),
            "differing": self.differing,
        }

    @property
    def elsewhere(self) -> list[str]:
        """What was different about the machine and the packages, in words."""
        names = [name for name in self.before if name.startswith(_SETTING)]
        return [
            f"{name.removeprefix('versions.')} {self.after.get(name)} in place of {self.before[name]}"
            for name in names
            if self.before[name] != self.after.get(name)
        ]


def finished(recipe: Recipe, scope: Scope, folder: Path) -> list[tuple[Job, Mapping[str, Any]]]:
    """The final runs of a folder with their figures.

    Args:
        recipe: that they were made from.
        scope: which of them, and where the data are now.
        folder: of the results.

    Raises:
        DataError: none is finished, or their data or weights are missing.
        UsageError: their data or weights are not those that the results were made from.
    """
    plan = stored_plan(recipe, scope, folder)
    found = [(job, result["figures"]) for job in plan.final() if (result := plan.result(job)) is not None]
    if not found:
        raise DataError(
            f"{folder} holds no finished run of what is asked for; 'holdfast bench table' shows what it holds"
        )
    _check_sources(plan, [job for job, _ in found])
    return found


def repeated(
    runs: list[tuple[Job, Mapping[str, Any]]], *, threads: int | None = 1, fit: Fit = fit
) -> Iterator[Repeated]:
    """Do runs once more, one after the other; nothing is written but below a folder that is removed at the end.

    Args:
        runs: as ``finished`` gives them.
        threads: of each run; other numbers round otherwise.
        fit: trains and measures one run.

    Raises:
        HoldfastError: a run failed.
    """
    with tempfile.TemporaryDirectory() as work:
        for job, before in runs:
            ended = measured(executed(job.settings, Path(work) / "runs" / job.name, threads), fit)
            if "reason" in ended:
                raise HoldfastError(f"{job.cell.row} in {job.cell.column}, seed {job.seed}: {ended['reason']}")
            yield Repeated(job, before, ended["figures"])


def _check_sources(plan: Plan, jobs: list[Job]) -> None:
    grid = plan.grid
    here, absent = fingerprints(grid.recipe, grid.scope.root, grid.files())
    for place in dict.fromkeys(place for job in jobs for place in grid.places(job.cell)):
        if place in absent:
            raise DataError(f"{place}: {absent[place]}")
        if here[place] != plan.store.sources.get(place):
            raise UsageError(
                f"{place} in {grid.scope.root} is not what the results in {plan.store.root} were made from; "
                "expected the same files"
            )

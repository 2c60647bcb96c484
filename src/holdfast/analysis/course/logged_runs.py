"""Finished runs that wrote down their course, and how far they can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.analysis.finished import differing, finished_together, method_of
from holdfast.core.errors import DataError
from holdfast.report.palette import Colour, method_colour
from holdfast.report.records import RunRecord, numbers
from holdfast.train.run_folder import RunFolder

Rows = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class LoggedRun:
    """A finished run and the table that it wrote.

    Attributes:
        record: the run.
        name: its method, and its folder where several runs share the method.
        rows: of the table, in the order of training.
    """

    record: RunRecord
    name: str
    rows: Rows

    @property
    def method(self) -> str:
        """Its text form."""
        return method_of(self.record)

    @property
    def colour(self) -> Colour:
        """Of its method."""
        return method_colour(self.method)

    @property
    def inputs(self) -> dict[str, object]:
        """What a finding says of it."""
        return {"folder": str(self.record.folder), "method": self.method, "seed": self.record.settings.get("seed")}


def logged_runs(folders: Sequence[Path], table: str, key: str, flag: str) -> list[LoggedRun]:
    """Read runs and one table of each.

    Args:
        folders: of the runs.
        table: the attribute of ``RunFolder`` that names the file.
        key: column that every row has.
        flag: of ``holdfast train``, which makes a run write it.

    Raises:
        UsageError: no run, or one twice.
        DataError: a run is not finished, has no such table or an empty one, or the runs have other classes.
    """
    records = finished_together(folders)
    tables = [_rows(record, table, key, flag) for record in records]
    methods = [method_of(record) for record in records]
    names = [
        method if methods.count(method) == 1 else f"{method} ({record.folder.resolve().name})"
        for method, record in zip(methods, records, strict=True)
    ]
    return [LoggedRun(*each) for each in zip(records, names, tables, strict=True)]


def _rows(record: RunRecord, table: str, key: str, flag: str) -> Rows:
    file: Path = getattr(RunFolder(record.folder), table)
    rows = numbers(file, key, [])
    if not rows:
        found = "an empty one" if file.is_file() else "none"
        raise DataError(
            f"expected a run that wrote {file.name}, found {found} in {record.folder}: train again with {flag} and "
            "another --out"
        )
    return rows


def differences_beside_the_method(runs: Sequence[LoggedRun]) -> list[str]:
    """A sentence about the settings that differ between runs, the method aside; nothing where they are the same."""
    found = differing([run.record for run in runs])
    return [f"The runs differ in more than the method: {'; '.join(found)}."] if found else []


def one_run_each(runs: Sequence[LoggedRun]) -> str:
    """A sentence on how far runs reach that were not repeated."""
    how = "This is one run" if len(runs) == 1 else f"These are {len(runs)} runs"
    return f"{how}: what another seed would give is not in these numbers."

"""Finished runs that wrote down their course, and how far they can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.analysis.finished import finished, method_of
from holdfast.core.errors import DataError, UsageError
from holdfast.data.folder import load_split
from holdfast.report.palette import Colour, method_colour
from holdfast.report.records import RunRecord, numbers
from holdfast.train.run_folder import RunFolder
from holdfast.train.settings import Settings, extra

Rows = Sequence[Mapping[str, float]]
_SHOWN = 40  # characters of the values in a note; longer lists, such as paths, are left to the settings themselves


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
    if not folders:
        raise UsageError("expected the folder of at least one run, found none")
    real = [folder.resolve() for folder in folders]
    if twice := [folder for at, folder in enumerate(folders) if real[at] in real[:at]]:
        raise UsageError(f"expected different runs, found {twice[0]} twice")
    records = [finished(folder) for folder in folders]
    tables = [_rows(record, table, key, flag) for record in records]
    _same_classes(records)
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


def _same_classes(records: Sequence[RunRecord]) -> None:
    splits = [load_split(RunFolder(record.folder).split) for record in records] if len(records) > 1 else []
    for record, split in zip(records, splits, strict=False):
        if split.classes != splits[0].classes:
            raise DataError(
                f"expected runs on the same data, found {len(splits[0].classes)} classes in {records[0].folder} and "
                f"{len(split.classes)} in {record.folder} that are not the same: compare runs with the same classes"
            )


def differences_beside_the_method(runs: Sequence[LoggedRun]) -> list[str]:
    """A sentence about the settings that differ between runs, the method aside; nothing where they are the same."""
    found = []
    for name, field in Settings.model_fields.items():
        values = [run.record.settings.get(name, field.default) for run in runs]
        if name != "method" and extra(field)["compared"] and any(value != values[0] for value in values):
            told = f" ({', '.join(map(str, values))})"
            found.append(name + told * (len(told) <= _SHOWN))
    return [f"The runs differ in more than the method: {'; '.join(found)}."] if found else []


def one_run_each(runs: Sequence[LoggedRun]) -> str:
    """A sentence on how far runs reach that were not repeated."""
    how = "This is one run" if len(runs) == 1 else f"These are {len(runs)} runs"
    return f"{how}: what another seed would give is not in these numbers."

"""The finished runs that a user names: a hint where there is none, and how far several can be compared."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from holdfast.core.errors import DataError, UsageError
from holdfast.core.registry import nearest
from holdfast.report.records import RunRecord, read_run
from holdfast.train.run_folder import RunFolder
from holdfast.train.settings import Settings, extra

_MOST = 5
_SHOWN = 40  # characters of a setting's values; longer ones, such as paths, are left to the settings


def finished(run: Path) -> RunRecord:
    """Read a finished run.

    Raises:
        DataError: no such folder, with the nearest name beside it; a folder of runs, which it names; a run that is not
            finished; a file that cannot be read.
    """
    if not run.is_dir():
        beside = _runs_in(run.parent)
        hint = nearest(run.name, beside) if beside else ""
        raise DataError(f"expected the folder of a finished run, found no folder at {run}{hint}")
    if RunFolder(run).state == "empty" and (inside := _runs_in(run)):
        more = f" and {len(inside) - _MOST} more" if len(inside) > _MOST else ""
        raise DataError(f"{run} is no run but holds some: {', '.join(inside[:_MOST])}{more}; name one of them")
    return read_run(run)


def finished_together(runs: Sequence[Path]) -> list[RunRecord]:
    """Read finished runs that are to be compared.

    Raises:
        UsageError: no run, or one given twice.
        DataError: see ``finished``; or the runs' classes differ.
    """
    if not runs:
        raise UsageError("expected the folder of at least one run, found none")
    real = [run.resolve() for run in runs]
    if twice := [run for place, run in enumerate(runs) if real[place] in real[:place]]:
        raise UsageError(f"expected different runs, found {twice[0]} twice")
    records = [finished(run) for run in runs]
    for other in records[1:]:
        _same_classes(records[0], other)
    return records


def _same_classes(first: RunRecord, other: RunRecord) -> None:
    if alone := sorted(set(first.classes) ^ set(other.classes)):
        raise DataError(
            f"expected runs with the same classes, found {len(first.classes)} classes in {first.folder} and "
            f"{len(other.classes)} in {other.folder}, and {alone[0]!r} in one alone: compare runs on the same data"
        )


def _runs_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and RunFolder(path).state == "finished")


def method_of(record: RunRecord) -> str:
    """The method's text form, ``plain`` where none is written down."""
    return str(record.settings.get("method") or "plain")


def differing(records: Sequence[RunRecord], besides: Collection[str] = ("method",)) -> list[str]:
    """The settings in which runs differ, with their values where these are short.

    Settings that do not make two runs different ones are left out.

    Args:
        records: the runs.
        besides: settings that are meant to differ.
    """
    found = []
    for name, field in Settings.model_fields.items():
        values = dict.fromkeys(str(record.settings.get(name, field.default)) for record in records)
        if name not in besides and extra(field)["compared"] and len(values) > 1:
            told = f" ({', '.join(values)})"
            found.append(name + told * (len(told) <= _SHOWN))
    return found

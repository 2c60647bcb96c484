"""``holdfast report``: one page of whatever a folder holds, the summary first, settings and versions last."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from holdfast.bench.asked import asked
from holdfast.core.errors import HoldfastError
from holdfast.report.chapter import Chapter
from holdfast.report.findings import finding_section
from holdfast.report.found import Found, look_into, unfinished_notes
from holdfast.report.grids import grid_chapter, unasked_results
from holdfast.report.measures import counted
from holdfast.report.page import REPORT, render, write_page
from holdfast.report.parts import Fold, Part, Points, Section
from holdfast.report.records import read_run
from holdfast.report.several import results_chapter, run_chapter, runs_chapter, single_runs, tasks

SINGLES = 6
"""So many runs that are alone with their task are shown in full; of more, a table."""

Make = Callable[[str], Chapter]
"""A chapter from the prefix of its identifiers."""


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write one self-contained page of the runs, comparisons and analyses in a folder and below; returns its path.

    Args:
        folder: what ``holdfast train``, ``bench``, ``demo`` or ``analyse`` wrote, or a folder of such folders.
        out: file to write, or a folder for ``report.html``; None is ``report.html`` in ``folder``.

    Raises:
        HoldfastError: no such folder, nothing in it to report, a file that cannot be parsed, or a page that cannot be
            written.
    """
    found = look_into(folder)
    makers = list(_makers(found))
    chapters = [make(f"c{number}-" if len(makers) > 1 else "") for number, make in enumerate(makers)]
    html = _alone(chapters[0], found) if len(chapters) == 1 else _together(chapters, found)
    path = (folder if out is None else out) / REPORT if out is None or out.is_dir() else out
    try:
        return write_page(path, html)
    except OSError as error:
        raise HoldfastError(
            f"cannot write {path}: {error.strerror or error}; choose another place with --out"
        ) from error


def _makers(found: Found) -> Iterator[Make]:
    for grid in found.grids:
        known = asked(grid)
        yield from (partial(grid_chapter, grid, one) for one in known)
        if not known:
            yield from _unasked(grid)
    told = list(found.titles)  # in the order in which the demo tells them
    for place in sorted(found.results, key=lambda each: told.index(each) if each in told else len(told)):
        title = found.titles.get(place, {})
        heading = str(title.get("title") or _name(place, found))
        notes = [str(note) for note in title.get("notes") or ()]
        yield partial(results_chapter, found.results[place], heading, notes=notes)
    yield from _of_runs(found)


def _unasked(grid: Path) -> Iterator[Make]:
    notes = [
        "The folder does not say which recipe it was made with: what is published, and how many runs were asked for, "
        "is not known. The command that made it writes it down when it is repeated."
    ]
    for column, results in unasked_results(grid).items():
        yield partial(results_chapter, results, column, notes=notes)


def _of_runs(found: Found) -> Iterator[Make]:
    grouped = tasks([read_run(path) for path in found.runs])
    yield from (partial(runs_chapter, task, found.root) for task in grouped if len(task) > 1)
    alone = [task[0] for task in grouped if len(task) == 1]
    if len(alone) <= SINGLES:
        yield from (partial(run_chapter, record) for record in alone)
    else:
        yield partial(single_runs, alone, found.root)


def _name(place: Path, found: Found) -> str:
    return (found.root.resolve().name if place == found.root else str(place.relative_to(found.root))) or str(place)


def _alone(chapter: Chapter, found: Found) -> str:
    """A page of one chapter, its sections at the top level."""
    closing = Section("settings", "Settings and versions", _closing([chapter], found))
    content = [*chapter.sections, *_analyses(found), closing]
    return render(chapter.heading, [*chapter.summary, *unfinished_notes(found)], content)


def _together(chapters: Sequence[Chapter], found: Found) -> str:
    """A page of several chapters, or of analyses alone."""
    sections = [Section(chapter.id, chapter.heading, chapter.sections) for chapter in chapters]
    said = [Section(f"{chapter.id}-summary", chapter.heading, [Points(chapter.summary)]) for chapter in chapters]
    summary = [Section("summary", "Summary", said)] if chapters else []
    closing = _closing(chapters, found)
    ends = [Section("settings", "Settings and versions", closing)] if closing else []
    title = found.root.resolve().name or str(found.root)
    content = [*summary, *sections, *_analyses(found), *ends]
    return render(title, [_contents(found), *unfinished_notes(found)], content, contents=True)


def _contents(found: Found) -> str:
    analyses = f"{len(found.findings)} {'analysis' if len(found.findings) == 1 else 'analyses'}"
    stored = sum(map(len, found.results.values()))
    kinds = ((len(found.runs), "run"), (len(found.grids), "bench folder"), (stored, "stored result"))
    parts = [counted(number, thing) for number, thing in kinds if number]
    return f"{', '.join([*parts, *([analyses] if found.findings else [])])}."


def _analyses(found: Found) -> Iterator[Section]:
    if found.findings:
        sections = [finding_section(finding, f"analysis-{n}") for n, finding in enumerate(found.findings)]
        yield Section("analyses", "Analyses", sections)


def _closing(chapters: Sequence[Chapter], found: Found) -> list[Part]:
    inputs: list[Part] = [table for finding in found.findings if (table := finding.settings()) is not None]
    if len(chapters) == 1:
        return [*chapters[0].closing, *inputs]
    return [*(Fold(chapter.heading, chapter.closing) for chapter in chapters), *inputs]

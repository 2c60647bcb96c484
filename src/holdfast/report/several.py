"""Chapters of several runs: methods compared on the same data, and what each of them takes for what."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.report.answers import Answers, answers_of, calibration_figure, confusion_parts, mistakes_parts
from holdfast.report.chapter import Chapter
from holdfast.report.comparison import (
    comparison_closing,
    comparison_lead,
    comparison_sections,
    results_table,
)
from holdfast.report.flat import shared_settings
from holdfast.report.groups import grouped
from holdfast.report.measures import measure
from holdfast.report.parts import Cell, Figures, Fold, Part, Section, Table, number_cell
from holdfast.report.records import RunRecord
from holdfast.report.run import method_of, run_lead, run_sections, run_settings, run_title
from holdfast.report.variants import METRICS, chosen_metric, differing, states, told_apart

BASELINE = "plain"
PICTURES = 96
"""Most thumbnails of a chapter, shared by its methods."""
# What must agree for two runs to be compared: the data, what is drawn of them, the starting point.
_TASK = ("data", "samples_per_class", "test_fraction", "split_seed", "model", "weights", "pretrained")


def run_chapter(record: RunRecord, prefix: str) -> Chapter:
    """A run by itself."""
    sections = list(run_sections(record, prefix))
    return Chapter(f"{prefix}run", run_title(record), sections, run_lead(record), list(run_settings(record)))


def tasks(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Runs by what they were trained on, in the order of the first; within a task by method and seed."""
    found: dict[tuple[str, ...], list[RunRecord]] = {}
    for record in records:
        found.setdefault(tuple(str(record.settings.get(key)) for key in _TASK), []).append(record)
    return [
        sorted(of_task, key=lambda r: (method_of(r) != BASELINE, method_of(r), _seed(r))) for of_task in found.values()
    ]


def _seed(record: RunRecord) -> int:
    seed = record.settings.get("seed")
    return seed if isinstance(seed, int) else 0


def runs_chapter(records: Sequence[RunRecord], root: Path, prefix: str) -> Chapter:
    """Runs of one task.

    Args:
        records: at least one.
        root: that their folders are named relative to.
        prefix: of the identifiers on the page.
    """
    results = [as_result(record, root) for record in records]
    named, _ = told_apart(results)
    by_folder = {result["run"]: result["method"] for result in named}
    kept = [record for record in records if _place(record, root) in by_folder]
    chapter = results_chapter(results, _heading(records), prefix, list(_file_notes(records)))
    methods = list(dict.fromkeys(by_folder.values()))
    answers = {m: answers_of([r for r in kept if by_folder[_place(r, root)] == m]) for m in methods}
    tested = {method: found for method, found in answers.items() if found is not None}
    if not tested:
        return chapter
    folds = [_fold(m, found, f"{prefix}{n}-", PICTURES // len(tested)) for n, (m, found) in enumerate(tested.items())]
    detail = Section(f"{prefix}answers", "What is taken for what", folds)
    return replace(chapter, sections=[*chapter.sections, detail])


def _fold(method: str, answers: Answers, prefix: str, pictures: int) -> Fold:
    parts: list[Part] = [*confusion_parts(answers, f"{prefix}matrix")]
    parts += [Figures([calibration_figure(answers, f"{prefix}reliability")])]
    parts += mistakes_parts(answers, min(12, pictures)) if pictures else ()
    return Fold(f"{method}: confusion, calibration, mistakes ({answers.count})", parts)


def _heading(records: Sequence[RunRecord]) -> str:
    few = records[0].settings.get("samples_per_class")
    return run_title(records[0]) + ("" if few is None else f", {few} per class")


def _file_notes(records: Sequence[RunRecord]) -> Iterator[str]:
    for note in dict.fromkeys(note for record in records for note in record.notes):
        having = [record.folder.name for record in records if note in record.notes]
        yield (
            note
            if len(records) == 1
            else f"{note.rstrip('.')} ({', '.join(having[:3])}{'…' if len(having) > 3 else ''})."
        )


def _place(record: RunRecord, root: Path) -> str:
    return str(record.folder.relative_to(root))


def as_result(record: RunRecord, root: Path) -> dict[str, Any]:
    """A run as ``write_comparison`` takes it."""
    recorded = record.settings.get("recorded")
    settings = {key: value for key, value in record.settings.items() if key != "recorded"}
    versions = recorded.get("versions") if isinstance(recorded, dict) else None
    return {
        "versions": versions if isinstance(versions, dict) else {},
        **record.result,
        "method": method_of(record),
        "seed": _seed(record),
        "settings": settings,
        "curve": [row.get("val.accuracy", math.nan) for row in record.metrics],
        "run": _place(record, root),
    }


def results_chapter(
    results: Sequence[Mapping[str, Any]], heading: str, prefix: str, notes: Sequence[str] = ()
) -> Chapter:
    """Results of methods and seeds that are compared with one another.

    Args:
        results: as ``write_comparison`` takes them; those of one method with different settings become several.
        heading: of the chapter.
        prefix: of the identifiers on the page.
        notes: below the table.
    """
    named, left_out = told_apart(results)
    metric = chosen_metric(named)
    stated = {result["method"] for result in named if states(result, metric)}
    groups = grouped(named, BASELINE if BASELINE in stated else None, metric)
    what = measure(metric)
    said = [*notes, *left_out, *(note for group in groups for note in group.notes)]
    if BASELINE not in stated and len(groups) > 1:
        said.append(f"There is no run of {BASELINE!r} with one set of settings to measure gains from.")
    if others := differing(named):
        said.append(f"Beside the method, runs differ in {', '.join(others)}: the settings at the end say how.")
    if metric.startswith("val."):
        said.append("No result is of a test part: figures are of the validation part, which settings may be chosen on.")
    sections = comparison_sections(groups, what, results_table(groups, named, metric), said, prefix=prefix)
    closing = list(comparison_closing(named, metric))
    return Chapter(f"{prefix}results", heading, list(sections), list(comparison_lead(groups, what)), closing)


def single_runs(records: Sequence[RunRecord], root: Path, prefix: str) -> Chapter:
    """Runs that are each alone with their task, in one table."""
    results = [{**as_result(record, root), "on": run_title(record)} for record in records]
    rows = [
        [Cell(r["on"]), Cell(r["method"]), Cell(str(r["seed"])), _number(r, METRICS[0]), Cell(r["run"])]
        for r in results
    ]
    columns = ("network and data", "method", "seed", measure(METRICS[0]).axis, "folder")
    table = Table(f"The {len(rows)} runs", columns, rows)
    said = f"{len(rows)} runs, no two of which share data and network: there is nothing to compare."
    closing = [shared_settings([{**result, "method": result["run"]} for result in results])]
    return Chapter(f"{prefix}singles", "Single runs", [Section(f"{prefix}table", "Results", [table])], [said], closing)


def _number(result: Mapping[str, Any], metric: str) -> Cell:
    value = float(result[metric]) if states(result, metric) else math.nan
    return number_cell(measure(metric).number(value), value)

"""Parts of the study's page: its figures, and what the papers print of its methods."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.bench.beside import Beside
from holdfast.bench.catalogue import load
from holdfast.bench.formats import FORMATS, probability
from holdfast.bench.grid import Cell, Job, Scope
from holdfast.bench.plan import Plan, stored_plan
from holdfast.bench.recipe import Recipe
from holdfast.bench.statistics import LEVEL
from holdfast.bench.table import Entry, make_table

PRINTED = {  # row of the study: recipe and row of the papers' tables, with what the gain is over
    "l2_sp": [("li2018-table2", "l2_sp"), ("wan2019-table2", "l2_sp"), ("wan2019-table3", "l2_sp")],
    "l2_sp_fisher": [("li2018-table2", "l2_sp_fisher")],
    "ptr": [("zhong2020-table1", "ptr_smooth_l1")],
    "fnp": [("zhong2020-table2", "fnp"), ("zhong2020-table3", "fnp"), ("zhong2020-table4", "fnp")],
    "rifle": [("li2020-table1", "l2_rifle")],
    "rifle+l2_sp": [("li2020-table1", "l2_sp_rifle")],
    "know_dist": [("wan2019-table2", "know_dist"), ("wan2019-table3", "know_dist")],
    "dtnh(l2_sp)": [("wan2019-table2", "dtnh_l2_sp"), ("wan2019-table3", "dtnh_l2_sp")],
    "dtnh(know_dist)": [("wan2019-table2", "dtnh_know_dist"), ("wan2019-table3", "dtnh_know_dist")],
    "pairwise_confusion": [("zhong2020-table2", "pc"), ("zhong2020-table3", "pc")],
    "lwf": [("zhong2020-table2", "lwf"), ("zhong2020-table4", "lwf")],
}


def claims_table() -> str:
    """For each row of the study the gains that the papers' tables hold: how many, mean, least, most."""
    lines = [
        "| method | table | gain over | columns | mean gain, points | least to most |",
        "|---|---|---|---|---|---|",
    ]
    for label, places in PRINTED.items():
        for name, row in places:
            recipe = load(name)[1]
            gains = list(printed_gains(recipe, row))
            against = recipe.methods[recipe.against(row) or row]
            lines.append(
                f"| `{label}` | `{name}` | {against.label or recipe.against(row)} | {len(gains)} "
                f"| {sum(gains) / len(gains):+.2f} | {min(gains):+.2f} to {max(gains):+.2f} |"
            )
    return "\n".join(lines)


def study_table(folder: Path) -> str:
    """The table of a folder's results: cells with runs, then the names of those without."""
    plan = stored_plan(load(folder.name)[1], Scope(), folder)
    table = make_table(plan)
    begun = replace(table, entries=[entry for entry in table.entries if entry.values], notes=())
    waiting: dict[str, list[str]] = defaultdict(list)
    for entry in table.entries:
        if entry.asked and not entry.values:
            waiting[entry.column].append(entry.label)
    lines = [f"- {column}: {', '.join(labels)}" for column, labels in waiting.items()]
    parts = [FORMATS["md"](begun)]
    trials, final = list(failed(plan, list(plan.trials()))), list(failed(plan, list(plan.final())))
    parts += [f"Trials that failed: {'; '.join(trials)}.\n"] if trials else []
    parts += [f"Final runs that failed, and count in no mean: {'; '.join(final)}.\n"] if final else []
    parts += ["Not run yet:", "", *lines] if lines else []
    return "\n".join(parts)


def summary_table(folder: Path, columns: Mapping[str, str]) -> str:
    """Rows with runs in all of these columns: accuracy, gain and likelihood in each.

    Args:
        folder: of the results.
        columns: of the recipe, with what a reader calls them.
    """
    table = make_table(stored_plan(load(folder.name)[1], Scope(), folder))
    places = {(entry.row, entry.column): entry for entry in table.entries if entry.values}
    heads = [part for name in columns.values() for part in (f"{name}, %", "gain, 95 % interval", "NLL")]
    lines = [f"| method | {' | '.join(heads)} |", f"|---{'|---' * len(heads)}|"]
    for row in dict.fromkeys(row for row, _ in places):
        of_row = [places.get((row, column)) for column in columns]
        found = [entry for entry in of_row if entry is not None]
        if len(found) == len(columns):
            lines.append(f"| `{found[0].label}` | {' | '.join(part for entry in found for part in in_short(entry))} |")
    return "\n".join(lines)


def in_short(entry: Entry) -> tuple[str, str, str]:
    """Accuracy, gain and likelihood of a cell; a gain beyond chance is bold."""
    spread = "" if entry.std is None else f" ± {entry.std:.1f}"
    gain = "" if entry.gain is None else f"{entry.gain.mean:+.1f} ({entry.gain.low:+.1f} to {entry.gain.high:+.1f})"
    nll = entry.beside.get("nll")
    settled = entry.p is not None and entry.p < LEVEL
    return (
        f"{entry.mean:.1f}{spread}" + ("" if entry.complete else f", {len(entry.values)} runs"),
        f"**{gain}**" if settled else gain,
        "" if nll is None else f"{nll.mean:.2f}{nll.arrow}",
    )


def beside_table(folder: Path) -> str:
    """Differences in likelihood and calibration of a folder's rows, for the cells where any was measured."""
    table = make_table(stored_plan(load(folder.name)[1], Scope(), folder))
    heads = [f"{name}, 95 % interval | p (Holm)" for name in ("NLL, difference", "ECE, difference in points")]
    lines = [f"| column | method | {' | '.join(heads)} |", "|---" * 6 + "|"]
    for entry in table.entries:
        cells = [compared(entry.beside.get(name), factor) for name, factor in (("nll", 1), ("ece", 100))]
        if any(cells):
            lines.append(f"| {entry.column} | {entry.label} | {' | '.join(cell or ' | ' for cell in cells)} |")
    return "\n".join(lines)


def compared(figure: Beside | None, factor: float) -> str | None:
    """A difference with its interval, and its corrected probability, as two cells."""
    if figure is None or figure.difference is None or figure.p is None:
        return None
    mean, low, high = (
        factor * value for value in (figure.difference.mean, figure.difference.low, figure.difference.high)
    )
    digits = 3 if factor == 1 else 1
    return f"{mean:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f}) | {probability(figure.p)}"


def curvature_table(file: Path) -> str:
    """What benchmarks/curvature.py found: the largest eigenvalue of each penalty, and the strengths that rates bear."""
    found = json.loads(file.read_text(encoding="utf-8"))["penalties"]
    rates = list(next(iter(found.values()))["largest_strength_at_rate"])
    heads = ["penalty, at strength 1", "largest eigenvalue", *(f"strength borne at {rate}" for rate in rates)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for text, each in found.items():
        borne = (f"{each['largest_strength_at_rate'][rate]:.2g}" for rate in rates)
        lines.append(f"| `{text}` | {each['largest_eigenvalue']:.3g} | {' | '.join(borne)} |")
    return "\n".join(lines)


def repeats_table(first: Path, again: Path) -> str:
    """Runs done once more by ``holdfast bench repeat --out``, some of them twice: what they gave, and their seconds."""
    passes = [json.loads(file.read_text(encoding="utf-8"))["runs"] for file in (first, again)]
    seconds = [{run["row"]: f"{run['after']['seconds']:.0f}" for run in runs} for runs in passes]
    lines = [
        "| method | accuracy, % | once more | figures that differ | seconds | in a second pass |",
        "|---" * 6 + "|",
    ]
    for run in passes[0]:
        then, now = (100 * run[which]["test.accuracy"] for which in ("before", "after"))
        differing = ", ".join(run["differing"]) or "none"
        cells = [
            f"{run['row']}: `{run['method']}`",
            f"{then:.2f}",
            f"{now:.2f}",
            differing,
            *(row.get(run["row"], "") for row in seconds),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def choices_table(folder: Path) -> str:
    """What the trials chose for each cell with runs, and the validation accuracies of the best and the second."""
    plan = stored_plan(load(folder.name)[1], Scope(), folder)
    lines = ["| column | method | body rate | head rate | batch norm | strength | best trial, % | second, % |"]
    lines.append("|---" * 8 + "|")
    for cell in plan.tuner.cells():
        chosen = plan.tuner.chosen(cell)
        if chosen is None or chosen.values is None:
            continue
        values = dict(chosen.values)
        rates = [f"{values.pop(name):g}" for name in ("lr", "head_lr")] + [str(values.pop("bn"))]
        strength = ", ".join(f"{name} {value:g}" for name, value in values.items())
        scores = [plan.tuner.score(trial) for trial in plan.tuner.jobs(cell) if isinstance(trial, list)]
        best = sorted((100 * score[0] for score in scores if score is not None), reverse=True)
        label = plan.grid.recipe.methods[cell.row].label or cell.row
        second = f"{best[1]:.1f}" if len(best) > 1 else ""
        lines.append(f"| {cell.column} | {label} | {' | '.join(rates)} | {strength} | {best[0]:.1f} | {second} |")
    return "\n".join(lines)


def failed(plan: Plan, jobs: Sequence[Job]) -> Iterator[str]:
    """Cells that lost some of these runs: how many of how many, and why."""
    cells: dict[Cell, list[Job]] = defaultdict(list)
    for job in jobs:
        cells[job.cell].append(job)
    for cell, of_cell in cells.items():
        reasons = [reason.partition(";")[0] for job in of_cell if (reason := plan.store.reason(job.name)) is not None]
        if reasons:
            label = plan.grid.recipe.methods[cell.row].label or cell.row
            yield f"{label} in {cell.column} {len(reasons)} of {len(of_cell)} ({', '.join(dict.fromkeys(reasons))})"


def figures(folder: Path) -> str:
    """What the finding in a folder says, and its figures with their captions, as a page beside the folder has them."""
    content = json.loads((folder / "gains.json").read_text(encoding="utf-8"))
    parts = ["\n".join(f"- {told}" for told in content["data"]["columns"].values())]
    for each in content["figures"]:
        parts += [f"![{each['label']}]({folder.name}/{each['png']})", each["caption"]]
    return "\n\n".join(parts)


def printed_gains(recipe: Recipe, row: str) -> Iterator[float]:
    """Gains of a row as printed, or as the difference of printed accuracies."""
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for figure in recipe.published:
        if figure.metric == "accuracy" and figure.value is not None:
            values[figure.column][figure.row] = figure.value
    for figure in recipe.published:
        if figure.row != row or figure.metric != "accuracy":
            continue
        base = figure.baseline if figure.baseline is not None else values[figure.column].get(recipe.against(row) or "")
        if figure.value is not None and base is not None:
            yield figure.value - base
        elif figure.gain is not None:
            yield figure.gain

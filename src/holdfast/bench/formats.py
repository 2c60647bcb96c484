"""A table as Markdown, CSV, LaTeX or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from holdfast.bench.beside import COMPARED
from holdfast.bench.recipe import Printed
from holdfast.bench.table import Comparison, Entry, finite

HEADINGS = (
    "column",
    "method",
    "runs",
    "{metric}, %",
    "gain, points",
    "95 % interval",
    "p (Holm)",
    "errors avoided, %",
    "NLL",
    "ECE, %",
    "s/run",
    "published",
    "difference",
)
_ARROWS = str.maketrans({"\N{DOWNWARDS ARROW}": r"$\downarrow$", "\N{UPWARDS ARROW}": r"$\uparrow$"})
_ALWAYS = 4  # these first ones are shown where they are empty too


def as_markdown(table: Comparison) -> str:
    """A pipe table with its title and notes."""
    headings, *rows = _filled(table)
    lines = [f"**{table.title}**", "", _pipes(headings), _pipes(["---"] * len(headings))]
    lines += [_pipes(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "\n".join([*lines, "", *(f"- {note}" for note in table.notes)]).rstrip() + "\n"


def as_csv(table: Comparison) -> str:
    """One line for each cell, numbers unrounded; an empty field is unknown."""
    text = io.StringIO()
    records = [_record(entry) for entry in table.entries]
    writer = csv.DictWriter(text, list(records[0]) if records else ["row"], lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: json.dumps(v) if isinstance(v, dict) else v for name, v in record.items()})
    return text.getvalue()


def as_latex(table: Comparison) -> str:
    """A ``tabular`` with booktabs' rules, the notes as comments."""
    head, *rows = [" & ".join(_escaped(cell) for cell in row) + r" \\" for row in _filled(table)]
    lines = [f"% {table.title}", *(f"% {note}" for note in table.notes)]
    columns = len(_filled(table)[0])
    lines += [rf"\begin{{tabular}}{{ll{'r' * (columns - 2)}}}", r"\toprule", head, r"\midrule", *rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def as_json(table: Comparison) -> str:
    """Title, metric, cells and notes, numbers unrounded."""
    content = {"title": table.title, "metric": table.metric, "cells": [_record(e) for e in table.entries]}
    return json.dumps({**content, "notes": list(table.notes)}, indent=1, ensure_ascii=False) + "\n"


FORMATS: dict[str, Callable[[Comparison], str]] = {
    "md": as_markdown,
    "csv": as_csv,
    "latex": as_latex,
    "json": as_json,
}


def _filled(table: Comparison) -> list[list[str]]:
    """Headings, then rows, without the columns that nothing stands in."""
    headings = [heading.format(metric=table.metric.replace("_", " ")) for heading in HEADINGS]
    rows = [_cells(entry) for entry in table.entries]
    kept = [place for place in range(len(HEADINGS)) if place < _ALWAYS or any(row[place] for row in rows)]
    return [[row[place] for place in kept] for row in (headings, *rows)]


def _cells(entry: Entry) -> list[str]:
    """A row of the table in words."""
    gain = entry.gain
    interval = f"{gain.low:+.2f} to {gain.high:+.2f}" if gain is not None else ""
    return [
        entry.column,
        entry.label if entry.method in (None, entry.label) else f"{entry.label}: {entry.method}",
        _runs(entry),
        _with_spread(entry.mean, entry.std),
        "" if gain is None else f"{gain.mean:+.2f}",
        interval,
        "" if entry.p is None else probability(entry.p),
        "" if entry.error_reduction is None else f"{entry.error_reduction:.1f}",
        _beside(entry, "nll", 3),
        _beside(entry, "ece", 1, factor=100),
        _beside(entry, "seconds", 0),
        published(entry.published, entry.metric),
        "" if entry.difference is None else f"{entry.difference:+.2f}",
    ]


def _runs(entry: Entry) -> str:
    if not entry.asked:
        return ""
    return f"{len(entry.values)}" if entry.complete else f"{len(entry.values)} of {entry.asked}*"


def _beside(entry: Entry, name: str, digits: int, factor: float = 1) -> str:
    figure = entry.beside.get(name)
    return "" if figure is None else f"{factor * figure.mean:.{digits}f}{figure.arrow}"


def _with_spread(value: float | None, std: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if std is None else f"{value:.2f} ± {std:.2f}"


def probability(p: float) -> str:
    """With three digits; a smaller one as such."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def published(printed: Printed | None, metric: str) -> str:
    """The published figure, its gain, and what it measures where that is not ``metric``."""
    if printed is None:
        return ""
    said = [] if printed.value is None else [_with_spread(printed.value, printed.std)]
    said += [printed.metric.replace("_", " ")] if printed.metric != metric else []
    if printed.gain is not None:
        said.append(f"gain {printed.gain:+.2f}")
    if printed.origin == "quoted":
        said.append("quoted")
    return ", ".join(said) + (" ?" if printed.doubtful else "")


def _record(entry: Entry) -> dict[str, Any]:
    """All that is known of a cell."""
    gain, printed = entry.gain, entry.published
    numbers = {
        "mean": entry.mean,
        "std": entry.std,
        "gain": None if gain is None else gain.mean,
        "gain_low": None if gain is None else gain.low,
        "gain_high": None if gain is None else gain.high,
        "p": None if gain is None else gain.p,
        "p_holm": entry.p,
        "error_reduction": entry.error_reduction,
        "difference": entry.difference,
        **{name: entry.beside[name].mean if name in entry.beside else None for name in (*COMPARED, "seconds")},
        **{name: value for figure in COMPARED for name, value in _difference(entry, figure).items()},
    }
    names = ("row", "column", "label", "method", "asked", "failed", "trials", "against", "part")
    every = asdict(entry)
    return {
        **{name: every[name] for name in names},
        "runs": len(entry.values),
        "pairs": 0 if gain is None else gain.pairs,
        **{name: finite(value) for name, value in numbers.items()},
        "published": None if printed is None else printed.value,
        "published_std": None if printed is None else printed.std,
        "published_gain": None if printed is None else printed.gain,
        "published_origin": None if printed is None else printed.origin,
        "values": {str(seed): value for seed, value in entry.values.items()},
    }


def _difference(entry: Entry, name: str) -> dict[str, float | None]:
    """How a further figure differs from that of the row measured against; less is better."""
    figure = entry.beside.get(name)
    gap = None if figure is None else figure.difference
    return {
        f"{name}_difference": None if gap is None else gap.mean,
        f"{name}_low": None if gap is None else gap.low,
        f"{name}_high": None if gap is None else gap.high,
        f"{name}_p_holm": None if figure is None else figure.p,
    }


def _pipes(cells: Sequence[str] | Any) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    for plain, escaped in (("\\", r"\textbackslash "), *((mark, f"\\{mark}") for mark in "&%$#_{}")):
        text = text.replace(plain, escaped)
    return text.replace("±", r"$\pm$").replace("²", "$^2$").replace("<", "$<$").translate(_ARROWS)

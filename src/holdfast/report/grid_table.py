"""The bench's table as tables of a page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from holdfast.bench.formats import published
from holdfast.bench.table import Comparison, Entry
from holdfast.report.measures import DASH, Measure, fixed, measure
from holdfast.report.parts import Cell, Table, number_cell

_BESIDE = {"nll": "NLL (nats)", "ece": "ECE (%)", "seconds": "time (s)"}


def column_table(entries: Sequence[Entry], what: Measure) -> Table:
    """The entries of a column as ``holdfast bench table`` has them: figure, gain, published figure."""
    beside = [name for name in _BESIDE if any(name in entry.beside for entry in entries)]
    printed = any(entry.published is not None for entry in entries)
    columns = [
        "method",
        "runs",
        what.axis,
        "gain (points)",
        "95 % interval",
        "p (Holm)",
        "errors avoided (%)",
        *(_BESIDE[name] for name in beside),
        *(("published (%)", "difference (points)") if printed else ()),
    ]
    over = dict.fromkeys(entry.against for entry in entries if entry.gain is not None)
    base = f"; gains over {' or '.join(map(str, over))}" if over else ""
    short = "; * fewer runs than were asked for" if any(not entry.complete for entry in entries) else ""
    caption = f"Mean ± standard deviation over runs{base}{short}"
    return Table(caption, columns, [_row(entry, beside, printed=printed) for entry in entries])


def _row(entry: Entry, beside: Sequence[str], *, printed: bool) -> list[Cell]:
    name = entry.label if entry.method in (None, entry.label) else f"{entry.label}: {entry.method}"
    runs = "" if not entry.asked else f"{len(entry.values)}" + ("" if entry.complete else f" of {entry.asked}*")
    gain = entry.gain
    interval = DASH if gain is None else f"{_signed(gain.low)} to {_signed(gain.high)}"
    spread = fixed(_key(entry.mean), 2) + ("" if entry.std is None else f" ± {fixed(entry.std, 2)}")
    return [
        Cell(name),
        number_cell(runs, len(entry.values)),
        number_cell(spread, _key(entry.mean)),
        number_cell(_signed(None if gain is None else gain.mean), _key(None if gain is None else gain.mean)),
        number_cell(interval, _key(None if gain is None else gain.low)),
        number_cell(_probability(entry.p), _key(entry.p)),
        number_cell(fixed(_key(entry.error_reduction), 1), _key(entry.error_reduction)),
        *(_beside(entry, key) for key in beside),
        *(_printed(entry) if printed else ()),
    ]


def _printed(entry: Entry) -> tuple[Cell, Cell]:
    figure = entry.published
    value = number_cell(published(figure, entry.metric) or DASH, _key(None if figure is None else figure.value))
    return value, number_cell(_signed(entry.difference), _key(entry.difference))


def _beside(entry: Entry, name: str) -> Cell:
    figure = entry.beside.get(name)
    value, arrow = (math.nan, "") if figure is None else (figure.mean, figure.arrow)
    return number_cell(f"{measure(name if name == 'seconds' else f'test.{name}').number(value)}{arrow}", value)


def _key(value: float | None) -> float:
    return math.nan if value is None else value


def _signed(value: float | None) -> str:
    shown = fixed(_key(value), 2)
    return f"+{shown}" if value is not None and value >= 0 else shown


def _probability(p: float | None) -> str:
    return DASH if p is None else "< 0.001" if p < 0.001 else fixed(p, 3)


def overview_table(table: Comparison, columns: Sequence[str]) -> Table:
    """Rows by columns: mean, and the gain in brackets."""
    places = {(entry.row, entry.column): entry for entry in table.entries}
    rows = []
    for row in dict.fromkeys(entry.row for entry in table.entries):
        of_row = [places.get((row, column)) for column in columns]
        label = next(entry.label for entry in of_row if entry is not None)
        rows.append([Cell(label), *(_place(entry) for entry in of_row)])
    metric = table.metric.replace("_", " ")
    return Table(f"Mean {metric} in per cent, in brackets the paired gain in points", ("method", *columns), rows)


def _place(entry: Entry | None) -> Cell:
    if entry is None or not entry.asked:
        return number_cell(DASH, math.nan)
    gain = "" if entry.gain is None else f" ({_signed(entry.gain.mean)})"
    return number_cell(f"{fixed(_key(entry.mean), 2)}{gain}{'' if entry.complete else '*'}", _key(entry.mean))

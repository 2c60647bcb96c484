"""The learning curves of one run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from holdfast.report.figures import Line, curves
from holdfast.report.measures import measure
from holdfast.report.palette import GREY, Colour
from holdfast.report.parts import Figure
from holdfast.report.records import RunRecord

# Columns of metrics.csv that share a figure: vertical axis, then column, legend and whether it is the training part.
_PANELS = (
    ("loss (nats)", (("train.loss", "training", True), ("val.loss", "validation", False))),
    ("negative log-likelihood (nats)", (("val.nll", "validation", False),)),
    ("accuracy (%)", (("train.accuracy", "training", True), ("val.accuracy", "validation", False))),
    ("learning rate", (("lr", "body", False), ("head_lr", "head", True))),
)


def run_curves(record: RunRecord, own: Colour, prefix: str = "") -> Iterator[Figure]:
    """A figure for each group of columns of ``metrics.csv``, in the method's colour; ``prefix`` begins their names."""
    panels: list[tuple[str, Sequence[tuple[str, str, bool]]]] = list(_PANELS)
    taken = {"epoch", "seconds"} | {column for _, columns in _PANELS for column, _, _ in columns}
    extra = dict.fromkeys(key for row in record.metrics for key in row if key not in taken)
    panels += [(measure(key).axis, ((key, key, False),)) for key in extra]
    for number, (axis, columns) in enumerate(panels):
        lines = []
        for column, legend, training in columns:
            epochs, values = _series(record.metrics, column)
            if epochs:
                lines.append(Line(legend, epochs, values, GREY if training else own, dashed=training))
        repeated = columns[0][0] == "val.nll" and lines and lines[0].values == _series(record.metrics, "val.loss")[1]
        if lines and not repeated:
            kept = _kept(record)
            svg = curves(lines, axis, name=f"{prefix}curve-{number}", label=_label(axis, lines), mark=kept)
            names = " and ".join(line.name for line in lines) if len(lines) > 1 or axis != lines[0].name else ""
            yield Figure(svg, _caption(axis, names, kept))


def _caption(axis: str, names: str, kept: float | None) -> str:
    of = f", {names}" if names else ""
    marked = f" The dotted line marks epoch {kept:g}, whose weights were kept." if kept is not None else ""
    return f"By epoch: {axis}{of}; one run.{marked}"


def _series(metrics: Sequence[Mapping[str, float]], column: str) -> tuple[list[float], list[float]]:
    factor = measure(column).factor
    rows = [row for row in metrics if math.isfinite(row.get(column, math.nan))]
    return [row["epoch"] for row in rows], [factor * row[column] for row in rows]


def _label(axis: str, lines: Sequence[Line]) -> str:
    parts = [f"{line.name} from {line.values[0]:.4g} to {line.values[-1]:.4g}" for line in lines]
    last = max(line.epochs[-1] for line in lines)
    return f"Curves of {axis} up to epoch {last:g}: {'; '.join(parts)}"


def _kept(record: RunRecord) -> float | None:
    kept = record.result.get("kept_epoch", record.result.get("best_epoch"))
    return float(kept) if isinstance(kept, int | float) else None

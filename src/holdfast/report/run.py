"""The page of one run: ``report.html`` in its folder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.report.figures import Line, confusion_matrix, curves, reliability_diagram
from holdfast.report.gallery import pictures
from holdfast.report.measures import duration, fixed, measure
from holdfast.report.page import Cell, Figure, Table, number_cell, render, write_page
from holdfast.report.palette import GREY, method_colour
from holdfast.report.quality import (
    class_scores,
    confident_mistakes,
    confused_pairs,
    confusion,
    reliability,
    wilson,
)
from holdfast.report.records import RunRecord, read_run

REPORT = "report.html"
# Columns of metrics.csv that share a figure: vertical axis, then column, legend and whether it is the training part.
_PANELS = (
    ("loss (nats)", (("train.loss", "training", True), ("val.loss", "validation", False))),
    ("negative log-likelihood (nats)", (("val.nll", "validation", False),)),
    ("accuracy (%)", (("train.accuracy", "training", True), ("val.accuracy", "validation", False))),
    ("learning rate", (("lr", "body", False), ("head_lr", "head", True))),
)
_FACTS = (
    "test.accuracy",
    "test.mean_class_accuracy",
    "test.nll",
    "test.ece",
    "val.accuracy",
    "seconds",
    "peak_memory_mb",
)
_FOLD = 25  # tables with more rows start closed


def write_run_report(run: Path) -> Path:
    """Write ``report.html`` into a finished run's folder and return its path.

    The page needs nothing but itself: figures, pictures, styles and script are inside. What a run folder lacks is
    named on the page; pictures are looked for below the ``data`` folder of the settings.

    Raises:
        DataError: no such folder, no ``result.json`` in it, or a file that cannot be parsed.
    """
    run = Path(run)
    record = read_run(run)
    content = _tested(record) if record.predictions else {"tested": False}
    html = render(
        "run.html",
        title=_title(record),
        lead=_lead(record),
        facts=list(_facts(record)),
        notes=[*record.notes, *_disagreement(record)],
        curves=list(_curves(record)),
        settings=_settings(record),
        figures_table=_figures_table(record),
        **content,
    )
    return write_page(run / REPORT, html)


def _name(record: RunRecord, key: str, otherwise: str) -> str:
    value = record.settings.get(key)
    return str(value) if value not in (None, "") else otherwise


def _dataset(record: RunRecord) -> str:
    return Path(_name(record, "data", "unnamed data")).name


def _title(record: RunRecord) -> str:
    return f"{_name(record, 'model', 'a network')} on {_dataset(record)}"


def _lead(record: RunRecord) -> list[str]:
    method = _name(record, "method", "plain")
    how = "plain fine-tuning" if method == "plain" else f"fine-tuning with {method}"
    classes = f" to {len(record.classes)} classes" if record.classes else ""
    trained = record.result.get("train.images", record.result.get("images.train"))
    images = f", {int(trained)} training images" if isinstance(trained, int) else ""
    epochs = f", {len(record.metrics)} epochs" if len(record.metrics) > 1 else ""
    seed = record.settings.get("seed")
    drawn = f", seed {seed}" if seed is not None else ""
    first = f"{_name(record, 'model', 'A network')}, {how}{classes} of {_dataset(record)}{images}{epochs}{drawn}."
    return [first, _accuracy_sentence(record)]


def _accuracy_sentence(record: RunRecord) -> str:
    total = len(record.predictions)
    accuracy = record.result.get("test.accuracy")
    if not total:
        known = "" if accuracy is None else f"Test accuracy {measure('test.accuracy').text(accuracy)}; "
        return f"{known}without the single predictions no interval can be given."
    right = sum(item.right for item in record.predictions)
    low, high = wilson(right, total)
    return (
        f"{right} of {total} test images are classified correctly: {fixed(100 * right / total, 1)} %. The 95 % Wilson "
        f"interval for that many images runs from {fixed(100 * low, 1)} to {fixed(100 * high, 1)} %. It covers the "
        "draw of the test images alone, not that of the training images or the seed."
    )


def _disagreement(record: RunRecord) -> list[str]:
    """A note where the stored accuracy is not that of the stored predictions: one of the files is not of this run."""
    stored, total = record.result.get("test.accuracy"), len(record.predictions)
    if not total or not isinstance(stored, int | float):
        return []
    found = sum(item.right for item in record.predictions) / total
    # Less than half an image apart is rounding.
    if abs(stored - found) * total < 0.5:
        return []
    what = measure("test.accuracy")
    return [f"result.json says {what.text(stored)} test accuracy, the rows of predictions.csv {what.text(found)}."]


def _facts(record: RunRecord) -> Iterator[tuple[str, str]]:
    for key in _FACTS:
        value = record.result.get(key)
        if not isinstance(value, int | float):
            continue
        shown = duration(value) if key == "seconds" else measure(key).text(value)
        if key == "test.accuracy" and record.predictions:
            low, high = wilson(sum(item.right for item in record.predictions), len(record.predictions))
            shown += f" ({fixed(100 * low, 1)} to {fixed(100 * high, 1)} %)"
        yield _capital(measure(key).label), shown


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _curves(record: RunRecord) -> Iterator[Figure]:
    own = method_colour(_name(record, "method", "plain"))
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
            svg = curves(lines, axis, name=f"curve-{number}", label=_curve_label(axis, lines), mark=kept)
            names = " and ".join(line.name for line in lines) if len(lines) > 1 or axis != lines[0].name else ""
            yield Figure(svg, _curve_caption(axis, names, kept))


def _curve_caption(axis: str, names: str, kept: float | None) -> str:
    of = f", {names}" if names else ""
    marked = f" The dotted line marks epoch {kept:g}, whose weights were kept." if kept is not None else ""
    return f"By epoch: {axis}{of}; one run.{marked}"


def _series(metrics: Sequence[Mapping[str, float]], column: str) -> tuple[list[float], list[float]]:
    factor = measure(column).factor
    rows = [row for row in metrics if math.isfinite(row.get(column, math.nan))]
    return [row["epoch"] for row in rows], [factor * row[column] for row in rows]


def _curve_label(axis: str, lines: Sequence[Line]) -> str:
    parts = [f"{line.name} from {line.values[0]:.4g} to {line.values[-1]:.4g}" for line in lines]
    last = max(line.epochs[-1] for line in lines)
    return f"Curves of {axis} up to epoch {last:g}: {'; '.join(parts)}"


def _kept(record: RunRecord) -> float | None:
    kept = record.result.get("kept_epoch", record.result.get("best_epoch"))
    return float(kept) if isinstance(kept, int | float) else None


def _tested(record: RunRecord) -> dict[str, Any]:
    counts = confusion(record.predictions, record.classes)
    pairs = confused_pairs(counts, record.classes)
    wrong = int(counts.sum() - counts.trace())
    worst = f"; the commonest mistake: {pairs[0].true} taken for {pairs[0].predicted}" if pairs else ""
    matrix = confusion_matrix(
        counts,
        record.classes,
        name="confusion",
        label=f"Confusion matrix of {len(record.classes)} classes: {wrong} of {counts.sum()} test images off the "
        f"diagonal{worst}. The tables below give the numbers.",
    )
    mistakes = confident_mistakes(record.predictions)
    return {
        "tested": True,
        "confusion": [Figure(matrix, _matrix_caption(record), wide=True)],
        "pairs": _pairs_table(pairs),
        "per_class": _class_table(record, counts),
        "gallery": pictures(mistakes, Path(_name(record, "data", "."))) if mistakes else [],
        "gallery_lead": f"The {len(mistakes)} of {wrong} wrongly classified test images that the network was surest "
        "of: what it said, with which probability, and what the label says. Some may be labelled wrongly.",
        "calibration": list(_calibration(record)),
    }


def _matrix_caption(record: RunRecord) -> str:
    total = len(record.predictions)
    return (
        f"Rows: true class; columns: predicted class. The stronger a cell's colour, the larger its share of the row. "
        f"{total} test images, one run."
    )


def _pairs_table(pairs: Sequence[Any]) -> Table:
    rows = [
        [
            Cell(pair.true),
            Cell(pair.predicted),
            number_cell(str(pair.count), pair.count),
            number_cell(str(pair.total), pair.total),
            number_cell(fixed(100 * pair.count / pair.total, 1), pair.count / pair.total),
        ]
        for pair in pairs
    ]
    columns = ("true class", "taken for", "images", "of the class's", "share (%)")
    return Table("The most confused pairs of classes", columns, rows)


def _class_table(record: RunRecord, counts: Any) -> Table:
    rows = [
        [
            Cell(score.name),
            number_cell(str(score.total), score.total),
            number_cell(fixed(100 * score.recall, 1), score.recall),
            number_cell(fixed(100 * score.precision, 1), score.precision),
            Cell(score.mistaken_for),
        ]
        for score in class_scores(counts, record.classes)
    ]
    columns = ("class", "test images", "recognised (%)", "right when named (%)", "most often taken for")
    return Table(f"Each of the {len(rows)} classes", columns, rows, folded=len(rows) > _FOLD)


def _calibration(record: RunRecord) -> Iterator[Figure]:
    bins = reliability(record.predictions)
    parts = [f"{fixed(100 * b.confidence, 0)} % sure, {fixed(100 * b.right / b.total, 0)} % right" for b in bins]
    svg = reliability_diagram(bins, name="calibration", label=f"Reliability diagram: {'; '.join(parts)}")
    ece = record.result.get("test.ece")
    error = f" Expected calibration error: {measure('test.ece').text(ece)}." if isinstance(ece, int | float) else ""
    yield Figure(
        svg,
        f"Test images grouped by the probability of the predicted class, with 95 % Wilson intervals; larger dots stand "
        f"for more of the {len(record.predictions)} images. On the dashed line a network is right as often as it "
        f"says; below it, it is too sure of itself.{error}",
    )


def _settings(record: RunRecord) -> Table:
    rows = [[Cell(key), Cell(value)] for key, value in flatten(record.settings)]
    return Table("Settings", ("setting", "value"), rows)


def _figures_table(record: RunRecord) -> Table:
    rows = [[Cell(key), Cell(value)] for key, value in flatten(record.result)]
    return Table("Everything in result.json", ("figure", "value"), rows, folded=True)


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as pairs of a dotted key and a text."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _text(value)


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)

"""The page of one run: ``report.html`` in its folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from holdfast.report.answers import answers_of, calibration_figure, confusion_parts, mistakes_parts
from holdfast.report.flat import flatten
from holdfast.report.history import run_curves
from holdfast.report.measures import duration, fixed, measure
from holdfast.report.page import REPORT, render, write_page
from holdfast.report.palette import method_colour
from holdfast.report.parts import Cell, Facts, Figures, Notes, Part, Section, Table
from holdfast.report.quality import wilson
from holdfast.report.records import RunRecord, read_run

_FACTS = (
    "test.accuracy",
    "test.mean_class_accuracy",
    "test.nll",
    "test.ece",
    "val.accuracy",
    "seconds",
    "peak_memory_mb",
)


def write_run_report(run: Path) -> Path:
    """Write ``report.html`` into a finished run's folder and return its path.

    The page needs nothing but itself: figures, pictures, styles and script are inside. What a run folder lacks is
    named on the page; pictures are looked for below the ``data`` folder of the settings.

    Raises:
        DataError: no such folder, no ``result.json`` in it, or a file that cannot be parsed.
    """
    record = read_run(Path(run))
    closing = Section("settings", "Settings and versions", list(run_settings(record)))
    html = render(run_title(record), run_lead(record), [*run_sections(record), closing])
    return write_page(record.folder / REPORT, html)


def run_title(record: RunRecord) -> str:
    """The network and the data."""
    return f"{_named(record, 'model', 'a network')} on {_dataset(record)}"


def method_of(record: RunRecord) -> str:
    """The text form of a run's method."""
    return _named(record, "method", "plain")


def _named(record: RunRecord, key: str, otherwise: str) -> str:
    value = record.settings.get(key)
    return str(value) if value not in (None, "") else otherwise


def _dataset(record: RunRecord) -> str:
    return Path(_named(record, "data", "unnamed data")).name


def run_lead(record: RunRecord) -> list[str]:
    """Which method, on what, and how sure, in two paragraphs."""
    method = method_of(record)
    how = "plain fine-tuning" if method == "plain" else f"fine-tuning with {method}"
    classes = f" to {len(record.classes)} classes" if record.classes else ""
    trained = record.result.get("train.images", record.result.get("images.train"))
    images = f", {int(trained)} training images" if isinstance(trained, int) else ""
    epochs = f", {len(record.metrics)} epochs" if len(record.metrics) > 1 else ""
    seed = record.settings.get("seed")
    drawn = f", seed {seed}" if seed is not None else ""
    first = f"{_named(record, 'model', 'A network')}, {how}{classes} of {_dataset(record)}{images}{epochs}{drawn}."
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


def run_sections(record: RunRecord, prefix: str = "") -> Iterator[Section]:
    """The sections of a run, its settings excepted.

    Args:
        record: the run.
        prefix: of the identifiers, such as ``run-3-`` where a page shows several.
    """
    notes = Notes([*record.notes, *_disagreement(record)])
    yield Section(f"{prefix}summary", "Result", [Facts(list(_facts(record))), notes])
    if shown := list(run_curves(record, method_colour(method_of(record)), prefix)):
        yield Section(f"{prefix}curves", "Learning curves", [Figures(shown)])
    answers = answers_of([record])
    if answers is None:
        return
    matrix = list(confusion_parts(answers, f"{prefix}matrix"))
    yield Section(f"{prefix}confusion", "What is taken for what", matrix)
    yield Section(f"{prefix}mistakes", "Most confident mistakes", list(mistakes_parts(answers)))
    diagram = Figures([calibration_figure(answers, f"{prefix}reliability")])
    yield Section(f"{prefix}calibration", "Calibration", [diagram])


def run_settings(record: RunRecord) -> Iterator[Part]:
    """The tables that stand at the end."""
    settings = [[Cell(key), Cell(value)] for key, value in flatten(record.settings)]
    yield Table("Settings", ("setting", "value"), settings)
    figures = [[Cell(key), Cell(value)] for key, value in flatten(record.result)]
    yield Table("Everything in result.json", ("figure", "value"), figures, folded=True)


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

"""What networks said of test images: confusion, mistakes, calibration, of one run or of a method's runs together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.bench.statistics import mean
from holdfast.report.figures import NUMBERED_CLASSES, confusion_matrix, reliability_diagram
from holdfast.report.gallery import Picture, pictures
from holdfast.report.measures import fixed, measure
from holdfast.report.parts import Cell, Figure, Figures, Gallery, Part, Table, Text, number_cell
from holdfast.report.quality import class_scores, confident_mistakes, confused_pairs, confusion, reliability
from holdfast.report.records import Prediction, RunRecord

FOLD = 25
"""Tables with more rows start closed."""
_NUMBERED_TOGETHER = 12  # a numbered matrix of thirty classes has the size of a page, and there is one per method


@dataclass(frozen=True)
class Answers:
    """The test predictions of one or several runs.

    Attributes:
        runs: one sequence of predictions per run.
        classes: names in the order of the labels.
        data: folder that the pictures lie in.
        ece: mean calibration error of the runs as a fraction, where they state it.
    """

    runs: Sequence[Sequence[Prediction]]
    classes: Sequence[str]
    data: Path
    ece: float | None

    @property
    def predictions(self) -> list[Prediction]:
        """Those of all runs."""
        return [item for run in self.runs for item in run]

    @property
    def alone(self) -> bool:
        """Whether there is one run only."""
        return len(self.runs) == 1

    @property
    def thing(self) -> str:
        """What is counted: several runs tell of the same images."""
        return "images" if self.alone else "predictions"

    @property
    def count(self) -> str:
        """How many predictions of how many runs, in words."""
        total = len(self.predictions)
        return (
            f"{total} test {self.thing}, one run"
            if self.alone
            else f"{total} test {self.thing} of {len(self.runs)} runs"
        )


def answers_of(records: Sequence[RunRecord]) -> Answers | None:
    """The answers of runs on the same data; None where no run has test predictions."""
    tested = [record for record in records if record.predictions]
    if not tested:
        return None
    errors = [e for record in tested if isinstance(e := record.result.get("test.ece"), int | float)]
    classes = dict.fromkeys(name for record in tested for name in record.classes)
    data = Path(str(tested[0].settings.get("data") or "."))
    return Answers([r.predictions for r in tested], list(classes), data, mean(errors) if errors else None)


def confusion_parts(answers: Answers, name: str) -> Iterator[Part]:
    """The matrix, the most confused pairs and every class's scores; ``name`` is the figure's, unique on the page."""
    classes, counts = answers.classes, confusion(answers.predictions, answers.classes)
    pairs = confused_pairs(counts, classes)
    wrong = int(counts.sum() - counts.trace())
    worst = f"; the commonest mistake: {pairs[0].true} taken for {pairs[0].predicted}" if pairs else ""
    matrix = confusion_matrix(
        counts,
        classes,
        name=name,
        label=f"Confusion matrix of {len(classes)} classes: {wrong} of {counts.sum()} test "
        f"{answers.thing} off the diagonal{worst}. The tables below give the numbers.",
        numbered=NUMBERED_CLASSES if answers.alone else _NUMBERED_TOGETHER,
    )
    caption = (
        "Rows: true class; columns: predicted class. The stronger a cell's colour, the larger its share of the row. "
        f"{answers.count}."
    )
    yield Figures([Figure(matrix, caption, wide=True)])
    if pairs:
        yield _pairs_table(pairs, answers.thing)
    yield _class_table(counts, classes, answers.thing)


def _pairs_table(pairs: Sequence[Any], thing: str) -> Table:
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
    columns = ("true class", "taken for", thing, "of the class's", "share (%)")
    return Table("The most confused pairs of classes", columns, rows)


def _class_table(counts: Any, classes: Sequence[str], thing: str) -> Table:
    rows = [
        [
            Cell(score.name),
            number_cell(str(score.total), score.total),
            number_cell(fixed(100 * score.recall, 1), score.recall),
            number_cell(fixed(100 * score.precision, 1), score.precision),
            Cell(score.mistaken_for),
        ]
        for score in class_scores(counts, classes)
    ]
    columns = ("class", f"test {thing}", "recognised (%)", "right when named (%)", "most often taken for")
    return Table(f"Each of the {len(rows)} classes", columns, rows, folded=len(rows) > FOLD)


def mistakes_parts(answers: Answers, most: int = 24) -> Iterator[Part]:
    """At most ``most`` pictures: of one run the surest mistakes, of several those that most runs make."""
    if answers.alone:
        mistakes, remarks = confident_mistakes(answers.predictions, most), None
    else:
        shared = shared_mistakes(answers.runs, most)
        mistakes, remarks = [item for item, _ in shared], [remark for _, remark in shared]
    if not mistakes:
        yield Text("No test image was classified wrongly.")
        return
    wrong = sum(not item.right for item in answers.predictions)
    yield Text(
        f"The {len(mistakes)} of {wrong} wrongly classified test images that the network was surest of: what it said, "
        "with which probability, and what the label says. Some may be labelled wrongly."
        if remarks is None
        else f"The {len(mistakes)} test images that most of the {len(answers.runs)} runs take for something else: what "
        "they say most often, with which mean probability, and what the label says. Some may be labelled wrongly."
    )
    shown = pictures(mistakes, answers.data)
    yield Gallery(
        shown if remarks is None else [Picture(p.prediction, p.source, r) for p, r in zip(shown, remarks, strict=True)]
    )


def shared_mistakes(runs: Sequence[Sequence[Prediction]], most: int) -> list[tuple[Prediction, str]]:
    """The images that the largest number of runs classify wrongly, with how many of the runs that saw them do.

    Of ties, those come first that the runs are surer of. The predicted class is the commonest wrong one, its
    probability the mean over the runs that name it.
    """
    said: dict[tuple[str, str], list[Prediction]] = {}
    for run in runs:
        for item in run:
            said.setdefault((item.path, item.true), []).append(item)
    found = []
    for (path, true), items in said.items():
        wrong = [item for item in items if not item.right]
        if wrong:
            name = Counter(item.predicted for item in wrong).most_common(1)[0][0]
            sure = mean([item.confidence for item in wrong if item.predicted == name])
            found.append(
                (len(wrong), Prediction(path, true, name, sure), f"wrong in {len(wrong)} of {len(items)} runs")
            )
    found.sort(key=lambda each: (-each[0], -each[1].confidence, each[1].path))
    return [(prediction, remark) for _, prediction, remark in found[:most]]


def calibration_figure(answers: Answers, name: str) -> Figure:
    """The reliability diagram; ``name`` is unique on the page."""
    bins = reliability(answers.predictions)
    parts = [f"{fixed(100 * b.confidence, 0)} % sure, {fixed(100 * b.right / b.total, 0)} % right" for b in bins]
    # The runs of a method share their images: Wilson's interval would take them for independent.
    svg = reliability_diagram(
        bins, name=name, label=f"Reliability diagram: {'; '.join(parts)}", intervals=answers.alone
    )
    ece = "" if answers.ece is None else f" Expected calibration error: {measure('test.ece').text(answers.ece)}"
    ece += "" if answers.ece is None else "." if answers.alone else ", mean over runs."
    drawn = "with 95 % Wilson intervals; larger" if answers.alone else "larger"
    return Figure(
        svg,
        f"Test images grouped by the probability of the predicted class, {drawn} dots stand for more of the "
        f"{answers.count}. On the dashed line a network is right as often as it says; below it, it is too sure of "
        f"itself.{ece}",
    )

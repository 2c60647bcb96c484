"""What a method changes in a network's predictions: certainty, entropy, mistakes mended and made, calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from holdfast.analysis.drawing import Drawn
from holdfast.analysis.finding import Finding
from holdfast.analysis.finished import method_of
from holdfast.analysis.pair import figures, wording
from holdfast.analysis.pair.certainty import Reals
from holdfast.analysis.pair.compared import Compared, compare
from holdfast.analysis.pair.gallery import gallery
from holdfast.analysis.pair.paired_runs import Asked, Pair, paired
from holdfast.bench.statistics import Paired
from holdfast.core.errors import UsageError
from holdfast.data.examine import Progress
from holdfast.report.quality import reliability, wilson
from holdfast.train.metrics import BINS

DIGITS = 6
"""Decimals of the matrices in the data."""


def predictions(
    run_a: Path,
    run_b: Path,
    *,
    part: str = "test",
    show: int = 4,
    device: str = "auto",
    progress: Progress | None = None,
) -> Finding:
    """Compare the predictions of two finished runs on the pictures that both have in a part.

    Args:
        run_a: folder of the run to compare with, such as plain fine-tuning.
        run_b: folder of the run that is compared.
        part: ``train``, ``val`` or ``test``.
        show: rows of each gallery, at most; 0 draws none.
        device: for the networks, where predictions.csv does not hold all probabilities.
        progress: told how many predictions are made.

    Raises:
        UsageError: one run twice, no such part, a negative ``show``, or no such device here.
        DataError: a run is not finished or damaged, classes differ, no picture is shared, or one has changed.
        ModelError: the weights of a run do not fit its network.

    Source: Zhong and Maki 2020, §4. Ours: the intervals, McNemar's test and the calibration.
    """
    if show < 0:
        raise UsageError(f"--show is {show}; expected 0 or more rows")
    pair = paired(run_a, run_b, part, device=device, progress=progress)
    found = compare(pair.a.probabilities, pair.b.probabilities, pair.labels)
    return Finding(
        analysis="predictions",
        title=f"Predictions of {method_of(pair.b.record)} beside {method_of(pair.a.record)}",
        text=wording.paragraph(pair, found),
        data=_data(pair, found),
        figures=_figures(pair, found, show),
        inputs={
            "runs": [str(asked.record.folder) for asked in (pair.a, pair.b)],
            "part": part,
            "pictures": len(pair.labels),
            "show": show,
        },
        notes=wording.notes(pair, found),
    )


def _figures(pair: Pair, found: Compared, show: int) -> list[Drawn]:
    made = [
        figures.matrices(pair, found.certainties),
        figures.classes(pair, found.certainties),
        figures.calibration(pair, found.errors),
    ]
    for kind, places in (("true", found.changes.true), ("false", found.changes.false)):
        if chosen := places[:show]:
            made.append(gallery(pair, chosen, kind=kind, found=len(places)))
    return made


def _data(pair: Pair, found: Compared) -> dict[str, Any]:
    changes = found.changes
    return {
        "pictures": len(pair.labels),
        "classes": list(pair.classes),
        "runs": {letter: _of_run(pair, found, place) for place, letter in enumerate("AB")},
        "gain_in_true_class": _interval(found.gain),
        "gain_in_entropy_bits": _interval(found.clearing),
        "mcnemar": {"only_b_right": len(changes.true), "only_a_right": len(changes.false), "p": changes.p},
        "both_right": changes.both,
        "neither_right": changes.neither,
        "error_reduction": changes.error_reduction,
        "true_rectifications": [_example(pair, place) for place in changes.true],
        "false_rectifications": [_example(pair, place) for place in changes.false],
    }


def _of_run(pair: Pair, found: Compared, place: int) -> dict[str, Any]:
    asked, sums, N = (pair.a, pair.b)[place], found.certainties[place], len(pair.labels)
    right = N - found.changes.errors[place]
    counts = np.bincount(pair.labels, minlength=len(pair.classes)).tolist()
    rows = zip(pair.classes, counts, sums.on.tolist(), sums.off.tolist(), strict=True)
    return {
        "run": str(asked.record.folder),
        "method": method_of(asked.record),
        "seed": asked.record.settings.get("seed"),
        "pictures_in_part": len(asked.index.parts[pair.part]),
        "probabilities": "computed" if asked.computed else "predictions.csv",
        "accuracy": right / N,
        "accuracy_interval": list(wilson(right, N)),
        "S": sums.total,
        "S_off": float(sums.off.sum()),
        "entropy_bits": found.entropies[place],
        "ece": found.errors[place],
        "reliability": [vars(each) for each in reliability(figures.said(pair, asked), BINS)],
        "by_class": [{"class": name, "pictures": n, "S": on, "S_off": off} for name, n, on, off in rows],
        "C": sums.matrix.round(DIGITS).tolist(),
    }


def _interval(found: Paired | None) -> dict[str, float] | None:
    return None if found is None else vars(found)


def _example(pair: Pair, place: int) -> dict[str, Any]:
    def said(asked: Asked) -> dict[str, Any]:
        row: Reals = asked.probabilities[place]
        return {"class": pair.classes[int(row.argmax())], "probability": float(row.max())}

    path = pair.a.samples[place].path
    return {"path": path, "true": pair.classes[pair.labels[place]], "a": said(pair.a), "b": said(pair.b)}

"""The figures of ``analyse predictions`` but for its gallery: matrices C, classes, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, PowerNorm

from holdfast.analysis.drawing import Drawn, drawn
from holdfast.analysis.pair.certainty import Certainty, Reals
from holdfast.analysis.pair.paired_runs import Asked, Pair
from holdfast.report.figures import draw_reliability, name_classes
from holdfast.report.measures import fixed, measure
from holdfast.report.palette import BLUE, INK, MUTED, PAPER
from holdfast.report.quality import reliability
from holdfast.report.records import Prediction
from holdfast.report.svg import chart, panels, plain
from holdfast.train.metrics import BINS

NAMED = 30
"""Class names for which an axis of the matrices has room."""
NUMBERED = 10
"""Classes up to which the matrices' cells hold their numbers."""
FARTHEST = 3
"""Classes named among the points, at most."""
_DARK = 0.8  # shade above which pale numbers are read better than dark ones
_NEAR = (30, 5)  # points of per cent within which a second name would lie on the first


def matrices(pair: Pair, found: Sequence[Certainty]) -> Drawn:
    """C of both networks as heat maps with one colour scale."""
    K, N = len(pair.classes), len(pair.labels)
    side = min(4.2, 2.0 + 0.14 * K)
    # Square root: a probability spread over many classes must not vanish beside the diagonal.
    norm = PowerNorm(0.5, 0, max(float(each.matrix.max()) for each in found))
    shades = LinearSegmentedColormap.from_list("shades", [PAPER.light, BLUE.light])
    with panels(2 * side + 2.2, side + 1.6, columns=2, sharey=True) as (figure, ((left, right),)):
        for axes, asked, each in zip((left, right), (pair.a, pair.b), found, strict=True):
            image = axes.imshow(each.matrix, cmap=shades, norm=norm, interpolation="nearest")
            axes.grid(False)
            name_classes(axes, pair.classes, NAMED)
            if K <= NUMBERED:
                _numbers(axes, each, norm)
            axes.set_xlabel("predicted class")
            title = f"{plain(asked.name, 30)}\nS = {fixed(each.total, 1)} of {N}"
            axes.set_title(title, fontsize=9, loc="left", parse_math=False)
        left.set_ylabel("true class")
        figure.colorbar(image, ax=[left, right], shrink=0.8, label="summed probability (pictures)")
        sums = " and ".join(f"{fixed(each.total, 1)} for {asked.name}" for asked, each in _both(pair, found))
        return drawn(
            figure,
            "predictions-matrices",
            label=f"Two heat maps of summed probabilities, {K} true by {K} predicted classes. Of {N} pictures the "
            f"diagonal holds {sums}.",
            caption=f"Matrix C: each row sums the predicted probabilities of one true class's pictures. {N} "
            f"{pair.part} pictures, one run each; one colour scale, which follows the square root.",
        )


def _numbers(axes: Any, found: Certainty, norm: PowerNorm) -> None:
    digits = 2 if found.matrix.max() < 10 else 1
    for (row, column), value in np.ndenumerate(found.matrix):
        colour = PAPER if norm(value) > _DARK else INK
        axes.text(column, row, fixed(value, digits), color=colour.light, fontsize=8, ha="center", va="center")


def classes(pair: Pair, found: Sequence[Certainty]) -> Drawn:
    """The mean probability of the true class, class by class: B over A."""
    counts = np.bincount(pair.labels, minlength=len(pair.classes))
    places = np.flatnonzero(counts)
    x, y = (100 * each.on[places] / counts[places] for each in found)
    higher, lower = int((y > x).sum()), int((y < x).sum())
    with chart(4.6, 4.4) as (figure, axes):
        axes.plot([0, 100], [0, 100], color=MUTED.light, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.plot(x, y, "o", color=pair.b.colour.light, markersize=5, alpha=0.7, markeredgewidth=0)
        for place in farthest(x, y):
            _name(axes, pair.classes[places[place]], x[place], y[place])
        axes.set(xlim=(-2, 102), ylim=(-2, 102), aspect="equal")
        of = "mean probability of the true class"
        axes.set_xlabel(f"{of}, {plain(pair.a.name, 22)} (%)", parse_math=False)
        axes.set_ylabel(f"{of}, {plain(pair.b.name, 22)} (%)", parse_math=False)
        return drawn(
            figure,
            "predictions-classes",
            label=f"One dot per class. B gives its true class a higher mean probability than A in {higher} of "
            f"{len(places)} classes, a lower one in {lower}.",
            caption=f"Diagonal of C divided by the class's pictures, B over A: above the dashed line B is surer of the "
            f"right class. {len(places)} classes, {len(pair.labels)} {pair.part} pictures, one run each; some of the "
            "classes farthest from the line are named.",
        )


def farthest(x: Reals, y: Reals) -> list[int]:
    """Places of the points with the largest difference of y and x, ``FARTHEST`` at most, whose names do not collide.

    Args:
        x: in per cent, shape (n,).
        y: in per cent, shape (n,).
    """
    chosen: list[int] = []
    for place in np.argsort(-np.abs(y - x), kind="stable").tolist():
        near = (abs(x[place] - x[other]) < _NEAR[0] and abs(y[place] - y[other]) < _NEAR[1] for other in chosen)
        if not any(near):
            chosen.append(place)
    return chosen[:FARTHEST]


def _name(axes: Any, name: str, x: float, y: float) -> None:
    inwards = x > 60
    axes.annotate(
        plain(name, 18),
        (x, y),
        (-6 if inwards else 6, 0),
        textcoords="offset points",
        ha="right" if inwards else "left",
        va="center",
        fontsize=8,
        parse_math=False,
    )


def calibration(pair: Pair, errors: Sequence[float]) -> Drawn:
    """Reliability of both networks, in the bins of their calibration errors ``errors``."""
    with panels(8.4, 4.3, columns=2, sharey=True) as (figure, ((left, right),)):
        for axes, asked, error in zip((left, right), (pair.a, pair.b), errors, strict=True):
            draw_reliability(axes, reliability(said(pair, asked), BINS), asked.colour)
            title = f"{plain(asked.name, 30)}\ncalibration error {measure('ece').text(error)}"
            axes.set_title(title, fontsize=9, loc="left", parse_math=False)
        right.set_ylabel("")
        shown = "; ".join(f"{asked.name} {measure('ece').text(error)}" for asked, error in _both(pair, errors))
        return drawn(
            figure,
            "predictions-calibration",
            label=f"Two reliability diagrams. Expected calibration error: {shown}.",
            caption=f"Pictures in {BINS} bins by the probability of the predicted class, with 95 % Wilson intervals; "
            f"larger dots stand for more of the {len(pair.labels)} {pair.part} pictures, one run each. Below the "
            "dashed line a network is too sure of itself.",
        )


def said(pair: Pair, asked: Asked) -> list[Prediction]:
    """The most probable class of each picture, with its probability."""
    places = asked.probabilities.argmax(1)
    return [
        Prediction(sample.path, pair.classes[label], pair.classes[place], float(row[place]))
        for sample, label, place, row in zip(asked.samples, pair.labels, places, asked.probabilities, strict=True)
    ]


def _both(pair: Pair, values: Sequence[Any]) -> list[tuple[Asked, Any]]:
    return list(zip((pair.a, pair.b), values, strict=True))

"""Pictures that one network names rightly and the other wrongly, beside training pictures of what they were named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Patch

from holdfast.analysis.drawing import Drawn, drawn
from holdfast.analysis.pair.certainty import Reals
from holdfast.analysis.pair.paired_runs import Asked, Pair
from holdfast.data.index import FolderIndex, Sample
from holdfast.report.gallery import thumbnail
from holdfast.report.measures import fixed
from holdfast.report.palette import MUTED
from holdfast.report.svg import panels, plain

TOP = 3
"""Most probable classes of each network that get a bar; the true class does in any case."""
SIDE = 160
"""Longest side of a picture in pixels."""
_WIDTHS = (1.25, 2.3, 0.9, 0.9, 0.9, 0.9)
_BAR = 0.38
_MOST = 108.0  # room beside a full bar for its number


def gallery(pair: Pair, places: Sequence[int], *, kind: str, found: int) -> Drawn:
    """A row per picture: the picture, both networks' top classes as bars, training pictures of what each named.

    Args:
        pair: the two runs.
        places: of the pictures among those of the pair, at least one.
        kind: ``true`` or ``false`` rectification.
        found: how many there are in all.
    """
    height = 0.75 + 1.75 * len(places)
    with panels(10, height, rows=len(places), columns=len(_WIDTHS), width_ratios=_WIDTHS) as (figure, rows):
        for place, (picture, bars, *training) in zip(places, rows, strict=True):
            _input(picture, pair, place)
            _bars(bars, pair, place)
            _training(training[:2], pair, pair.a, place)
            _training(training[2:], pair, pair.b, place)
        rows[-1, 1].set_xlabel("probability (%)")
        legend = figure.legend(
            handles=[_key(asked) for asked in (pair.a, pair.b)], loc="outside upper left", ncols=2, handlelength=1.5
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
        right, wrong = ("B", "A") if kind == "true" else ("A", "B")
        return drawn(
            figure,
            f"predictions-{kind}-rectifications",
            label=f"{len(places)} of {found} pictures that {right} names rightly and {wrong} wrongly: "
            + "; ".join(_in_words(pair, place) for place in places),
            caption=f"{kind.capitalize()} rectifications: {right} right, {wrong} wrong. Shown are {len(places)} of "
            f"{found}, those whose predicted class B gives the highest probability. From left to right: the picture "
            "with its true class, both networks' most probable classes, two training pictures of the class that A "
            "named and two of the class that B named, chosen by their checksums. One run each.",
        )


def bar_classes(a: Reals, b: Reals, label: int) -> list[int]:
    """The classes that get bars: the true one and ``TOP`` of each prediction, by their larger probability.

    Args:
        a: probabilities of network A, shape (K,).
        b: probabilities of network B, shape (K,).
        label: the true class.
    """
    tops = [np.argsort(-row, kind="stable")[:TOP].tolist() for row in (a, b)]
    return sorted({label, *tops[0], *tops[1]}, key=lambda place: (-max(a[place], b[place]), place))


def training_pictures(index: FolderIndex, name: str, most: int = 2) -> list[Sample]:
    """Training pictures of a class, those of the smallest digests: by chance, and the same every time."""
    label = index.classes.index(name)
    return sorted((s for s in index.parts["train"] if s.label == label), key=lambda s: s.digest)[:most]


def _named(pair: Pair, asked: Asked, place: int) -> str:
    return pair.classes[int(asked.probabilities[place].argmax())]


def _in_words(pair: Pair, place: int) -> str:
    parts = [
        f"{asked.letter} says {_named(pair, asked, place)} with {fixed(100 * asked.probabilities[place].max(), 0)} %"
        for asked in (pair.a, pair.b)
    ]
    return f"{pair.classes[pair.labels[place]]}, {', '.join(parts)}"


def _input(axes: Any, pair: Pair, place: int) -> None:
    sample = pair.a.samples[place]
    _show(axes, pair.a.index.root, sample)
    axes.set_title(plain(pair.classes[pair.labels[place]], 22), fontsize=8, fontweight="bold", parse_math=False)
    axes.set_xlabel(plain(Path(sample.path).name, 24), fontsize=7, parse_math=False)


def _show(axes: Any, root: Path, sample: Sample) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    image = thumbnail(root, sample.path, SIDE)
    if image is None:
        axes.text(0.5, 0.5, "not found", transform=axes.transAxes, ha="center", va="center", color=MUTED.light)
    else:
        axes.imshow(np.asarray(image))
        axes.grid(False)


def _bars(axes: Any, pair: Pair, place: int) -> None:
    rows = [asked.probabilities[place] for asked in (pair.a, pair.b)]
    label = int(pair.labels[place])
    shown = bar_classes(rows[0], rows[1], label)
    for asked, row, offset in zip((pair.a, pair.b), rows, (-_BAR / 2, _BAR / 2), strict=True):
        for line, which in enumerate(shown):
            value = 100 * row[which]
            axes.barh(line + offset, value, _BAR, **_look(asked))
            axes.text(value + 1, line + offset, fixed(value, 0), fontsize=6, va="center_baseline")
    names = [plain(pair.classes[which], 18) + (" (true)" if which == label else "") for which in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=7)
    for tick, which in zip(axes.get_yticklabels(), shown, strict=True):
        tick.set(parse_math=False, fontweight="bold" if which == label else "normal")
    axes.set(xlim=(0, _MOST), ylim=(len(shown) - 0.5, -0.5), xticks=(0, 50, 100))
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(False)


def _look(asked: Asked) -> dict[str, Any]:
    """A's bars are pale and B's are full, so that two runs of one method can be told apart too."""
    colour = asked.colour.light
    return {"facecolor": (colour, 0.25 if asked.letter == "A" else 1.0), "edgecolor": colour, "linewidth": 0.8}


def _key(asked: Asked) -> Patch:
    return Patch(label=plain(asked.name, 60), **_look(asked))


def _training(axes: Sequence[Any], pair: Pair, asked: Asked, place: int) -> None:
    name = _named(pair, asked, place)
    samples = training_pictures(asked.index, name)
    for each, sample in zip(axes, samples, strict=False):
        _show(each, asked.index.root, sample)
    for each in axes[len(samples) :]:
        each.set_axis_off()
    axes[0].set_title(f"{asked.letter} named: {plain(name, 20)}", fontsize=8, loc="left", parse_math=False)

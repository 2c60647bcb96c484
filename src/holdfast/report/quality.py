"""Figures that a page derives from predictions: intervals, confusion, calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holdfast.report.records import Prediction

_Z95 = 1.959963984540054


def wilson(right: float, total: int) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion.

    ``(p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n)`` with p = right / n (E. B. Wilson, 1927).

    Args:
        right: how many of ``total`` were right.
        total: number of independent trials, at least 1.

    Raises:
        ValueError: ``total`` below 1, or ``right`` outside 0…``total``.
    """
    if total < 1 or not 0 <= right <= total:
        raise ValueError(f"expected 0 ≤ right ≤ total and total ≥ 1, found right = {right}, total = {total}")
    share, z2 = right / total, _Z95**2
    centre = share + z2 / (2 * total)
    half = _Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    # At 0 and 1 the formula's exact ends are 0 and 1; the clip removes rounding.
    return max(0.0, (centre - half) / (1 + z2 / total)), min(1.0, (centre + half) / (1 + z2 / total))


def confusion(predictions: Sequence[Prediction], classes: Sequence[str]) -> NDArray[np.int64]:
    """Counts, shape (classes, classes): row = true class, column = predicted class, both in ``classes``' order."""
    position = {name: index for index, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for item in predictions:
        counts[position[item.true], position[item.predicted]] += 1
    return counts


@dataclass(frozen=True)
class ConfusedPair:
    """``count`` images of class ``true`` called ``predicted``, of ``total`` images of that class."""

    true: str
    predicted: str
    count: int
    total: int


def confused_pairs(counts: NDArray[np.int64], classes: Sequence[str], most: int = 15) -> list[ConfusedPair]:
    """The off-diagonal cells with the most images, at most ``most``; ties by share of the true class, then order."""
    totals = counts.sum(axis=1)
    cells = [(int(row), int(column)) for row, column in np.argwhere(counts) if row != column]
    cells.sort(key=lambda cell: (-counts[cell], -counts[cell] / totals[cell[0]], cell))
    return [
        ConfusedPair(classes[row], classes[column], int(counts[row, column]), int(totals[row]))
        for row, column in cells[:most]
    ]


@dataclass(frozen=True)
class ClassScore:
    """A class's images, how many were found (recall) and how often its name was given (precision)."""

    name: str
    total: int
    right: int
    called: int
    mistaken_for: str

    @property
    def recall(self) -> float:
        """Share of the class's images that were recognised; not a number without images."""
        return self.right / self.total if self.total else math.nan

    @property
    def precision(self) -> float:
        """Share of the images given this name that belong to it; not a number where none was."""
        return self.right / self.called if self.called else math.nan


def class_scores(counts: NDArray[np.int64], classes: Sequence[str]) -> list[ClassScore]:
    """One score per class, in ``classes``' order; ``mistaken_for`` is its commonest wrong name or empty."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    return [
        ClassScore(
            name=name,
            total=int(counts[index].sum()),
            right=int(counts[index, index]),
            called=int(counts[:, index].sum()),
            mistaken_for=classes[int(wrong[index].argmax())] if wrong[index].any() else "",
        )
        for index, name in enumerate(classes)
    ]


@dataclass(frozen=True)
class Bin:
    """Predictions whose confidence lies in one interval: mean confidence, how many, how many right."""

    low: float
    high: float
    confidence: float
    total: int
    right: int


def reliability(predictions: Sequence[Prediction], bins: int = 10) -> list[Bin]:
    """Predictions grouped by confidence into ``bins`` intervals of equal width, (low, high]; empty ones left out."""
    confidence = np.array([item.confidence for item in predictions], dtype=np.float64)
    right = np.array([item.right for item in predictions], dtype=bool)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    found = []
    for index in range(bins):
        inside = place == index
        if inside.any():
            mean, total = float(confidence[inside].mean()), int(inside.sum())
            found.append(Bin(index / bins, (index + 1) / bins, mean, total, int(right[inside].sum())))
    return found


def confident_mistakes(predictions: Sequence[Prediction], most: int = 24) -> list[Prediction]:
    """Wrong predictions by falling confidence, at most ``most``; ties in order of their paths."""
    wrong = [item for item in predictions if not item.right]
    return sorted(wrong, key=lambda item: (-item.confidence, item.path))[:most]

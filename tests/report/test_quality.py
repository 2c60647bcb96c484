"""Numbers that the pages derive from predictions, against closed forms and counts by hand."""

import math

import numpy as np
import pytest

from holdfast.report.quality import (
    class_scores,
    confident_mistakes,
    confused_pairs,
    confusion,
    reliability,
    wilson,
)
from holdfast.report.records import Prediction

Z = 1.959963984540054


def said(true, predicted, confidence=0.9, path="x.png"):
    return Prediction(path, true, predicted, confidence)


@pytest.mark.parametrize(("right", "total"), [(1, 3), (76, 100), (0, 8), (8, 8), (1, 1), (261, 340)])
def test_wilson_ends_solve_the_score_equation(right, total):
    share = right / total
    for end in wilson(right, total):
        # The ends are the p with (share − p)² = z²·p(1−p)/n.
        assert (share - end) ** 2 == pytest.approx(Z**2 * end * (1 - end) / total, abs=1e-12)


def test_wilson_is_symmetric_and_shrinks_with_images():
    low, high = wilson(30, 100)
    assert wilson(70, 100) == pytest.approx((1 - high, 1 - low), abs=1e-12)
    longer = wilson(300, 1000)
    assert longer[1] - longer[0] < high - low


@pytest.mark.parametrize(("right", "total"), [(0, 0), (-1, 4), (5, 4)])
def test_wilson_refuses_what_is_no_proportion(right, total):
    with pytest.raises(ValueError, match="expected 0 ≤ right ≤ total"):
        wilson(right, total)


def test_confusion_has_true_classes_as_rows_in_the_given_order():
    counts = confusion([said("b", "a"), said("b", "a"), said("a", "a"), said("c", "b")], ["a", "b", "c"])
    assert counts.tolist() == [[1, 0, 0], [2, 0, 0], [0, 1, 0]]


def test_confused_pairs_come_by_count_then_by_share():
    counts = np.array([[5, 2, 0], [1, 2, 2], [3, 0, 0]])
    pairs = confused_pairs(counts, ["a", "b", "c"], most=3)
    assert [(pair.true, pair.predicted, pair.count, pair.total) for pair in pairs] == [
        ("c", "a", 3, 3),
        ("b", "c", 2, 5),
        ("a", "b", 2, 7),
    ]


def test_class_scores_count_by_row_and_column():
    scores = class_scores(np.array([[3, 1, 0], [2, 2, 0], [0, 0, 0]]), ["a", "b", "c"])
    assert (scores[0].recall, scores[0].precision, scores[0].mistaken_for) == (0.75, 0.6, "b")
    assert (scores[1].recall, scores[1].precision, scores[1].mistaken_for) == (0.5, 2 / 3, "a")
    assert math.isnan(scores[2].recall)
    assert math.isnan(scores[2].precision)
    assert scores[2].mistaken_for == ""


def test_reliability_bins_are_closed_on_the_right_and_skip_empty_ones():
    items = [said("a", "a", 0.2), said("a", "b", 0.11), said("a", "a", 1.0), said("a", "a", 0.0)]
    bins = reliability(items, bins=10)
    assert [(item.low, item.total, item.right) for item in bins] == [(0.0, 1, 1), (0.1, 2, 1), (0.9, 1, 1)]
    assert bins[1].confidence == pytest.approx(0.155)


def test_confident_mistakes_are_wrong_and_fall_in_confidence():
    items = [said("a", "b", 0.5, "2"), said("a", "a", 0.99, "1"), said("a", "b", 0.8, "3"), said("a", "c", 0.5, "0")]
    assert [item.path for item in confident_mistakes(items, most=3)] == ["3", "0", "2"]
    assert [item.path for item in confident_mistakes(items, most=1)] == ["3"]

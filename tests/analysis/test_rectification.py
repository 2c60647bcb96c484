"""Mistakes mended and made, against counts by hand; the exact test against its sum."""

import math

import numpy as np
import pytest

from holdfast.analysis.pair.rectification import mcnemar, rectified

#                    right        wrong        wrong        right        wrong        wrong
A = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4], [0.7, 0.3]])
#                    right        right        right        wrong        wrong        right
B = np.array([[0.8, 0.2], [0.7, 0.3], [0.9, 0.1], [0.6, 0.4], [0.9, 0.1], [0.2, 0.8]])
LABELS = np.array([0, 0, 0, 1, 1, 1])


def test_counts_by_hand():
    found = rectified(A, B, LABELS)
    assert found.true == [2, 5, 1]  # by B's confidence: 0.9, 0.8, 0.7
    assert found.false == [3]
    assert (found.both, found.neither) == (1, 1)
    assert found.errors == (4, 2)
    assert found.error_reduction == 0.5


def test_exchanging_the_runs_exchanges_the_kinds():
    one, other = rectified(A, B, LABELS), rectified(B, A, LABELS)
    assert sorted(one.true) == sorted(other.false)
    assert sorted(one.false) == sorted(other.true)
    assert other.error_reduction == -1.0
    assert one.p == other.p


def test_equal_networks_rectify_nothing():
    found = rectified(A, A, LABELS)
    assert (found.true, found.false, found.error_reduction, found.p) == ([], [], 0.0, 1.0)


def test_without_mistakes_there_is_nothing_to_reduce():
    assert rectified(np.eye(2), np.eye(2)[::-1], np.array([0, 1])).error_reduction is None


@pytest.mark.parametrize(("one", "other"), [(0, 5), (5, 0), (3, 3), (2, 9), (1, 0), (10, 31)])
def test_mcnemar_is_the_binomial_sum(one, other):
    n = one + other
    tail = sum(math.comb(n, i) for i in range(min(one, other) + 1)) / 2**n
    assert mcnemar(one, other) == pytest.approx(min(1.0, 2 * tail), rel=1e-12)


def test_mcnemar_of_nothing_is_one():
    assert mcnemar(0, 0) == 1.0


def test_mcnemar_by_hand():
    assert mcnemar(0, 6) == pytest.approx(2 / 64)

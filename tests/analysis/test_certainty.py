"""Matrix C and entropy, against sums and distributions by hand."""

import math

import numpy as np
import pytest

from holdfast.analysis.pair.certainty import certainty, entropy_bits, of_true_class

# five pictures of three classes; every number is exact in binary
P = np.array(
    [
        [0.5, 0.25, 0.25],
        [0.75, 0.25, 0.0],
        [0.125, 0.625, 0.25],
        [0.0, 0.0, 1.0],
        [0.25, 0.5, 0.25],
    ]
)
LABELS = np.array([0, 0, 1, 2, 2])


def test_matrix_of_five_pictures_by_hand():
    found = certainty(P, LABELS)
    assert found.matrix.tolist() == [[1.25, 0.5, 0.25], [0.125, 0.625, 0.25], [0.25, 0.5, 1.25]]
    assert found.on.tolist() == [1.25, 0.625, 1.25]
    assert found.off.tolist() == [0.75, 0.375, 0.75]
    assert found.total == 3.125


def test_rows_are_true_classes():
    """A network that always says class 2 fills a column, not a row."""
    found = certainty(np.tile([0.0, 0.0, 1.0], (5, 1)), LABELS)
    assert found.matrix.tolist() == [[0, 0, 2], [0, 0, 1], [0, 0, 2]]
    assert found.total == 2


def test_the_rest_is_what_the_diagonal_leaves():
    p = np.random.default_rng(0).dirichlet(np.ones(7), 50)
    labels = np.arange(50) % 7
    found = certainty(p, labels)
    assert found.total + found.off.sum() == pytest.approx(50, rel=1e-12)
    assert pytest.approx(of_true_class(p, labels).sum(), rel=1e-12) == found.total
    slow = np.zeros((7, 7))
    for row, label in zip(p, labels, strict=True):
        for k in range(7):
            slow[label, k] += row[k]
    np.testing.assert_allclose(found.matrix, slow, rtol=1e-12)


def test_a_class_without_pictures_has_an_empty_row():
    assert certainty(P[:2], LABELS[:2]).matrix[1:].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_entropy_in_bits_of_known_distributions():
    uniform, sure, halves, mixed = np.full(4, 0.25), [0, 1, 0, 0], [0.5, 0.5, 0, 0], [0.5, 0.25, 0.125, 0.125]
    found = entropy_bits(np.array([uniform, sure, halves, mixed]))
    assert found.tolist() == pytest.approx([2, 0, 1, 1.75], abs=1e-15)


def test_entropy_equals_the_sum_written_out():
    p = np.random.default_rng(1).dirichlet(np.full(5, 0.3), 20)
    slow = [-sum(x * math.log2(x) for x in row if x > 0) for row in p.tolist()]
    assert entropy_bits(p).tolist() == pytest.approx(slow, rel=1e-12)

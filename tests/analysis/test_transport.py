"""Optimal transport between layers: the exhaustive version, orders of units, what is missing."""

import sys

import pytest
import torch

from holdfast.analysis.theory.rifle_oracle.transport import COSTS, transport
from holdfast.core.errors import UsageError
from reference import mlp_oracles as literal


def layer(units, inputs, seed):
    return torch.randn(units, inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def squared(a, b):
    return sum(float(x - y) ** 2 for x, y in zip(a, b, strict=True))


def cosine(a, b):
    return 1 - float(a @ b) / (squared(a, 0 * a) * squared(b, 0 * b)) ** 0.5


def test_distances_are_those_of_the_exhaustive_version():
    A, B = layer(5, 4, seed=1), layer(5, 4, seed=2)
    found = transport(A, B)
    assert list(found) == list(COSTS)
    assert found["units"] == pytest.approx(literal.transport(A.T, B.T, squared), rel=1e-12)
    assert found["units-root"] == pytest.approx(
        literal.transport(A.T, B.T, lambda a, b: squared(a, b) ** 0.5), rel=1e-12
    )
    assert found["units-angle"] == pytest.approx(literal.transport(A.T, B.T, cosine), rel=1e-9)
    assert found["inputs"] == pytest.approx(literal.transport(A, B, squared), rel=1e-12)
    largest = max(squared(a, b) for a in A for b in B)
    assert found["units-share"] == pytest.approx(found["units"] / largest, rel=1e-12)


def test_the_order_of_units_does_not_count():
    A = layer(6, 3, seed=1)
    shuffled = A[torch.randperm(6)]
    for name, distance in transport(A, shuffled).items():
        assert (distance == pytest.approx(0, abs=1e-12)) == (name != "inputs")


def test_a_length_moved_to_the_second_layer_does_not_count_for_the_angle():
    A = layer(4, 3, seed=1)
    found = transport(A * torch.tensor([[0.5], [2.0], [3.0], [1.0]], dtype=torch.float64), A)
    assert found["units-angle"] == pytest.approx(0, abs=1e-12)
    assert found["units"] > 0.1


def test_a_missing_library_is_named_with_its_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(UsageError, match=r"pip install 'holdfast\[analysis\]'"):
        transport(layer(2, 2, seed=1), layer(2, 2, seed=2))

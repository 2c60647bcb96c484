"""Closed forms joined: value, gradient, and every slice of it that a gradient rule may ask for."""

import itertools

import torch

from holdfast.core.anchored import Anchored, Pull
from holdfast.core.closed_form import Joined
from holdfast.core.start import StartingPoint
from holdfast.core.types import ParamRef


def parts():
    params = [torch.nn.Parameter(torch.full((2,), float(i + 1))) for i in range(5)]
    refs = [ParamRef(f"p{i}", p, "weight", is_head=False) for i, p in enumerate(params)]
    start = StartingPoint()
    forms = [Anchored([Pull(0.5, refs[a:b], False)], start) for a, b in ((0, 2), (2, 2), (2, 3), (3, 5))]
    return params, Joined(forms)


def test_value_and_gradient_are_the_sums():
    params, joined = parts()
    assert joined.value().item() == 0.5 * sum(2 * (i + 1) ** 2 for i in range(5))
    joined.as_tensor().backward()
    assert all(torch.equal(p.grad, p.detach()) for p in params)


def test_every_slice_is_that_of_the_whole():
    _, joined = parts()
    whole = joined.grads(slice(None))
    for first, last in itertools.combinations(range(6), 2):
        part = joined.grads(slice(first, last))
        assert len(part) == last - first
        assert all(torch.equal(a, b) for a, b in zip(part, whole[first:last], strict=True))


def test_nothing_joined_has_no_parameter():
    assert Joined([]).params == []

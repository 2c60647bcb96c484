"""New heads."""

from __future__ import annotations

import math

import torch
from torch import nn

from holdfast.models.heads import fresh_head, replace, resized


class Scaled(nn.Linear):
    """A linear layer of another type."""


def test_distribution_is_that_of_a_new_linear_layer():
    head = fresh_head(nn.Linear(64, 10), 2000, seed=0)
    bound = 1 / math.sqrt(64)
    for values in (head.weight, head.bias):
        assert values.abs().max() <= bound
        assert abs(values.std().item() / (bound / math.sqrt(3)) - 1) < 0.05


def test_seed_alone_decides():
    old = nn.Linear(8, 3)
    first = fresh_head(old, 5, seed=4)
    torch.manual_seed(99)
    assert torch.equal(first.weight, fresh_head(old, 5, seed=4).weight)
    assert not torch.equal(first.weight, fresh_head(old, 5, seed=5).weight)


def test_global_generator_and_old_head_are_left_alone():
    old = nn.Linear(8, 3)
    before, values = torch.get_rng_state(), old.weight.clone()
    fresh_head(old, 5, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(old.weight, values)
    assert old.out_features == 3


def test_type_bias_and_precision_are_the_old_ones():
    old = Scaled(8, 3, bias=False).bfloat16()
    new = fresh_head(old, 5, seed=0)
    assert type(new) is Scaled
    assert new.bias is None
    assert new.weight.dtype is torch.bfloat16
    assert (new.in_features, new.out_features, tuple(new.weight.shape)) == (8, 5, (5, 8))


def test_resized_is_zero():
    assert not resized(nn.Linear(8, 3), 5).weight.any()


def test_replace_inside_a_sequential():
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    head = nn.Linear(8, 5)
    replace(model, "1", head)
    assert model[1] is head

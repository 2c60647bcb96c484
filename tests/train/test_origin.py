"""The starting point of a finished run."""

import shutil

import pytest
import torch

from holdfast.core.errors import StartingPointError
from holdfast.train.fit import fit
from holdfast.train.loaded import load_run
from holdfast.train.origin import starting_point


@pytest.fixture
def first(tiny):
    """A run from random weights."""
    return fit(**{**tiny, "epochs": 1}).folder


@pytest.fixture
def second(tiny, first, tmp_path):
    """A run from the weights of the first."""
    return fit(**{**tiny, "epochs": 1, "weights": first / "model.safetensors", "out": tmp_path / "second"}).folder


def body(model, head):
    return {name: value for name, value in model.state_dict().items() if not name.startswith(f"{head}.")}


def test_it_is_the_network_before_training(first, second):
    before, after = starting_point(load_run(second)), load_run(second).model
    began, weights = load_run(first), body(before.model, before.head)
    for name, value in body(began.model, before.head).items():
        assert torch.equal(weights[name], value), name
    assert any(not torch.equal(value, body(after, before.head)[name]) for name, value in weights.items())
    assert not before.model.training
    assert torch.equal(before.source_head.weight, began.model.get_parameter(f"{before.head}.weight"))
    assert before.source_classes == began.classes == ("blue", "green", "red")


def test_random_weights_are_drawn_again(first):
    """They bring no source head."""
    once, again = starting_point(load_run(first)), starting_point(load_run(first))
    assert all(torch.equal(v, again.model.state_dict()[name]) for name, v in once.model.state_dict().items())
    assert (once.source_head, once.source_classes, once.weights) == (None, None, None)


def test_weights_that_moved_are_named_and_others_are_refused(first, second, tmp_path):
    moved = shutil.move(first / "model.safetensors", tmp_path / "moved.safetensors")
    with pytest.raises(StartingPointError, match=r"are not at .*say with --weights"):
        starting_point(load_run(second))
    assert starting_point(load_run(second), moved).source_classes is None  # the run is no longer beside them
    with pytest.raises(StartingPointError, match="found others"):
        starting_point(load_run(second), second / "model.safetensors")

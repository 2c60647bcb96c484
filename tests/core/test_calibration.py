"""What methods read before training: which batches, how often, and that nothing tells of it afterwards."""

import random
from dataclasses import dataclass, field
from typing import ClassVar

import numpy
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import holdfast
from holdfast.core.errors import UsageError
from holdfast.core.method import Method, State
from methods.loop import Loop, assert_equal
from reference.networks import image_batches, token_net


@dataclass
class Read(State):
    """What a pass over data gave."""

    batches: list = field(default_factory=list)


@dataclass(frozen=True)
class Reader(Method):
    """Reads the data twice, and disturbs all that it may: modes and global generators."""

    stem: ClassVar[str] = "reader"

    def bind(self, model, ctx):
        return Read()

    def calibrate(self, model, loader, state):
        for _ in range(2):
            state.batches += [(batch.x, batch.y, batch.index) for batch in loader]
        model.eval()
        torch.rand(3), random.random(), numpy.random.rand()


def prepared(model=None):
    methods = holdfast.compose(Reader())
    methods.prepare(model or token_net(), "head")
    return methods


def read(methods):
    return next(methods._walk()).state.batches


def test_batches_come_with_their_indices_as_often_as_wanted():
    (x, y), _, _ = image_batches()
    methods = prepared()
    methods.calibrate([(x, y, torch.arange(6)), [x, y]])
    found = read(methods)
    assert len(found) == 4
    assert found[0][0] is x
    assert found[0][2].tolist() == list(range(6))
    assert found[1][2] is None


def test_calibration_happens_once_and_not_on_resume():
    methods = prepared()
    methods.calibrate(image_batches())
    methods.calibrate(image_batches())
    assert len(read(methods)) == 6
    again = prepared()
    again.load_state_dict(methods.state_dict())
    again.calibrate(1 / 0 for _ in range(1))
    assert len(read(again)) == 6


def test_data_are_read_only_where_a_method_asks():
    methods = holdfast.compose("l2_sp")
    methods.prepare(token_net(), "head")
    methods.calibrate(1 / 0 for _ in range(1))


def test_generators_and_modes_are_as_before():
    own = torch.Generator().manual_seed(3)
    loader = DataLoader(TensorDataset(*image_batches()[0]), batch_size=2, shuffle=True, generator=own)
    global_one = DataLoader(TensorDataset(*image_batches()[0]), batch_size=2, shuffle=True)
    for data in (loader, global_one):
        model = token_net()
        model.stage1.eval()
        modes = [m.training for m in model.modules()]
        methods = prepared(model)
        before = torch.get_rng_state(), own.get_state(), random.getstate(), numpy.random.get_state()[1].copy()
        methods.calibrate(data)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert torch.equal(own.get_state(), before[1])
        assert random.getstate() == before[2]
        assert (numpy.random.get_state()[1] == before[3]).all()
        assert [m.training for m in model.modules()] == modes


def test_a_failing_calibration_leaves_no_trace_either_and_may_be_repeated():
    methods = prepared()
    before = torch.get_rng_state()
    with pytest.raises(UsageError, match=r"expects batches \(inputs, targets\).*got a dict: pass as_batch="):
        methods.calibrate([{"x": torch.zeros(3)}], lambda item: item | {"drawn": torch.rand(1)})
    assert torch.equal(torch.get_rng_state(), before)
    methods.calibrate([{"x": torch.zeros(1), "y": torch.zeros(1)}], lambda item: (item["x"], item["y"]))
    assert len(read(methods)) == 2


def test_an_iterator_is_refused_on_the_second_pass():
    with pytest.raises(UsageError, match="more than once: pass a DataLoader or a list, not an iterator"):
        prepared().calibrate(iter(image_batches()))


def test_training_goes_on_as_without_it():
    assert_equal(Loop(Reader()).train(3).weights(), Loop("").train(3).weights())


def test_the_network_need_not_be_on_the_loaders_device():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).to("meta")
    methods = holdfast.compose(Reader())
    methods.prepare(model, "1")
    methods.calibrate([(torch.zeros(2, 4), torch.zeros(2))])
    assert read(methods)[0][0].is_meta

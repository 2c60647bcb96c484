"""Batch-norm layers held in evaluation mode."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import timm
import torch
from torch import nn

from holdfast.models.batchnorm import batchnorm_modules, freeze_batchnorm


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.LazyBatchNorm1d(), nn.LazyLinear(2)
    )


@pytest.fixture
def frozen() -> nn.Sequential:
    model = network()
    model(torch.randn(4, 3, 8, 8))
    assert freeze_batchnorm(model) == 2
    return model.train()


def check_frozen(model: nn.Sequential) -> None:
    before = [buffer.clone() for buffer in model.buffers()]
    model.eval()
    model.train()
    model(torch.randn(4, 3, 8, 8)).sum().backward()
    assert model[2].training
    assert not model[1].training
    assert all(torch.equal(new, old) for new, old in zip(model.buffers(), before, strict=True))
    assert model[1].weight.grad is not None


def test_statistics_stay_and_affine_parameters_train(frozen):
    check_frozen(frozen)


def test_without_freezing_the_check_fails():
    model = network()
    model(torch.randn(4, 3, 8, 8))
    with pytest.raises(AssertionError):
        check_frozen(model)


def test_deep_copy_is_frozen_and_independent(frozen):
    twin = copy.deepcopy(frozen)
    check_frozen(twin)
    assert twin[1].train.args[0] is twin[1]


def test_pickled_model_is_frozen(frozen):
    check_frozen(pickle.loads(pickle.dumps(frozen)))
    buffer = io.BytesIO()
    torch.save(frozen, buffer)
    buffer.seek(0)
    check_frozen(torch.load(buffer, weights_only=False))


def test_state_dict_is_unchanged(frozen):
    model = network()
    model(torch.randn(4, 3, 8, 8))
    assert list(model.state_dict()) == list(frozen.state_dict())


def test_networks_with_activations_inside_their_norms():
    model = timm.create_model("test_efficientnet", num_classes=3)
    names = batchnorm_modules(model)
    assert len(names) == sum("running_mean" in key for key in model.state_dict())
    freeze_batchnorm(model)
    model.train()
    assert not any(module.training for module in names.values())


def test_layer_norm_networks_have_none():
    assert freeze_batchnorm(timm.create_model("test_vit", num_classes=3)) == 0

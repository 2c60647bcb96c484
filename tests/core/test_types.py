"""Kinds of parameters, and what is called weight, bias, norm and other."""

import pytest
import torch
from torch import nn

from holdfast.core.start import StartingPoint
from holdfast.core.types import parameter_refs, trainable
from reference import training
from reference.networks import HEAD, conv_net, token_net


@pytest.mark.parametrize("make", [conv_net, token_net])
@pytest.mark.parametrize("include", ["weights", "+bias", "+norm", "all"])
def test_kinds_are_the_oracles(make, include):
    refs = parameter_refs(make(), HEAD)
    chosen = [r.name for r in refs if r.included(include) and not r.is_head]
    assert chosen == training.shared_parameters(make(), HEAD, include)


def test_every_layer_has_its_kind():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.gamma, self.weight = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))

    net = nn.ModuleDict({
        "conv": nn.ConvTranspose2d(2, 2, 3), "group_norm": nn.GroupNorm(1, 2), "embedding": nn.Embedding(3, 2),
        "attention": nn.MultiheadAttention(4, 2), "scale": Scaled(), "head": nn.Linear(2, 2),
    })  # fmt: skip
    kinds = {r.name: r.kind for r in parameter_refs(net, "head")}
    assert kinds == {
        "conv.weight": "weight", "conv.bias": "bias", "group_norm.weight": "norm", "group_norm.bias": "norm",
        "embedding.weight": "weight", "attention.in_proj_weight": "weight", "attention.in_proj_bias": "bias",
        "attention.out_proj.weight": "weight", "attention.out_proj.bias": "bias", "scale.gamma": "other",
        "scale.weight": "other", "head.weight": "weight", "head.bias": "bias",
    }  # fmt: skip


def test_the_head_is_its_module_and_what_is_inside_not_what_begins_alike():
    net = nn.ModuleDict({"head": nn.Sequential(nn.Linear(2, 2)), "header": nn.Linear(2, 2)})
    assert [r.name for r in parameter_refs(net, "head") if r.is_head] == ["head.0.weight", "head.0.bias"]


def test_shared_parameters_are_listed_once_and_frozen_ones_do_not_train():
    net = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    net.b.weight = net.a.weight
    refs = parameter_refs(net, "b")
    assert [r.name for r in refs] == ["a.weight", "a.bias", "b.bias"]
    net.a.bias.requires_grad_(False)
    assert [r.name for r in trainable(refs)] == ["a.weight", "b.bias"]


def test_starting_point_copies_once_and_keeps_the_copy():
    net = nn.Linear(2, 2)
    refs, start = parameter_refs(net, ""), StartingPoint()
    start.keep(refs[:1])
    before = net.weight.detach().clone()
    with torch.no_grad():
        net.weight.add_(1)
    start.keep(refs)
    assert torch.equal(start.of(refs[:1])[0], before)
    assert start.state_dict().keys() == {"weight", "bias"}

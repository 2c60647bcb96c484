"""Attention transfer against its formula, limit cases, the oracle with its preset, and inside DTNH."""

import pytest
import torch
from torch import nn

import holdfast
from holdfast.core.errors import UsageError
from methods import contract, ranks
from methods.loop import NETWORKS, Loop, assert_close, conv_net, frozen_conv_net, token_net
from methods.oracles import follow
from methods.trajectories import follows_golden
from reference import attention_transfer as oracle
from reference import dtnh as dtnh_oracle
from reference.networks import STAGES


@contract.every_check
@pytest.mark.parametrize("text", ["attention_transfer(beta=0.3)", "attention_transfer@zagoruyko2017code(beta=20)"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


@pytest.mark.parametrize("make", [*NETWORKS, frozen_conv_net])
@pytest.mark.parametrize("p", [2, 3])
def test_trajectory_is_the_oracles(make, p):
    follow(f"attention_transfer(beta=0.7, p={p})", make, {"penalty": oracle.penalty(0.7, p), "taps": STAGES})


@pytest.mark.parametrize("make", NETWORKS)
def test_the_codes_form_is_the_oracles(make):
    penalty = oracle.penalty(30.0, preset="code")
    follow("attention_transfer@zagoruyko2017code(beta=30)", make, {"penalty": penalty, "taps": STAGES})


@pytest.mark.parametrize("make", NETWORKS)
def test_inside_dtnh_it_is_both_oracles(make):
    rule = dtnh_oracle.rule(oracle.penalty(3.0))
    follow("dtnh(attention_transfer(beta=3))", make, {"rule": rule, "taps": STAGES})


class TwoPositions(nn.Module):
    """A map of one channel and two positions, each a weight times the pixel."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(1, 1, 1, bias=False)
        self.scale = nn.Parameter(torch.tensor([1.0, 1.0]))
        self.stage = nn.Identity()
        self.head = nn.Linear(2, 2)

    def forward(self, x):
        return self.head(self.stage(self.body(x) * self.scale).flatten(1))


def test_closed_form_on_two_positions():
    """From (1, 1) to (1, 2), squared and normalised: (1, 1)/√2 and (1, 4)/√17."""
    net = TwoPositions().double()
    methods = holdfast.compose("attention_transfer(beta=3, layers='stage')")
    methods.prepare(net, "head")
    with torch.no_grad():
        net.scale.copy_(torch.tensor([1.0, 2.0]))
    loss = methods.loss(net(torch.ones(5, 1, 1, 2, dtype=torch.float64)).sum() * 0)
    distance = ((17**-0.5 - 2**-0.5) ** 2 + (4 * 17**-0.5 - 2**-0.5) ** 2) ** 0.5
    assert loss.item() == pytest.approx(3 / 2 * distance, rel=1e-12)


@pytest.mark.parametrize("make", [token_net, frozen_conv_net])
@pytest.mark.parametrize("preset", ["", "@zagoruyko2017code"])
def test_no_gradient_at_the_start(make, preset):
    """Though the norm's is of length 1 as near as one likes, and the folded teacher differs by rounding."""
    loop, plain = Loop(f"attention_transfer{preset}(beta=10)", make), Loop("", make)
    x, y = loop.batches[0]
    assert loop.loss(x, y).item() == pytest.approx(plain.loss(x, y).item(), rel=1e-12)
    assert_close(loop.gradients(x, y), plain.gradients(x, y), rtol=1e-12)


def test_no_gradient_at_the_start_in_single_precision():
    loop = Loop("attention_transfer(beta=10)", frozen_conv_net, dtype=torch.float32)
    plain = Loop("", frozen_conv_net, dtype=torch.float32)
    x, y = loop.batches[0]
    assert_close(loop.gradients(x, y), plain.gradients(x, y), rtol=1e-6)


def test_a_change_of_scale_is_free():
    """What counts is where the features are large, not how large."""
    loop = Loop("attention_transfer(beta=10, layers='stage2.0')", frozen_conv_net)
    with torch.no_grad():
        loop.model.stage2[0].weight *= 3
    loop.loss(*loop.batches[0])
    assert loop.methods.log["attention_transfer.penalty"].item() < 1e-6


def test_a_map_that_is_zero_everywhere_is_no_nan():
    loop = Loop("attention_transfer(beta=1, layers='stage2.0')", conv_net)
    with torch.no_grad():
        loop.model.stage2[0].weight.zero_()
    g = loop.gradients(*loop.batches[0])
    assert all(value.isfinite().all() for value in g.values())


def test_two_ranks_equal_one_with_the_codes_form():
    method = holdfast.compose("attention_transfer@zagoruyko2017code(beta=20)").expression.methods[0]
    alone = Loop(method, frozen_conv_net).train(4).weights()
    for weights in ranks.train_on_two(method, frozen_conv_net, steps=4):
        assert_close(weights, alone)


def test_describe_says_where_and_how():
    (line,) = Loop("attention_transfer(beta=0.2)", conv_net).methods.describe()
    assert line.endswith("0.2·½·‖Q/‖Q‖ − Q⁰/‖Q⁰‖‖ of Q = Σ_c |F_c|^2 at stage1, stage2; mean over the batch")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attention_transfer(beta=-1)", "beta must be finite and >= 0, got -1"),
        ("attention_transfer(p=0.5)", "p must be finite and >= 1, got 0.5"),
        ("attention_transfer(distance='l1')", "distance must be one of 'norm', 'squared', got 'l1'"),
    ],
)
def test_values_out_of_range_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        holdfast.compose(text)


def test_vectors_have_no_attention():
    with pytest.raises(UsageError, match="head gives vectors, without positions; name a layer before pooling"):
        Loop("attention_transfer(layers='head')", conv_net).train(1)


def test_golden_trajectory():
    follows_golden("attention_transfer(beta=0.7)")

"""KnowDist against its formula, limit cases, the oracle with every preset, and inside DTNH."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import holdfast
from holdfast.core.errors import ModelError, UsageError
from methods import contract, micro
from methods.loop import ADDITIVE_NETWORKS, NETWORKS, Loop, assert_close, conv_net, frozen_conv_net, token_net
from methods.oracles import follow
from methods.trajectories import follows_golden
from reference import dtnh as dtnh_oracle
from reference import know_dist as oracle
from reference.networks import HEAD, STAGES


@contract.every_check
@pytest.mark.parametrize(
    "text", ["know_dist(lam=0.05)", "know_dist(lam=0.05, layers='stage1.0,stage2', per_position=true)"]
)
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


@pytest.mark.parametrize("make", [*NETWORKS, frozen_conv_net])
@pytest.mark.parametrize("per_position", [False, True])
@pytest.mark.parametrize(
    ("preset", "lam"), [("default", 0.02), ("tllib", 0.002), ("renofeation", 0.7)], ids=["eq3", "tllib", "renofeation"]
)
def test_trajectory_is_the_oracles(make, preset, lam, per_position):
    name = "know_dist" if preset == "default" else f"know_dist@{preset}"
    text = f"{name}(lam={lam}, per_position={str(per_position).lower()})"
    follow(text, make, {"penalty": oracle.penalty(lam, preset, per_position), "taps": STAGES})


@pytest.mark.parametrize("make", NETWORKS)
def test_named_layers_are_the_oracles(make):
    taps = ("stage1.1", "stage2.0")
    follow("know_dist(lam=0.02, layers='stage1.1,stage2.0')", make, {"penalty": oracle.penalty(0.02), "taps": taps})


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(("options", "rule"), [("", {}), (", lam=2, scope='layer'", {"lam": 2.0, "scope": "layer"})])
def test_inside_dtnh_it_is_both_oracles(make, options, rule):
    penalty = oracle.penalty(0.3)
    loop = follow(
        f"dtnh(know_dist(lam=0.3){options})", make, {"rule": dtnh_oracle.rule(penalty, **rule), "taps": STAGES}
    )
    assert "dtnh.conflict" in loop.methods.log


def test_closed_form_on_two_numbers():
    """Ω = λ(w₁x − w₁⁰x)², ∂Ω/∂w₁ = 2λ(w₁ − w₁⁰)x²."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    with torch.no_grad():
        net[1].weight.fill_(3.0)
    methods = holdfast.compose("know_dist(lam=0.5, layers='1')")
    methods.prepare(net, "2")
    with torch.no_grad():
        net[1].weight.fill_(5.0)
    x = torch.tensor([[2.0], [4.0]], dtype=torch.float64)
    loss = methods.loss(net(x).sum() * 0)
    loss.backward()
    assert loss.item() == 0.5 * (4**2 + 8**2) / 2
    assert net[1].weight.grad.item() == 0.5 * 2 * 2 * (2**2 + 4**2) / 2
    assert methods.log["know_dist.penalty"].item() == loss.item()


@pytest.mark.parametrize("make", NETWORKS)
def test_nothing_at_the_start_where_the_modes_match(make):
    """Exactly: the teacher does what the student does, batch statistics included."""
    loop, plain = Loop("know_dist(lam=10, teacher='matched')", make), Loop("", make)
    x, y = loop.batches[0]
    assert loop.loss(x, y).item() == plain.loss(x, y).item()
    assert_close(loop.gradients(x, y), plain.gradients(x, y), rtol=1e-15)
    loop.train(2)
    assert loop.methods.log["know_dist.penalty"] > 0


def test_batch_norm_that_trains_makes_a_difference_at_the_start():
    """And one in evaluation mode makes none but for rounding: the teacher's is folded into its convolutions."""
    for make, moved in ((conv_net, True), (frozen_conv_net, False), (token_net, False)):
        loop = Loop("know_dist(lam=1)", make)
        loop.loss(*loop.batches[0])
        assert (loop.methods.log["know_dist.penalty"].item() > 1e-20) == moved


def test_a_strong_pull_holds_the_features():
    def way(text):
        loop = Loop(text, frozen_conv_net).train()
        x = loop.batches[0][0]
        with torch.no_grad():
            return (loop.model.stage2(loop.model.stage1(x)) - frozen_conv_net().eval().stage2(
                frozen_conv_net().eval().stage1(x))).norm().item()  # fmt: skip

    assert way("know_dist(lam=0.3)") < 0.3 * way("")


SUM, HALF = "know_dist@tllib(lam=0.004)", "know_dist@tllib(lam=0.002)"


@pytest.mark.parametrize("make", ADDITIVE_NETWORKS)
def test_a_sum_over_the_batch_shrinks_with_accumulation(make):
    """``reduction='sum'``: two halves, averaged, weigh Ω half; with half the strength they agree."""
    micro.sums_weigh_half_in_two_halves(SUM, HALF, make)
    assert holdfast.KnowDist().additive
    assert not holdfast.KnowDist(reduction="sum").additive


def test_two_ranks_weigh_a_sum_over_the_batch_half():
    micro.sums_weigh_half_on_two_ranks(SUM, HALF)


def test_several_forwards_are_one_batch():
    one, two = Loop("know_dist(lam=0.1)"), Loop("know_dist(lam=0.1)")
    for loop in (one, two):
        loop.train(2)
    x, y = one.batches[2]
    J = F.cross_entropy(torch.cat([two.network(x[:3]), two.network(x[3:])]), y)
    torch.testing.assert_close(two.methods.loss(J), one.loss(x, y), rtol=1e-12, atol=0)


def test_describe_says_where_and_how():
    loop = Loop("know_dist@tllib(lam=0.1)", conv_net)
    (line,) = loop.methods.describe()
    assert line == (
        "know_dist: 0.1·½·‖F − F⁰‖² at stage1, stage2; sum over the batch and each map; teacher's batch-norm: eval"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("know_dist(lam=-1)", "lam must be finite and >= 0, got -1"),
        ("know_dist(reduction='all')", "reduction must be one of 'batch', 'sum', 'mean', got 'all'"),
        ("know_dist(layers=3)", "layers must be a 'text', got 3"),
    ],
)
def test_values_out_of_range_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        holdfast.compose(text)


def test_unknown_layers_are_refused_when_the_network_is_known():
    with pytest.raises(UsageError, match=r"know_dist\(layers='stage3'\): the network has no module 'stage3'; did you"):
        holdfast.compose("know_dist(layers='stage3')").prepare(token_net(), HEAD)


def test_a_network_without_stages_is_refused_and_named_layers_offered():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ModelError, match=r"know_dist: the stages of Sequential cannot be told.*layers='\.\.\.'"):
        holdfast.compose("know_dist").prepare(net, "1")


def test_golden_trajectory():
    follows_golden("know_dist(lam=0.05)")

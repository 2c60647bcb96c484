"""L2 against its formula, weight decay, its limit cases and the oracle."""

import pytest
import torch

import holdfast
from methods import contract
from methods.loop import NETWORKS, Loop, assert_close
from methods.oracles import follow
from methods.trajectories import follows_golden
from reference import l2 as oracle
from reference.networks import HEAD


@contract.every_check
def test_contract(check):
    check(holdfast.L2(alpha=0.1))


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(
    ("text", "alpha", "beta", "preset"),
    [
        ("l2(alpha=0.3)", 0.3, None, "default"),
        ("l2(alpha=0.3, beta=0.7)", 0.3, 0.7, "default"),
        ("l2@wan2019(alpha=0.3)", 0.3, None, "wan2019"),
        ("l2@li2020(alpha=0.3)", 0.3, None, "li2020"),
    ],
)
def test_trajectory_is_the_oracles(make, text, alpha, beta, preset):
    follow(text, make, {"penalty": oracle.penalty(alpha, beta, preset)})


def test_closed_form_on_two_numbers():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        net[1].weight.fill_(3.0)
        net[2].weight.fill_(-2.0)
    methods = holdfast.compose("l2(alpha=0.5, beta=0.25)")
    methods.prepare(net, "2")
    loss = methods.loss(net(torch.ones(1, 1)).sum() * 0)
    assert loss.item() == 0.5 * 0.5 * 9 + 0.5 * 0.25 * 4
    loss.backward()
    assert net[1].weight.grad.item() == 0.5 * 3
    assert net[2].weight.grad.item() == 0.25 * -2


@pytest.mark.parametrize("make", NETWORKS)
def test_equals_the_optimisers_weight_decay(make):
    loop, plain = Loop("l2(alpha=0.3)", make).train(), Loop("", make)
    for group in plain.optimizer.param_groups:
        group["weight_decay"] = 0.3
    assert_close(loop.weights(), plain.train().weights(), rtol=1e-12)


@pytest.mark.parametrize(
    ("include", "names"),
    [
        ("weights", {"embed.weight", "stage1.1.weight", "stage2.1.weight", "head.weight"}),
        ("+bias", {"embed.bias", "stage1.1.bias", "stage2.1.bias", "head.bias"}),
        ("+norm", {"stage1.0.weight", "stage1.0.bias", "stage2.0.weight", "stage2.0.bias"}),
        ("all", {"position"}),
    ],
)
def test_include_adds_kind_after_kind(include, names):
    order = ("weights", "+bias", "+norm", "all")

    def pulled(upto):
        loop = Loop(f"l2(alpha=0.5, include='{upto}')")
        loop.methods.loss(loop.network(loop.batches[0][0]).sum() * 0).backward()
        return {n for n, p in loop.model.named_parameters() if p.grad is not None and bool((p.grad != 0).any())}

    before = order.index(include)
    less = pulled(order[before - 1]) if before else set()
    # a fresh bias of a normalisation layer is 0 and so is its pull
    moved = {name for name in names if not name.endswith("0.bias")}
    assert pulled(include) - less == moved


def test_owns_the_decay_of_all_it_pulls():
    loop = Loop("l2(alpha=0.3, include='weights')", weight_decay=0.1)
    groups = {group["name"]: group["weight_decay"] for group in loop.optimizer.param_groups}
    assert set(groups.values()) == {0.0}
    assert HEAD in groups or any(name.startswith("head") for name in groups)


def test_golden_trajectory():
    follows_golden("l2(alpha=0.3, beta=0.7)")

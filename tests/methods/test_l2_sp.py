"""L2-SP against its formula, limit cases, the oracle with every preset, and its starting point."""

import pytest
import torch

import holdfast
from holdfast.core.errors import ConflictError, StartingPointError
from methods import contract
from methods.loop import NETWORKS, Loop, assert_close, conv_net, frozen_conv_net, snapshot
from methods.oracles import follow
from methods.trajectories import follows_golden
from reference import l2_sp as oracle


@contract.every_check
@pytest.mark.parametrize("text", ["l2_sp(alpha=0.5)", "l2_sp@renofeation"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("preset", [name for name in oracle.PRESETS if name != "default"])
def test_every_preset_is_the_oracles(make, preset):
    if preset == "paddle" and make is conv_net:
        # a bias before batch-norm has no gradient but rounding, of which the unsquared norm makes a unit vector
        make = frozen_conv_net
    follow(f"l2_sp@{preset}", make, {"penalty": oracle.penalty(preset=preset)})


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("include", ["weights", "+bias", "+norm", "all"])
def test_include_is_the_oracles(make, include):
    # the oracle's include speaks of the body; its head is whole
    text = f"l2_sp(alpha=0.5, beta=0, include='{include}')"
    follow(text, make, {"penalty": oracle.penalty(0.5, 0.0, include=include)})


@pytest.mark.parametrize("make", NETWORKS)
def test_strengths_are_the_oracles(make):
    follow("l2_sp(alpha=0.7, beta=0.3)", make, {"penalty": oracle.penalty(0.7, 0.3)})


def test_every_preset_has_an_oracle():
    assert set(oracle.PRESETS) - {"default"} == set(holdfast.L2SP.presets)


def test_closed_form_on_two_numbers():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        net[1].weight.fill_(3.0)
        net[2].weight.fill_(-2.0)
    methods = holdfast.compose("l2_sp(alpha=0.5, beta=0.25)")
    methods.prepare(net, "2")
    with torch.no_grad():
        net[1].weight.fill_(5.0)
    loss = methods.loss(net(torch.ones(1, 1)).sum() * 0)
    assert loss.item() == 0.5 * 0.5 * 2**2 + 0.5 * 0.25 * 4
    loss.backward()
    assert net[1].weight.grad.item() == 0.5 * 2
    assert net[2].weight.grad.item() == 0.25 * -2


@pytest.mark.parametrize("make", NETWORKS)
def test_no_pull_on_the_body_at_the_start(make):
    loop = Loop("l2_sp(alpha=10, beta=0)", make)
    x, y = loop.batches[0]
    assert_close(loop.gradients(x, y), Loop("", make).gradients(x, y), rtol=1e-15)
    assert loop.loss(x, y).item() == Loop("", make).loss(x, y).item()


@pytest.mark.parametrize("make", NETWORKS)
def test_a_strong_pull_holds_the_body(make):
    def way(text):
        loop = Loop(text, make)
        start = loop.weights()
        after = loop.train().weights()
        return sum((after[n] - start[n]).norm().item() for n, _ in loop.model.named_parameters() if "head" not in n)

    assert way("l2_sp(alpha=5, beta=0)") < 0.5 * way("")


def test_frozen_parameters_stay_out():
    loop = Loop("l2_sp(alpha=2)")
    loop.model.embed.requires_grad_(False)
    before = snapshot(loop.model)
    with torch.no_grad():
        loop.model.embed.weight.add_(1)
    x, y = loop.batches[0]
    plain = Loop("")
    plain.model.load_state_dict(loop.weights())
    assert loop.loss(x, y).item() - plain.loss(x, y).item() == pytest.approx(
        0.5 * 0.01 * sum(before[n].square().sum().item() for n in ("head.weight", "head.bias")), rel=1e-9
    )


def test_optimiser_decay_on_an_owned_parameter_is_refused_at_the_first_step():
    loop = Loop("l2_sp(include='weights')")
    loop.optimizer.param_groups[0]["weight_decay"] = 0.01
    before = loop.weights()
    with pytest.raises(
        ConflictError, match=r"l2_sp\(include='weights'\) replaces weight decay on .*weight_decay=0\.01"
    ):
        loop.train(1)
    assert torch.equal(loop.weights()["embed.weight"], before["embed.weight"])


def test_a_state_without_the_starting_point_is_refused():
    loop = Loop("l2_sp").train(2)
    saved = loop.methods.state_dict()
    del saved["start"]["embed.weight"]
    with pytest.raises(StartingPointError, match=r"nothing for embed\.weight"):
        Loop("l2_sp").methods.load_state_dict(saved)


def test_golden_trajectory():
    follows_golden("l2_sp(alpha=0.3, beta=0.7)")

"""Mixout against its formula and the oracle; which kernels, read where, and what it leaves behind."""

import pytest
import torch
from torch import nn

import holdfast
from holdfast.core.errors import ModelError, UsageError
from methods import contract
from methods.loop import NETWORKS, Loop, assert_close, assert_equal, differ
from methods.oracles import OPTIONS, batches, coins, follow
from methods.trajectories import follows_golden
from reference import mixout as oracle
from reference.networks import HEAD, token_net
from reference.training import shared_parameters, train


@contract.every_check
@pytest.mark.parametrize("text", ["mixout(p=0.7)", "mixout(p=0.5, code_gradient=true)"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


def wanted(make, p, code):
    def masks(name, n, w):  # M is what is replaced, the package draws what is kept
        return 1 - coins(w.shape, 1 - p, "mixout", name.removesuffix(".weight"), n, name)

    return train(oracle.prepared(make(), HEAD, masks, p, code), HEAD, batches(), steps=8, **OPTIONS)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("p", [0.2, 0.7, 0.9])
@pytest.mark.parametrize("code", [False, True])
def test_trajectory_is_the_oracles(make, p, code):
    follow(f"mixout(p={p}, code_gradient={str(code).lower()})", make, wanted(make, p, code))


def test_preset_of_the_authors_code_leaves_a_factor_out_of_the_gradient():
    follow("mixout@lee2020(p=0.5)", token_net, wanted(token_net, 0.5, True))
    assert holdfast.compose("mixout@lee2020").expression.methods[0].code_gradient


def in_use(loop, path):
    """The kernel that a layer computes with in one training forward."""
    seen = []
    handle = loop.model.get_submodule(path).register_forward_pre_hook(lambda module, _: seen.append(module.weight))
    loop.model(loop.batches[0][0])
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("p", [0.3, 0.7])
def test_the_kernel_in_use_is_the_formulas_and_the_gradient_its_own(p):
    loop = Loop(f"mixout(p={p})").train(3)
    w0, w = token_net().stage1[1].weight, loop.model.stage1[1].weight
    mixed = in_use(loop, "stage1.1")
    M = 1 - coins(w.shape, 1 - p, "mixout", "stage1.1", 3, "stage1.1.weight")
    torch.testing.assert_close(mixed, (M * w0 + (1 - M) * w - p * w0) / (1 - p))
    (g,) = torch.autograd.grad(mixed.sum(), w)
    torch.testing.assert_close(g, (1 - M) / (1 - p))


def test_the_parameter_is_back_after_the_forward_and_after_an_exception():
    loop = Loop("mixout")
    w = loop.model.stage1[1].weight
    loop.model(loop.batches[0][0])
    assert loop.model.stage1[1].weight is w
    assert isinstance(w, nn.Parameter)
    with pytest.raises(RuntimeError):
        loop.model.stage1[1](torch.ones(1, 99).double())
    assert loop.model.stage1[1].weight is w


def test_all_replaced_is_the_starting_point_and_nothing_at_it_changes_no_output():
    loop = Loop("mixout(p=1)").train(2)
    assert_equal({"w": in_use(loop, "embed")}, {"w": token_net().embed.weight.detach()})
    x, _ = loop.batches[0]
    assert torch.equal(Loop("mixout(p=0.5)").model(x), token_net()(x))


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_p_is_the_probability_to_replace(p):
    net = nn.Sequential(nn.Flatten(), nn.Linear(100, 200), nn.Linear(200, 2))
    methods = holdfast.compose(f"mixout(p={p})")
    methods.prepare(net, "2")
    w0 = net[1].weight.detach().clone()
    with torch.no_grad():
        net[1].weight += 1
    seen = []
    net[1].register_forward_pre_hook(lambda module, _: seen.append(module.weight.detach()))
    net(torch.ones(1, 100))
    replaced = torch.isclose(seen[0], w0)
    assert replaced.double().mean().item() == pytest.approx(p, abs=0.02)
    assert (seen[0] - w0).mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("make", NETWORKS)
def test_acts_on_the_kernels_of_the_body_alone(make):
    loop = Loop("mixout", make)
    state = loop.methods._members[0].state
    assert [ref.name for refs in state.kernels.values() for ref in refs] == shared_parameters(make(), HEAD, "weights")
    (line,) = loop.methods.describe()
    count = sum(make().get_parameter(name).numel() for name in shared_parameters(make(), HEAD, "weights"))
    assert f"{count} numbers: each replaced by its starting value with probability 0.7" in line


class Attending(nn.Module):
    """Attention whose projections are read as weights, and a layer read by the module around it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 2, stride=2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.inner = nn.ModuleDict({"qkv": nn.Linear(8, 8)})
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        tokens = self.conv(x).flatten(2).transpose(1, 2)
        tokens = self.attention(tokens, tokens, tokens)[0]
        return self.head(nn.functional.linear(tokens, self.inner["qkv"].weight).mean(1))


def test_kernels_that_are_read_without_their_layers_forward_are_mixed_too():
    """A hook on the layer alone would silently never run."""
    torch.manual_seed(0)
    net = Attending()
    methods = holdfast.compose("mixout(p=1)")
    methods.prepare(net, "head")
    x = torch.randn(2, 3, 8, 8)
    before = net(x)
    mixed = ("conv.weight", "attention.in_proj_weight", "attention.out_proj.weight", "inner.qkv.weight")
    names = [ref.name for refs in methods._members[0].state.kernels.values() for ref in refs]
    assert sorted(names) == sorted(mixed)
    with torch.no_grad():
        for name in mixed:
            net.get_parameter(name).add_(torch.randn(()))
    assert torch.equal(net(x), before)  # every one of them is replaced by its starting value
    assert differ({"z": net.eval()(x)}, {"z": before})


def test_the_starting_point_is_shared_with_a_penalty_and_survives_a_resume():
    loop = Loop("mixout(p=0.5)+l2_sp(alpha=0.3)").train(3)
    saved = loop.methods.state_dict()["start"]
    assert set(saved) == {name for name, _ in token_net().named_parameters() if not name.startswith(HEAD)}
    again = Loop.resumed(loop.save(), "mixout(p=0.5)+l2_sp(alpha=0.3)", weights_first=True)
    assert_close(again.train(3).weights(), loop.train(3).weights(), rtol=1e-12)


def test_nothing_to_mix_is_refused():
    with pytest.raises(ModelError, match="Sequential has no linear layer and no convolution beside its head"):
        holdfast.compose("mixout").prepare(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mixout(p=1.5)", "p must be finite and >= 0 and <= 1, got 1.5"),
        ("mixout(code_gradient=1)", "code_gradient must be true or false, got 1"),
    ],
)
def test_values_out_of_range_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        holdfast.compose(text)


def test_golden_trajectory():
    follows_golden("mixout(p=0.7)")

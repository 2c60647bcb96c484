"""Stochastic normalisation against its formula and the oracle; that its probability takes effect."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import holdfast
from holdfast.core.errors import ModelError, UsageError
from methods import contract, ranks
from methods.loop import Loop, assert_close, assert_equal, differ, frozen_conv_net
from methods.oracles import OPTIONS, batches, coins, follow
from methods.trajectories import follows_golden
from reference import stoch_norm as oracle
from reference.networks import HEAD, conv_net, token_net
from reference.training import train

LAYERS = ("stage1.1", "stage2.1")


@contract.every_check
def test_contract(check):
    if check is contract.accumulation_keeps_the_batch_law:
        pytest.skip("its networks have no batch-norm in training mode: see the test of micro-batches below")
    check(holdfast.compose("stoch_norm(p=0.4)").expression.methods[0])


def wanted(make, p, steps=8, text="stoch_norm"):
    noisy = oracle.prepared(make(), lambda name, n: coins((5,), p, text, name, n, ""))
    return train(noisy, HEAD, batches(), steps=steps, **OPTIONS)


@pytest.mark.parametrize("make", [conv_net, token_net])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_trajectory_is_the_oracles(make, p):
    follow(f"stoch_norm(p={p})", make, wanted(make, p))


def test_preset_of_the_port_is_a_half_whatever_is_asked_for():
    follow("stoch_norm@tllib", conv_net, wanted(conv_net, 0.5))


def test_the_ends_are_moving_statistics_and_batch_norm():
    bn = nn.BatchNorm2d(3).double()
    bn.running_mean.copy_(torch.randn(3))
    net = nn.Sequential(bn, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2).double())
    x = torch.randn(4, 3, 5, 5).double()
    moving = F.batch_norm(x, bn.running_mean.clone(), bn.running_var.clone(), bn.weight, bn.bias)
    seen = []
    methods = holdfast.compose("stoch_norm(p=0)")
    methods.prepare(net, "3")
    bn.register_forward_hook(lambda _, __, out: seen.append(out))
    before = bn.running_mean.clone()
    net(x)
    torch.testing.assert_close(seen[0], moving)
    torch.testing.assert_close(bn.running_mean, 0.9 * before + 0.1 * x.mean((0, 2, 3)))
    assert_equal(Loop("stoch_norm(p=1)", conv_net).train().weights(), Loop("", conv_net).train().weights())


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.8])
def test_the_probability_takes_effect(p):
    """How many channels have the batch's mean, 0: a probability that lands in another argument always gives half."""
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4000), nn.Linear(4000, 2))
    nn.init.constant_(net[1].running_mean, 5.0)
    holdfast.compose(f"stoch_norm(p={p})").prepare(net, "2")
    seen = []
    net[1].register_forward_hook(lambda _, __, out: seen.append(out))
    net(torch.randn(6, 4000))
    by_batch = (seen[0].mean(0).abs() < 1e-3).double().mean().item()
    assert by_batch == pytest.approx(p, abs=0.03)


def test_runs_of_several_probabilities_differ():
    runs = [Loop(f"stoch_norm(p={p})", conv_net).train().weights() for p in (0.0, 0.3, 0.5, 0.7, 1.0)]
    assert all(differ(a, b) for i, a in enumerate(runs) for b in runs[:i])


def test_frozen_layers_and_networks_without_any_are_left_alone():
    frozen = Loop("stoch_norm", frozen_conv_net).train()
    assert_equal(frozen.weights(), Loop("", frozen_conv_net).train().weights())
    assert frozen.methods.describe() == [
        "stoch_norm: all 2 batch-norm layers are frozen: nothing to do; let them train (--bn train)"
    ]
    assert Loop("stoch_norm", token_net).methods.describe() == [
        "stoch_norm: no batch-norm in this network: nothing to do"
    ]


def test_layers_without_moving_statistics_are_refused():
    def make():
        net = conv_net()
        net.stage1[1] = nn.BatchNorm2d(5, track_running_stats=False).double()
        return net

    (line,) = Loop("stoch_norm", make).methods.describe()
    assert line.startswith("stoch_norm: 1 batch-norm layers, where in training mode: each channel")

    def none():
        net = make()
        net.stage2[1] = nn.BatchNorm2d(5, track_running_stats=False).double()
        return net

    with pytest.raises(ModelError, match="keeps no moving statistics to choose from: build it with"):
        Loop("stoch_norm", none)


def test_a_layer_with_an_activation_of_its_own():
    """timm's BatchNormAct2d applies it to whichever statistics were chosen."""

    class Act(nn.BatchNorm2d):
        def forward(self, x):
            return torch.relu(super().forward(x))

    bn = Act(200).double()
    net = nn.Sequential(bn, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(200, 2).double())
    holdfast.compose("stoch_norm").prepare(net, "3")
    seen, x = [], torch.randn(4, 200, 3, 3).double() + 2
    bn.register_forward_hook(lambda _, __, out: seen.append(out))
    net(x)
    s = coins((200,), 0.5, "stoch_norm", "0", 0, "").view(-1, 1, 1).bool()
    by_batch = torch.relu(F.batch_norm(x, None, None, training=True))
    torch.testing.assert_close(seen[0], torch.where(s, by_batch, torch.relu(x / (1 + bn.eps) ** 0.5)))
    assert bn.training


def test_micro_batches_have_statistics_and_draws_of_their_own():
    """Not additive, as batch-norm is not: a step on 2×4 is the mean gradient of two passes, one after the other."""
    loop, whole = Loop("stoch_norm", conv_net), Loop("stoch_norm", conv_net)
    x, y = loop.batches[0]
    whole.step((x, y))
    loop.step((x[:4], y[:4]), (x[4:], y[4:]))
    assert differ(loop.weights(), whole.weights())
    drawn = [coins_of(0), coins_of(1)]
    by_hand = oracle.prepared(conv_net(), lambda name, n: drawn[n][name])
    loss = sum(F.cross_entropy(by_hand(part), labels) / 2 for part, labels in ((x[:4], y[:4]), (x[4:], y[4:])))
    loss.backward()
    lr = dict.fromkeys(("head.weight", "head.bias"), 0.2)
    for name, p in by_hand.named_parameters():
        torch.testing.assert_close(
            loop.weights()[name], p.detach() - lr.get(name, 0.05) * p.grad, rtol=1e-9, atol=1e-12
        )


def coins_of(micro):
    from holdfast.functional.dropping import kept
    from holdfast.functional.noise import generator

    return {n: kept((5,), 0.5, generator("cpu", 0, 0, micro, "stoch_norm", n, 0, "")).double() for n in LAYERS}


def test_over_two_ranks_each_has_its_own_statistics_and_all_share_the_draw():
    """As batch-norm over ranks: the gradient is the mean of both, the buffers are the first rank's."""
    x, y = Loop("", conv_net).batches[0]
    found = ranks.train_on_two(holdfast.compose("stoch_norm").expression.methods[0], conv_net, steps=1)
    drawn = coins_of(0)
    half = [oracle.prepared(conv_net(), lambda name, n: drawn[name]) for _ in range(2)]
    for net, part, labels in zip(half, x.chunk(2), y.chunk(2), strict=True):
        F.cross_entropy(net(part), labels).backward()
    lr = dict.fromkeys(("head.weight", "head.bias"), 0.2)
    for name, p in half[0].named_parameters():
        g = (p.grad + half[1].get_parameter(name).grad) / 2
        for weights in found:
            torch.testing.assert_close(weights[name], p.detach() - lr.get(name, 0.05) * g, rtol=1e-9, atol=1e-12)


class Checkpointed(nn.Module):
    """The convolutional network with its second stage under an activation checkpoint."""

    def __init__(self):
        super().__init__()
        net = conv_net()
        self.stage1, self.stage2, self.head = net.stage1, net.stage2, net.head

    def forward(self, x):
        a = self.stage1(x)
        return self.head((a + checkpoint(self.stage2, a, use_reentrant=False)).mean((2, 3)))


def test_a_checkpoint_repeats_the_moving_statistics_from_before_the_pass():
    """The buffers move a second time when it is repeated, as batch-norm's do; the gradient is the first pass's."""
    plain, repeated = Loop("stoch_norm", conv_net), Loop("stoch_norm", Checkpointed)
    for loop in (plain, repeated):
        losses = [loop.loss(*batch) for batch in loop.batches]
        sum(losses).backward()
    grads = [{n: p.grad for n, p in loop.model.named_parameters()} for loop in (plain, repeated)]
    assert_close(grads[1], grads[0], rtol=1e-12)


def test_values_out_of_range_are_refused():
    with pytest.raises(UsageError, match=r"p must be finite and >= 0 and <= 1, got 1\.5"):
        holdfast.compose("stoch_norm(p=1.5)")


def test_golden_trajectory():
    follows_golden("stoch_norm(p=0.4)")

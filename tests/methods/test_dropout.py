"""Dropout on the head against its formula and the oracle, and that the mask is the head's input's alone."""

import pytest
import torch

import holdfast
from holdfast.core.errors import UsageError
from methods import contract
from methods.loop import NETWORKS, Loop, assert_close, differ
from methods.oracles import OPTIONS, batches, coins, follow
from methods.trajectories import follows_golden
from reference import dropout as oracle
from reference.networks import HEAD
from reference.training import train


@contract.every_check
def test_contract(check):
    check(holdfast.compose("dropout(p=0.3)").expression.methods[0])


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("p", [0.1, 0.2, 0.5])
def test_trajectory_is_the_oracles(make, p):
    width = make().head.in_features
    noisy = oracle.prepared(make(), HEAD, lambda n: coins((8, width), 1 - p, "dropout", HEAD, n), p)
    follow(f"dropout(p={p})", make, train(noisy, HEAD, batches(), steps=8, **OPTIONS))


@pytest.mark.parametrize("make", NETWORKS)
def test_what_is_dropped_gets_no_gradient_and_the_rest_is_scaled(make):
    loop, x = Loop("dropout(p=0.2)", make), Loop("", make).batches[0][0]
    seen = {}
    loop.model.head.register_forward_hook(lambda _, args, out: seen.update(rep=args[0], z=out))
    loop.model(x)
    keep = coins(seen["rep"].shape, 0.8, "dropout", HEAD, 0)
    bare = {}
    plain = make()
    plain.head.register_forward_pre_hook(lambda _, args: bare.update(rep=args[0]))
    plain(x)
    torch.testing.assert_close(seen["rep"], keep * bare["rep"] / 0.8)
    (g,) = torch.autograd.grad(seen["z"].sum(), loop.model.head.weight)
    torch.testing.assert_close(g[0], (keep * bare["rep"]).sum(0) / 0.8)


def test_all_dropped_leaves_the_bias():
    loop = Loop("dropout(p=1)")
    x, _ = loop.batches[0]
    assert torch.equal(loop.model(x), loop.model.head.bias.expand(8, -1))


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5])
def test_p_is_the_probability_to_drop(p):
    """The rate of zeros, and a mean that stays: a probability that never takes effect would show."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 500), torch.nn.Linear(500, 2))
    holdfast.compose(f"dropout(p={p})").prepare(net, "2")
    seen = []
    net[2].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    net(torch.ones(200, 4))
    rep = net[1](torch.ones(1, 4))
    assert (seen[0] == 0).double().mean().item() == pytest.approx(p, abs=0.01)
    assert (seen[0] / rep).mean().item() == pytest.approx(1, abs=0.02)


def test_rep_is_seen_before_the_dropout():
    """PtR beside it regresses what the network computes, and the gradient that arrives there is the masked one."""
    seen = {}

    def look(tap, z, g, step, state):
        seen.update(z=z, g=g)

    loop = Loop("ptr(T=inf)+dropout(p=0.5)")
    object.__setattr__(loop.methods.expression.methods[0], "feature_grad", look)
    x, y = loop.batches[0]
    loop.loss(x, y).backward()
    keep = coins(seen["z"].shape, 0.5, "dropout", HEAD, 0).bool()
    assert bool((seen["z"] != 0).all())
    assert bool((seen["g"][~keep] == 0).all())
    assert bool((seen["g"][keep] != 0).any())


def test_a_dropout_of_the_networks_own_stays():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 50), torch.nn.Dropout(0.5), torch.nn.Linear(50, 2))
    holdfast.compose("dropout(p=0.5)").prepare(net)
    seen = []
    net[3].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    net(torch.ones(100, 4))
    assert (seen[0] == 0).double().mean().item() == pytest.approx(0.75, abs=0.03)


def test_each_micro_batch_and_each_step_draws_anew():
    seen = []
    loop = Loop("dropout(p=0.5)")
    loop.model.head.register_forward_pre_hook(lambda _, args: seen.append(args[0] == 0))
    x, y = loop.batches[0]
    loop.step((x, y), (x, y))
    loop.step((x, y))
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_accumulation_is_a_run_of_its_own():
    """Not additive: four micro-batches of 8 draw four masks, which are the ones of their index."""
    loop, x = Loop("dropout(p=0.5)"), torch.cat([x for x, _ in batches()])
    y = torch.cat([y for _, y in batches()])
    by_hand = Loop("")
    head = by_hand.model.head
    losses = []
    for i, (part, labels) in enumerate(zip(x.split(8), y.split(8), strict=True)):
        keep = coins_of_micro((8, head.in_features), i)
        handle = head.register_forward_pre_hook(lambda _, args, keep=keep: (2 * keep * args[0],))
        losses.append(torch.nn.functional.cross_entropy(by_hand.model(part), labels) / 3)
        handle.remove()
    sum(losses).backward()
    loop.accumulate(zip(x.split(8), y.split(8), strict=True))
    assert_close(
        {n: p.grad for n, p in loop.model.named_parameters()},
        {n: p.grad for n, p in by_hand.model.named_parameters()},
        rtol=1e-9,
    )


def coins_of_micro(shape, micro):
    from holdfast.functional.dropping import kept
    from holdfast.functional.noise import generator

    return kept(shape, 0.5, generator("cpu", 0, 0, micro, "dropout", HEAD, 0)).double()


def test_two_of_them_draw_apart():
    both = Loop("dropout(p=0.5)+dropout(p=0.5)").train(2)
    assert differ(both.weights(), Loop("dropout(p=0.75)").train(2).weights())
    assert both.methods.describe()[1].startswith("dropout#2: each feature that enters 'head' dropped")


@pytest.mark.parametrize(
    ("text", "message"),
    [("dropout(p=1.1)", "p must be finite and >= 0 and <= 1, got 1.1"), ("dropout(-0.1)", "p must be")],
)
def test_values_out_of_range_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        holdfast.compose(text)


def test_golden_trajectory():
    follows_golden("dropout(p=0.3)")

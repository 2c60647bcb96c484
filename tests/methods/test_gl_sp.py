"""GL-SP against its formula, limit cases, the oracle in both forms; its groups, the rest, frozen channels."""

import math
import re

import pytest
import torch

import holdfast
from holdfast.core.errors import ConflictError
from methods import contract
from methods.loop import NETWORKS, Loop, assert_close, assert_equal, conv_net, token_net
from methods.oracles import follow
from methods.trajectories import follows_golden
from reference import gl_sp as oracle
from reference import l2_sp as l2_sp_oracle
from reference.networks import HEAD


@contract.every_check
@pytest.mark.parametrize("text", ["gl_sp(alpha=0.05)", "gl_sp(alpha=0.05, form='proximal')"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(
    ("text", "penalty"),
    [
        ("gl_sp(alpha=0.03, beta=0.7)", oracle.penalty(0.03, 0.7)),
        ("gl_sp(alpha=0.3, beta=0.7, eps=0.01)", oracle.penalty(0.3, 0.7, 0.01)),
        # the oracle's switch leaves the head whole, ours cuts it down to its kernel
        ("gl_sp(alpha=0.3, beta=0, include='weights')", oracle.penalty(0.3, 0.0, rest="none")),
    ],
)
def test_smoothed_form_is_the_oracles(make, text, penalty):
    follow(text, make, {"penalty": penalty})


@pytest.mark.parametrize("make", NETWORKS)
def test_the_preset_is_the_authors_code(make):
    groups, head = oracle.penalty(0.03, 0.0, 1e-16, "none"), l2_sp_oracle.penalty(0.0, 0.7, "li2018")
    follow("gl_sp@li2018(alpha=0.03, beta=0.7)", make, {"penalty": lambda step: groups(step) + head(step)})


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("alpha", [0.002, 0.05, 0.5])
def test_proximal_form_is_the_oracles(make, alpha):
    wanted = {"penalty": oracle.smooth_part(alpha, 0.7), "after_step": oracle.proximal_step(alpha)}
    follow(f"gl_sp(alpha={alpha}, beta=0.7, form='proximal')", make, wanted)


@pytest.mark.parametrize("make", NETWORKS)
def test_proximal_form_on_kernels_alone_is_the_oracles(make):
    wanted = {"penalty": oracle.smooth_part(0.05, 0.0, "none"), "after_step": oracle.proximal_step(0.05)}
    follow("gl_sp(alpha=0.05, beta=0, form='proximal', include='weights')", make, wanted)


def kernel_of_two_channels(text):
    """A network whose only shared parameter is a kernel of two groups of two; moved by (3, 4) and by (0, 0)."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 1, bias=False))
    methods = holdfast.compose(text)
    methods.prepare(net, "2")
    with torch.no_grad():
        net[1].weight[0] += torch.tensor([3.0, 4.0])
        net[2].weight.fill_(2.0)
    return net, methods


def test_closed_form_on_two_groups():
    net, methods = kernel_of_two_channels("gl_sp(alpha=0.5, beta=0.25)")
    loss = methods.loss(net(torch.ones(1, 2)).sum() * 0)
    assert loss.item() == pytest.approx(0.5 * math.sqrt(2) * 5 + 0.5 * 0.25 * 8, rel=1e-6)
    loss.backward()
    wanted = torch.tensor([[0.6, 0.8], [0.0, 0.0]]) * 0.5 * math.sqrt(2)
    torch.testing.assert_close(net[1].weight.grad, wanted, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(net[2].weight.grad, 0.25 * net[2].weight.detach())


@pytest.mark.parametrize(("alpha", "left"), [(1.0, 0.8), (3.0, 0.4), (5.0, 0.0), (50.0, 0.0)])
def test_a_group_shrinks_as_a_whole(alpha, left):
    net, methods = kernel_of_two_channels(f"gl_sp(alpha={alpha}, beta=0, form='proximal')")
    rate = 1 / math.sqrt(2)
    start, moved = methods.state_dict()["start"]["1.weight"].clone(), net[1].weight.detach().clone()
    optimizer = torch.optim.SGD(methods.param_groups(net, lr=rate))
    methods.loss(net(torch.ones(1, 2)).sum() * 0).backward()
    optimizer.step()
    methods.step(optimizer)
    torch.testing.assert_close(net[1].weight - start, left * (moved - start), rtol=1e-5, atol=1e-5)
    assert methods.log["gl_sp.frozen"] == (1 if left else 2)
    assert methods.log["gl_sp.frozen_share"] == (0.5 if left else 1)


@pytest.mark.parametrize("make", NETWORKS)
def test_frozen_channels_are_counted_and_exactly_at_the_start(make):
    loop = Loop("gl_sp(alpha=0.04, form='proximal')", make)
    start = loop.weights()
    after = loop.train().weights()
    kernels = [n for n, p in loop.model.named_parameters() if p.dim() > 1 and n != "position" and HEAD not in n]
    rows = [(after[n] == start[n]).flatten(1).all(1) for n in kernels]
    assert loop.methods.log["gl_sp.frozen"] == sum(int(r.sum()) for r in rows)
    assert 0 < sum(int(r.sum()) for r in rows) < sum(len(r) for r in rows)
    # single numbers of a moving channel do not stay
    assert not any((after[n] == start[n]).flatten(1)[~r].any() for n, r in zip(kernels, rows, strict=True))


@pytest.mark.parametrize("make", NETWORKS)
def test_the_rest_is_under_the_quadratic_pull_alone(make):
    """Biases, normalisation and tokens: off the start their pull is α(w − w⁰), kernels' is of length α√p."""
    loop, plain = Loop("gl_sp(alpha=0.5, beta=0)", make), Loop("", make)
    with torch.no_grad():
        for name, p in loop.model.named_parameters():
            p += 0.1
            plain.model.get_parameter(name).copy_(p)
    x, y = loop.batches[0]
    ours, theirs = loop.gradients(x, y), plain.gradients(x, y)
    for name, p in loop.model.named_parameters():
        if HEAD not in name:
            added = ours[name] - theirs[name]
            if p.dim() > 1 and name != "position":
                wanted = torch.full_like(added, 0.5)  # √p · d/‖d‖ with equal entries
            else:
                wanted = torch.full_like(added, 0.5 * 0.1)
            torch.testing.assert_close(added, wanted, rtol=1e-9, atol=1e-12)


def test_channels_of_one_number_are_the_lasso():
    """Groups of one have s = 1: a linear layer of one input feels L1-SP and GL-SP alike."""
    runs = []
    for text in ("l1_sp(alpha=0.3, beta=0, include='weights')", "gl_sp(alpha=0.3, beta=0, include='weights')"):
        net, methods = (
            torch.nn.Sequential(torch.nn.Linear(1, 5), torch.nn.Linear(5, 2)).double(),
            holdfast.compose(text),
        )
        with torch.no_grad():
            for i, p in enumerate(net.parameters()):
                p.copy_(torch.arange(p.numel(), dtype=p.dtype).view_as(p) + i)
        methods.prepare(net, "1")
        with torch.no_grad():
            net[0].weight += 0.5
        methods.loss(net(torch.ones(1, 1).double()).sum() * 0).backward()
        runs.append(net[0].weight.grad)
    torch.testing.assert_close(runs[0], runs[1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("form", ["smoothed", "proximal"])
def test_resumed_runs_keep_the_anchor_and_the_head_is_pulled_to_zero(form):
    text = f"gl_sp(alpha=0.05, beta=0.5, form='{form}')"
    loop, start = Loop(text).train(4), Loop(text).weights()
    resumed = Loop.resumed(loop.save(), text, weights_first=True)
    assert_equal(resumed.methods.state_dict()["start"], {n: v for n, v in start.items() if not n.startswith(HEAD)})
    x, y = loop.batches[0]
    fresh, plain = Loop(text).gradients(x, y), Loop("").gradients(x, y)
    for name in ("head.weight", "head.bias"):
        torch.testing.assert_close(fresh[name] - plain[name], 0.5 * start[name])


def test_channels_last_groups_are_the_same():
    usual, turned = (
        Loop("gl_sp(alpha=0.05, form='proximal')", conv_net),
        Loop("gl_sp(alpha=0.05, form='proximal')", last),
    )
    assert turned.model.stage1[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert_close(turned.train().weights(), usual.train().weights())
    smoothed = [Loop("gl_sp(alpha=0.05)", make).train().weights() for make in (conv_net, last)]
    assert_close(*smoothed)


def last():
    return conv_net().to(memory_format=torch.channels_last)


def test_the_proximal_form_is_refused_inside_dtnh():
    with pytest.raises(ConflictError, match=r"proximal part of gl_sp\(form='proximal'\)"):
        holdfast.compose("dtnh(l2_sp+gl_sp(form='proximal'))")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            conv_net,
            r"√p ‖w_g − w⁰_g‖, smoothed by 1e-16, on the body: 2 tensors, .* \(weights\), 10 channels; ",
        ),
        (
            token_net,
            r"0\.0005·‖w − w⁰‖² on the rest of the body: 8 tensors, 258 numbers \(all\); 0\.005·‖w‖² on",
        ),
    ],
)
def test_describe(make, words):
    (line,) = Loop("gl_sp", make).methods.describe()
    assert re.search(words, line), line


def test_golden_trajectory():
    follows_golden("gl_sp(alpha=0.03, beta=0.7)")

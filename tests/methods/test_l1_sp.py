"""L1-SP against its formula, limit cases, the oracle in both forms with every preset; exact zeros of w − w⁰."""

import re

import pytest
import torch

import holdfast
from holdfast.core.errors import ConflictError, StartingPointError
from methods import contract
from methods.loop import HEAD_LR, LR, NETWORKS, Loop, assert_equal, conv_net, frozen_conv_net, token_net
from methods.oracles import follow, rifle_draw
from methods.trajectories import follows_golden
from reference import l1_sp as oracle
from reference import l2_sp as l2_sp_oracle
from reference import rifle as rifle_oracle
from reference.networks import HEAD

# A bias before batch-norm has no gradient but rounding, which a root of 1e-16 makes a push of full strength.
STILL = (frozen_conv_net, token_net)


@contract.every_check
@pytest.mark.parametrize("text", ["l1_sp(alpha=0.02, eps=0.001)", "l1_sp(alpha=0.05, form='proximal')"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


@pytest.mark.parametrize("make", STILL)
def test_default_smoothing_is_the_oracles(make):
    follow("l1_sp(alpha=0.03, beta=0.7)", make, {"penalty": oracle.penalty(0.03, 0.7)})


@pytest.mark.parametrize("make", NETWORKS)
def test_wide_smoothing_is_the_oracles(make):
    follow("l1_sp(alpha=0.3, beta=0.7, eps=0.01)", make, {"penalty": oracle.penalty(0.3, 0.7, 0.01)})


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("include", ["weights", "+bias", "+norm", "all"])
def test_include_is_the_oracles(make, include):
    # the oracle's include speaks of the body; its head is whole
    text = f"l1_sp(alpha=0.05, beta=0, eps=0.001, include='{include}')"
    follow(text, make, {"penalty": oracle.penalty(0.05, 0.0, 0.001, include)})


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(("preset", "eps"), [("li2018", 1e-16), ("li2018abs", 0.0)])
def test_presets_are_the_authors_codes(make, preset, eps):
    body, head = oracle.penalty(0.03, 0.0, eps, "weights"), l2_sp_oracle.penalty(0.0, 0.7, "li2018")
    follow(f"l1_sp@{preset}(alpha=0.03, beta=0.7)", make, {"penalty": lambda step: body(step) + head(step)})


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("alpha", [0.002, 0.05, 0.5])
def test_proximal_form_is_the_oracles(make, alpha):
    wanted = {"penalty": oracle.head_term(0.7), "after_step": oracle.proximal_step(alpha)}
    follow(f"l1_sp(alpha={alpha}, beta=0.7, form='proximal')", make, wanted)


@pytest.mark.parametrize("make", NETWORKS)
def test_proximal_form_follows_the_hosts_schedule(make):
    """The rate is the one that the step was taken with, not what the scheduler has made of it since."""
    wanted = {
        "penalty": oracle.head_term(0.01),
        "after_step": oracle.proximal_step(0.05),
        "schedule": lambda t: 0.5**t,
    }
    text = "l1_sp(alpha=0.05, form='proximal')"
    follow(text, make, wanted, schedule=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5))


@pytest.mark.parametrize("make", NETWORKS)
def test_proximal_form_fades_with_the_runs_penalties(make):
    """From epoch to epoch, the step after an epoch's last step still at that epoch's strength."""
    head = oracle.head_term(0.7)

    def after_step(run):
        oracle.proximal_step(0.1 * 0.5 ** ((run.t - 1) // 3))(run)

    wanted = {"penalty": lambda step: 0.5 ** (step.t // 3) * head(step), "after_step": after_step}
    follow("l1_sp(alpha=0.1, beta=0.7, form='proximal')", make, wanted, penalty_decay=0.5)


def scheduled_before_the_methods_hear(loop, gamma):
    """Steps as Lightning makes them: the scheduler moves on before the methods are told."""
    scheduler = torch.optim.lr_scheduler.ExponentialLR(loop.optimizer, gamma)
    for t in range(8):
        loop.accumulate([loop.batches[t % 3]])
        loop.optimizer.step()
        scheduler.step()
        loop.methods.step(loop.optimizer)
    return loop


def test_a_scheduler_that_steps_first_changes_nothing():
    text = "l1_sp(alpha=0.05, form='proximal')"
    usual = Loop(text, schedule=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)).train()
    assert_equal(scheduled_before_the_methods_hear(Loop(text), 0.5).weights(), usual.weights())


@pytest.mark.parametrize("make", NETWORKS)
def test_proximal_form_beside_rifle_is_the_oracles(make):
    """The body shrinks at its own rate, whatever becomes of the head's."""
    shrink, draw = oracle.proximal_step(0.05), rifle_draw(8, 2)

    def after_step(run):
        if run.t == 4:
            rifle_oracle.reset(run, 1, draw, keep_state=False)
        shrink(run)

    wanted = {
        "penalty": oracle.head_term(0.3),
        "after_step": after_step,
        "head_schedule": lambda t: rifle_oracle.head_factor(t, 8, 2),
    }
    loop = follow("rifle(periods=2)+l1_sp(alpha=0.05, beta=0.3, form='proximal')", make, wanted)
    assert 0 < loop.methods.log["l1_sp.frozen_share"] < 1


def one_number(text, w=5.0):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        net[1].weight.fill_(3.0)
        net[2].weight.fill_(-2.0)
    methods = holdfast.compose(text)
    methods.prepare(net, "2")
    with torch.no_grad():
        net[1].weight.fill_(w)
    return net, methods


def test_closed_form_on_two_numbers():
    net, methods = one_number("l1_sp(alpha=0.5, beta=0.25)")
    loss = methods.loss(net(torch.ones(1, 1)).sum() * 0)
    assert loss.item() == 0.5 * 2 + 0.5 * 0.25 * 4
    loss.backward()
    assert net[1].weight.grad.item() == 0.5
    assert net[2].weight.grad.item() == 0.25 * -2


@pytest.mark.parametrize(("w", "after"), [(3.75, 3.25), (3.5, 3.0), (3.25, 3.0), (3.0, 3.0), (2.75, 3.0), (1.0, 1.5)])
def test_soft_threshold_on_one_number(w, after):
    net, methods = one_number("l1_sp(alpha=1, beta=0, form='proximal')", w)
    optimizer = torch.optim.SGD(methods.param_groups(net, lr=0.5))
    methods.loss(net(torch.ones(1, 1)).sum() * 0).backward()
    optimizer.step()
    methods.step(optimizer)
    assert net[1].weight.item() == after
    assert methods.log["l1_sp.frozen"] == (after == 3.0)
    assert methods.log["l1_sp.frozen_share"] == (after == 3.0)


@pytest.mark.parametrize("make", NETWORKS)
def test_frozen_parameters_are_counted_and_exactly_at_the_start(make):
    loop = Loop("l1_sp(alpha=0.1, form='proximal')", make)
    start = loop.weights()
    after = loop.train().weights()
    names = [n for n, _ in loop.model.named_parameters() if not n.startswith(HEAD)]
    still = sum((after[n] == start[n]).sum().item() for n in names)
    assert loop.methods.log["l1_sp.frozen"] == still
    assert 0 < still < sum(start[n].numel() for n in names)


@pytest.mark.parametrize("make", NETWORKS)
def test_a_strong_pull_freezes_the_whole_body(make):
    loop = Loop("l1_sp(alpha=1000, form='proximal')", make)
    start = loop.weights()
    after = loop.train().weights()
    names = [n for n, _ in loop.model.named_parameters() if not n.startswith(HEAD)]
    assert_equal({n: after[n] for n in names}, {n: start[n] for n in names})
    assert loop.methods.log["l1_sp.frozen_share"] == 1


@pytest.mark.parametrize("form", ["smoothed", "proximal"])
@pytest.mark.parametrize("make", NETWORKS)
def test_the_head_is_pulled_to_zero_not_to_its_random_start(make, form):
    loop, plain = Loop(f"l1_sp(alpha=0.01, beta=0.5, form='{form}')", make), Loop("", make)
    x, y = loop.batches[0]
    ours, theirs = loop.gradients(x, y), plain.gradients(x, y)
    for name, p in loop.model.named_parameters():
        if name.startswith(HEAD):
            torch.testing.assert_close(ours[name] - theirs[name], 0.5 * p.detach())


def test_frozen_parameters_and_those_without_a_gradient_are_left_alone():
    loop = Loop("l1_sp(alpha=0.05, form='proximal')").train(2)
    loop.model.embed.requires_grad_(False)
    moved = loop.weights()["embed.weight"]
    loop.train(2)
    assert torch.equal(loop.weights()["embed.weight"], moved)
    loop.model.embed.requires_grad_(True)
    loop.accumulate([loop.batches[0]])
    loop.model.embed.weight.grad = None
    loop.finish()
    assert torch.equal(loop.weights()["embed.weight"], moved)


@pytest.mark.parametrize("form", ["smoothed", "proximal"])
def test_a_resumed_run_keeps_the_anchor(form):
    """Restored weights are never taken for w⁰: half way they are far from it, and the pull goes on to lead back."""
    text = f"l1_sp(alpha=0.05, form='{form}')"
    loop = Loop(text).train(4)
    start, file = Loop(text).weights(), loop.save()
    resumed = Loop.resumed(file, text, weights_first=True)
    assert not torch.equal(resumed.weights()["embed.weight"], start["embed.weight"])
    assert_equal(resumed.methods.state_dict()["start"], {n: v for n, v in start.items() if not n.startswith(HEAD)})
    state = loop.methods.state_dict()
    del state["start"]["embed.weight"]
    with pytest.raises(StartingPointError, match=r"nothing for embed\.weight"):
        Loop(text).methods.load_state_dict(state)


def test_sixteen_bits_at_the_start_are_finite():
    for text in ("l1_sp(alpha=0.1)", "l1_sp(alpha=0.1, eps=0)", "l1_sp(alpha=0.1, form='proximal')"):
        net, methods = one_number(text, 3.0)
        net.half()
        optimizer = torch.optim.SGD(methods.param_groups(net, lr=0.5))
        methods.loss(net(torch.ones(1, 1).half()).sum() * 0).backward()
        assert net[1].weight.grad.item() == 0
        optimizer.step()
        methods.step(optimizer)
        assert net[1].weight.item() == 3


def test_the_proximal_form_is_refused_inside_dtnh():
    with pytest.raises(ConflictError, match=r"proximal part of l1_sp\(form='proximal'\) is none.*beside dtnh"):
        holdfast.compose("dtnh(l1_sp(form='proximal'))")
    holdfast.compose("dtnh(l1_sp)")


def test_momentum_gathers_the_push_that_the_threshold_must_hold():
    """A push of 1 gathers to 1/(1 − 0.9) = 10; a threshold of less is overcome in time, though it held at first."""
    for alpha, first, moves in ((0.5, True, True), (5.0, False, True), (11.0, False, False)):
        net, methods = one_number(f"l1_sp(alpha={alpha}, beta=0, form='proximal')", 3.0)
        optimizer = torch.optim.SGD(methods.param_groups(net, lr=0.01), momentum=0.9)
        moved = []
        for _ in range(40):
            optimizer.zero_grad()
            methods.loss(net[1].weight.sum() + 0 * net[2].weight.sum()).backward()
            optimizer.step()
            methods.step(optimizer)
            moved.append(net[1].weight.item() != 3.0)
        assert (moved[0], moved[-1]) == (first, moves)


def test_rates_of_the_two_groups_are_told_apart():
    loop = Loop("l1_sp(alpha=0.05, form='proximal')").train(1)
    state = next(loop.methods._walk()).state
    assert state.rates.of(loop.model.embed.weight) == LR
    assert state.rates.of(loop.model.head.weight) == HEAD_LR


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("l1_sp(alpha=0.25)", r"0\.25·‖w − w⁰‖₁, smoothed by 1e-16, on the body: 7 tensors, 385 numbers \(all\); "),
        ("l1_sp(form='proximal')", r"as a step after the optimiser's.*0\.005·‖w‖² on the head: 2 tensors"),
    ],
)
def test_describe(text, words):
    line = Loop(text, conv_net).methods.describe()[0]
    assert re.search(words, line), line


def test_golden_trajectory():
    follows_golden("l1_sp(alpha=0.03, beta=0.7, eps=0.0001)")

"""RIFLE against its formulas, limit cases and the oracle; whose rate is whose."""

import math

import pytest
import torch

import holdfast
from holdfast.core.errors import ConflictError, UsageError
from methods import contract
from methods.loop import HEAD_LR, LR, NETWORKS, Loop, assert_close, assert_equal
from methods.oracles import OPTIONS, batches, follow, rifle_draw
from methods.trajectories import follows_golden
from reference import l2_sp as l2_sp_oracle
from reference import rifle as oracle
from reference.networks import HEAD


@contract.every_check
@pytest.mark.parametrize("text", ["rifle(periods=4)", "rifle(periods=3, cycle='printed', keep_state=true, std=0.2)"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


def cosine(optimizer):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=11)


def same_cosine(t: int) -> float:
    return 0.5 * (math.cos(math.pi * t / 11) + 1)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("variant", ["full", "A", "B"])
@pytest.mark.parametrize("cycle", ["annealed", "printed"])
@pytest.mark.parametrize("keep", [False, True])
def test_trajectory_is_the_oracles(make, variant, cycle, keep):
    options = {"periods": 4, "variant": variant, "cycle": cycle, "keep_state": keep, "schedule": same_cosine}
    wanted = oracle.rifle(make(), HEAD, batches(), steps=11, draw=rifle_draw(11, 4), **options, **OPTIONS)
    text = f"rifle(periods=4, variant='{variant}', cycle='{cycle}', keep_state={str(keep).lower()})"
    loop = follow(text, make, wanted, steps=11, total_steps=11, schedule=cosine)
    assert loop.methods.log["rifle.resets"] == (0 if variant == "B" else 3)


@pytest.mark.parametrize("make", NETWORKS)
def test_beside_a_penalty_and_with_a_scale_of_ones_own_is_the_oracles(make):
    penalty = l2_sp_oracle.penalty(0.3)
    wanted = oracle.rifle(
        make(), HEAD, batches(), steps=8, periods=2, draw=rifle_draw(8, 2, 0.7), penalty=penalty, **OPTIONS
    )
    follow("rifle(periods=2, std=0.7)+l2_sp(alpha=0.3)", make, wanted)


def rates_taken(loop: Loop, steps: int) -> list[dict[str, float]]:
    """The rates that each step was taken with, and a check that the host gets its own back."""
    taken = []

    def look(optimizer, args, kwargs):
        taken.append({group["name"]: group["lr"] for group in optimizer.param_groups})

    handle = loop.optimizer.register_step_pre_hook(look)  # runs after torch's global hooks
    for _ in range(steps):
        before = [group["lr"] for group in loop.optimizer.param_groups]
        loop.step(loop.batches[0])
        if loop.scheduler is None:
            assert [group["lr"] for group in loop.optimizer.param_groups] == before
    handle.remove()
    return taken


def test_head_follows_its_cycle_and_the_body_the_hosts_schedule():
    loop = Loop("rifle(periods=2)", total_steps=8, schedule=cosine)
    taken = rates_taken(loop, 8)
    cycle = [0.5 * (math.cos(math.pi * tau / 4) + 1) for tau in range(4)] * 2
    assert [rates["head"] for rates in taken] == pytest.approx([HEAD_LR * c for c in cycle], rel=1e-12)
    assert [rates["body"] for rates in taken] == pytest.approx([LR * same_cosine(t) for t in range(8)], rel=1e-9)
    # what the scheduler left in the groups is the schedule's, for the head too
    left = {group["name"]: group["lr"] for group in loop.optimizer.param_groups}
    assert left == pytest.approx({"body": LR * same_cosine(8), "head": HEAD_LR * same_cosine(8)}, rel=1e-9)


def test_the_rate_is_taken_back_after_every_step():
    rates_taken(Loop("rifle(periods=2)"), 8)


def test_printed_cycle_ends_each_period_at_its_highest_rate():
    taken = rates_taken(Loop("rifle(periods=2, cycle='printed')", total_steps=8), 8)
    assert [rates["head"] / HEAD_LR for rates in taken] == pytest.approx([1, 0.5, 0, 0.5] * 2, abs=1e-12)


def test_variant_a_leaves_the_rate_alone():
    taken = rates_taken(Loop("rifle(periods=2, variant='A')"), 8)
    assert {rates["head"] for rates in taken} == {HEAD_LR}


@pytest.mark.parametrize(
    ("total", "periods", "due"), [(8, 4, [2, 4, 6]), (11, 4, [2, 4, 6]), (8, 1, []), (3, 3, [1, 2])]
)
def test_no_reset_leaves_less_than_a_full_period(total, periods, due):
    loop = Loop(f"rifle(periods={periods})", total_steps=total)
    found = []
    for t in range(total):
        loop.train(1)
        if bool((loop.model.head.bias == 0).all()):
            found.append(t + 1)
    assert found == due
    assert loop.methods.log["rifle.resets"] == len(due)


@pytest.mark.parametrize(
    ("text", "std"), [("rifle(periods=2)", 1 / math.sqrt(3 * 400)), ("rifle(periods=2, std=0.5)", 0.5)]
)
def test_new_head_has_the_stated_scale(text, std):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 400), torch.nn.Linear(400, 300))
    methods = holdfast.compose(text)
    methods.prepare(net, "2", total_steps=2)
    optimizer = torch.optim.SGD(methods.param_groups(net, lr=0.1))
    body = net[1].weight.clone()
    optimizer.step()
    methods.step(optimizer)
    assert net[2].weight.std().item() == pytest.approx(std, rel=0.01)
    assert abs(net[2].weight.mean().item()) < 4 * std / math.sqrt(120_000)
    assert bool((net[2].bias == 0).all())
    assert torch.equal(net[1].weight, body)


def test_a_head_without_bias_is_drawn_anew():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 4, bias=False))
    methods = holdfast.compose("rifle(periods=2)")
    methods.prepare(net, "1", total_steps=2)
    optimizer = torch.optim.SGD(methods.param_groups(net, lr=0.1))
    before = net[1].weight.clone()
    optimizer.step()
    methods.step(optimizer)
    assert not torch.equal(net[1].weight, before)


@pytest.mark.parametrize("keep", [False, True])
def test_optimiser_state_of_the_head_alone_is_cleared(keep):
    loop = Loop(f"rifle(periods=2, keep_state={str(keep).lower()})").train(4)
    assert (loop.model.head.weight in loop.optimizer.state) == keep
    assert loop.model.embed.weight in loop.optimizer.state


def test_another_seed_draws_another_head():
    heads = [Loop("rifle(periods=2)", seed=seed).train(4).model.head.weight for seed in (0, 1, 0)]
    assert torch.equal(heads[0], heads[2])
    assert not torch.equal(heads[0], heads[1])


def test_one_period_of_b_anneals_the_head_once():
    taken = rates_taken(Loop("rifle(periods=1, variant='B')"), 8)
    assert [r["head"] / HEAD_LR for r in taken] == pytest.approx(
        [0.5 * (math.cos(math.pi * t / 8) + 1) for t in range(8)]
    )


def test_steps_beyond_the_total_do_not_raise_the_rate_again():
    taken = rates_taken(Loop("rifle(periods=2)", total_steps=4), 8)
    assert [rates["head"] for rates in taken[4:]] == pytest.approx([0] * 4, abs=1e-12)


@pytest.mark.parametrize("make", NETWORKS)
def test_one_period_of_a_is_plain_training(make):
    assert_equal(Loop("rifle(periods=1, variant='A')", make).train().weights(), Loop("", make).train().weights())


def test_a_clock_of_accumulated_steps():
    """Micro-batches do not move the period; what is drawn and scaled is per optimiser step."""
    whole, parts = Loop("rifle(periods=4)"), Loop("rifle(periods=4)")
    for t in range(8):
        x, y = whole.batches[t % 3]
        whole.step((x, y))
        parts.optimizer.zero_grad()
        for half in (slice(4), slice(4, 8)):
            (parts.loss(x[half], y[half]) / 2).backward()
            if half.stop == 4:
                parts.methods.step(parts.optimizer)  # no step was taken: nothing happens
        parts.finish()
    assert_close(parts.weights(), whole.weights(), rtol=1e-9)


def test_an_optimiser_without_a_head_group_is_refused():
    loop = Loop("rifle(periods=2)")
    together = torch.optim.SGD(loop.model.parameters(), lr=0.1)
    loop.accumulate([loop.batches[0]])
    with pytest.raises(
        ConflictError, match=r"rifle\(periods=2\) schedules the head's.*param_groups\(model, lr=\.\.\.\)"
    ):
        together.step()


def test_two_schedules_of_the_head_are_both_named():
    with pytest.raises(ConflictError, match=r"rifle\(periods=2\) and rifle both own the learning rate of the head"):
        holdfast.compose("rifle(periods=2)+rifle")
    holdfast.compose("rifle(periods=2)+rifle(variant='A')")  # one schedules, the other draws


def test_needs_total_steps():
    with pytest.raises(UsageError, match=r"rifle needs total_steps.*total_steps=N"):
        Loop("rifle", total_steps=None)
    with pytest.raises(UsageError, match=r"9 periods need as many optimiser steps, total_steps is 8"):
        Loop("rifle(periods=9)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rifle(periods=0)", "periods must be finite and >= 1, got 0"),
        ("rifle(periods=2.5)", "periods must be a whole number, got 2.5"),
        ("rifle(periods=inf)", "periods must be a whole number, got inf"),
        ("rifle(std=0)", "std must be finite and > 0, got 0"),
        ("rifle(variant='C')", "variant must be one of 'full', 'A', 'B', got 'C'"),
        ("rifle(cycle=annealed)", "unknown method 'annealed'"),
    ],
)
def test_values_out_of_range_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        holdfast.compose(text)


def test_golden_trajectory():
    follows_golden("rifle(periods=4)")

"""The cyclic rate against its formulas and the oracle; that it is on, on every parameter, and whose it is."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

import holdfast
from holdfast.core.errors import ConflictError, UsageError
from holdfast.core.method import Method, State, Sum
from methods import contract
from methods.loop import HEAD_LR, LR, NETWORKS, Loop, assert_close, assert_equal, differ
from methods.oracles import OPTIONS, batches, follow
from methods.trajectories import follows_golden
from reference import cyclic_lr as oracle
from reference.networks import HEAD
from reference.training import train


@contract.every_check
@pytest.mark.parametrize("text", ["cyclic_lr(cycles=3)", "cyclic_lr(cycles=2, shape='triangular', floor=0.1)"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("cycles", [2, 3, 4])
@pytest.mark.parametrize(("shape", "floor"), [("cosine", 0.0), ("triangular", 0.0), ("triangular", 0.2)])
def test_trajectory_is_the_oracles(make, cycles, shape, floor):
    schedule = oracle.schedule(11, cycles, shape, floor)
    wanted = train(make(), HEAD, batches(), steps=11, schedule=schedule, **OPTIONS)
    follow(f"cyclic_lr(cycles={cycles}, shape='{shape}', floor={floor})", make, wanted, steps=11, total_steps=11)


def rates_taken(loop, steps):
    """The rates that each step was taken with."""
    taken = []
    handle = loop.optimizer.register_step_pre_hook(
        lambda optimizer, args, kwargs: taken.append({g["name"]: g["lr"] for g in optimizer.param_groups})
    )
    loop.train(steps)
    handle.remove()
    return taken


def test_the_rate_really_runs_in_cycles_on_head_and_body():
    """A cyclic rate that is documented but off would leave every rate where it was."""
    taken = rates_taken(Loop("cyclic_lr(cycles=2)"), 8)
    factors = [1, 0.8535533905932737, 0.5, 0.14644660940672627] * 2
    assert [rates["body"] / LR for rates in taken] == pytest.approx(factors)
    assert [rates["head"] / HEAD_LR for rates in taken] == pytest.approx(factors)


def test_the_hosts_schedule_is_without_effect_and_gets_its_rates_back():
    loop = Loop(
        "cyclic_lr(cycles=2)", schedule=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    )
    alone = Loop("cyclic_lr(cycles=2)").train(8)
    loop.train(8)
    assert_equal(loop.weights(), alone.weights())
    assert [group["lr"] for group in loop.optimizer.param_groups] == pytest.approx([LR / 256, HEAD_LR / 256])


@dataclass
class Second(State):
    """A module that trains beside the network."""

    second: nn.Module


class Beside(Method):
    """Has one."""

    stem = "beside"

    def bind(self, model, ctx):
        return Second(nn.Linear(2, 2).double())

    def penalty(self, step, state):
        return state.second.weight.square().sum()


def test_modules_that_train_beside_the_network_follow_too():
    loop = Loop(Sum((*holdfast.compose("cyclic_lr(cycles=2)").expression, Beside())))
    taken = rates_taken(loop, 4)
    assert taken[2]["extra"] < taken[1]["extra"] < taken[0]["extra"]
    assert [rates["extra"] / taken[0]["extra"] for rates in taken] == pytest.approx(
        [rates["head"] / taken[0]["head"] for rates in taken]
    )


def test_the_cycle_counts_steps_that_were_taken():
    whole, parts = Loop("cyclic_lr(cycles=4)"), Loop("cyclic_lr(cycles=4)")
    for t in range(8):
        x, y = whole.batches[t % 3]
        whole.step((x, y))
        parts.step(*zip(x.split(4), y.split(4), strict=True))
    assert_close(parts.weights(), whole.weights(), rtol=1e-9)


def test_steps_beyond_the_total_do_not_raise_the_rate_again():
    taken = rates_taken(Loop("cyclic_lr(cycles=2)", total_steps=4), 8)
    assert [rates["head"] for rates in taken[4:]] == pytest.approx([0] * 4, abs=1e-12)


def test_no_cycles_leave_the_hosts_schedule_and_need_no_total():
    halving = {"schedule": lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)}
    loop = Loop("cyclic_lr(cycles=0)", total_steps=None, **halving).train()
    assert_equal(loop.weights(), Loop("", **halving).train().weights())
    assert loop.methods.describe() == ["cyclic_lr: no cycles: the host's rates stay"]


def test_one_cycle_is_one_cosine():
    one = Loop("cyclic_lr(cycles=1)").train()
    anneal = {"schedule": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)}
    assert_close(one.weights(), Loop("", **anneal).train().weights(), rtol=1e-9)
    assert differ(one.weights(), Loop("").train().weights())


def test_two_schedules_of_the_head_are_both_named():
    for rifle in ("rifle", "rifle(variant='B')"):
        with pytest.raises(ConflictError) as caught:
            holdfast.compose(f"{rifle}+cyclic_lr")
        assert str(caught.value).startswith(f"{rifle} and cyclic_lr both own the learning rate of the head")
    loop = Loop("rifle(periods=2, variant='A')+cyclic_lr(cycles=2)").train()  # one draws, the other schedules
    assert loop.methods.log["rifle.resets"] == 1


def test_an_optimiser_without_groups_of_head_and_body_is_refused():
    loop = Loop("cyclic_lr")
    together = torch.optim.SGD(loop.model.parameters(), lr=0.1)
    loop.accumulate([loop.batches[0]])
    with pytest.raises(ConflictError, match=r"cyclic_lr schedules the head's.*param_groups\(model, lr=\.\.\.\)"):
        together.step()


@pytest.mark.parametrize(
    ("text", "total", "message"),
    [
        ("cyclic_lr", None, r"cyclic_lr needs total_steps.*total_steps=N"),
        ("cyclic_lr(cycles=9)", 8, "9 cycles need as many optimiser steps, total_steps is 8"),
        ("cyclic_lr(cycles=-1)", 8, "cycles must be finite and >= 0, got -1"),
        ("cyclic_lr(shape='saw')", 8, "shape must be one of 'cosine', 'triangular', got 'saw'"),
        ("cyclic_lr(floor=0.1)", 8, "floor=0.1 has no meaning for the cosine.*shape='triangular'"),
        ("cyclic_lr(shape='triangular', floor=2)", 8, "floor must be finite and >= 0 and <= 1, got 2"),
    ],
)
def test_what_cannot_be_is_refused(text, total, message):
    with pytest.raises(UsageError, match=message):
        Loop(text, total_steps=total)


def test_golden_trajectory():
    follows_golden("cyclic_lr(cycles=3)")

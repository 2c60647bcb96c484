"""A composition's life: binding, a step in all its forms, the log, and saving."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import holdfast
from holdfast.core.errors import ConflictError, ModelError, UsageError
from holdfast.core.method import Method, Sum
from methods.loop import NETWORKS, Loop, assert_close, assert_equal, differ, frozen_conv_net, token_net
from reference.networks import HEAD

ALL = "rifle(periods=2)+dtnh(l2_sp(alpha=0.3))+ptr(T=inf)"


# -- what compose takes ----------------------------------------------------------------------------------
def test_texts_objects_and_sums_compose():
    wanted = holdfast.compose("l2_sp(alpha=0.5)+ptr").expression
    method = holdfast.L2SP(alpha=0.5)
    assert holdfast.compose(method, "ptr").expression == wanted
    assert holdfast.compose(method + holdfast.PtR()).expression == wanted
    assert holdfast.compose("l2_sp(alpha=0.5)", Sum((holdfast.PtR(),))).expression == wanted
    assert str(holdfast.compose(method, "ptr")) == "l2_sp(alpha=0.5)+ptr"


@pytest.mark.parametrize("nothing", [(), ("",), ("plain",), ("  ",)])
def test_no_method_is_plain(nothing):
    methods = holdfast.compose(*nothing)
    assert str(methods) == "plain"
    assert not list(methods.expression)


def test_other_things_are_refused():
    with pytest.raises(UsageError, match="takes texts and methods, got a int"):
        holdfast.compose(3)


def test_two_owners_of_one_decay_are_both_named():
    with pytest.raises(ConflictError, match=r"l2_sp and l2\(alpha=0.5\) both penalise .*: keep one"):
        Loop("l2_sp+l2(alpha=0.5)")
    Loop("l2_sp(include='weights', head='free')").train(1)


# -- prepare, remove -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.loss(torch.ones((), requires_grad=True)),
        lambda m: m.step(None),
        lambda m: m.param_groups(token_net(), lr=0.1),
        lambda m: m.state_dict(),
        lambda m: m.load_state_dict({}),
        lambda m: m.calibrate([]),
    ],
)
def test_nothing_works_before_prepare(call):
    with pytest.raises(UsageError, match=r"call methods\.prepare\(model, \.\.\.\) first"):
        call(holdfast.compose("l2_sp"))


def test_preparing_twice_is_refused():
    loop = Loop("l2_sp")
    with pytest.raises(UsageError, match="bound to a network already"):
        loop.methods.prepare(loop.model, HEAD)


def test_a_head_that_is_none_is_refused():
    with pytest.raises(ModelError, match="no module 'classifier'"):
        holdfast.compose("l2_sp").prepare(token_net(), "classifier")


@pytest.mark.parametrize("make", NETWORKS)
def test_removed_methods_serve_a_second_network(make):
    """Nothing of the first run leaks into the second: anchors, foreign parameters, the clock."""
    outside = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
    methods = holdfast.compose(ALL)
    first = Loop(methods, make, extra=[outside])
    first.optimizer.zero_grad()
    first.methods.loss(first.network(first.batches[0][0]).square().mean() * outside).backward()
    first.finish()
    methods.remove()
    assert_equal(Loop(methods, make).train().weights(), Loop(ALL, make).train().weights())
    assert methods._extras._foreign == []


def test_one_method_object_serves_two_networks_at_once():
    method = holdfast.L2SP(alpha=0.5)
    together = [Loop(method), Loop(method, frozen_conv_net)]
    for _ in range(4):
        for loop in together:
            loop.train(1)
    for loop, make in zip(together, (token_net, frozen_conv_net), strict=True):
        assert_equal(loop.weights(), Loop(method, make).train(4).weights())


def test_a_dropout_that_works_in_place_does_not_spoil_the_representation():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.Dropout(0.5, inplace=True), nn.Linear(6, 3))
    methods = holdfast.compose("ptr(T=inf)")
    methods.prepare(net, total_steps=1)
    methods.loss(F.cross_entropy(net(torch.randn(4, 12)), torch.tensor([0, 1, 2, 0]))).backward()
    assert methods.log["ptr.w"] > 0


def test_groups_hold_the_rates_and_the_decay_asked_for():
    model = token_net()
    methods = holdfast.compose("ptr(T=inf)")
    methods.prepare(model, HEAD)
    groups = {g["name"]: g for g in methods.param_groups(model, lr=0.1, head_lr=0.3, weight_decay=0.01)}
    names = {id(p): n for n, p in model.named_parameters()}
    held = {name: {names[id(p)] for p in group["params"]} for name, group in groups.items()}
    assert held["body"] == {"embed.weight", "stage1.1.weight", "stage2.1.weight"}
    assert held["head"] == {"head.weight"}
    assert held["head_no_decay"] == {"head.bias"}
    assert set.union(*held.values()) == set(names.values())
    assert {name: (g["lr"], g["weight_decay"]) for name, g in groups.items()} == {
        "body": (0.1, 0.01), "body_no_decay": (0.1, 0.0), "head": (0.3, 0.01), "head_no_decay": (0.3, 0.0),
    }  # fmt: skip
    assert {g["lr"] for g in methods.param_groups(model, lr=0.1)} == {0.1}


def test_decay_is_nought_where_a_penalty_owns_the_parameters():
    loop = Loop("l2_sp@wan2019", weight_decay=0.01)  # owns the body, not the head
    assert {g["name"]: g["weight_decay"] for g in loop.optimizer.param_groups} == {
        "body_no_decay": 0.0, "head": 0.01, "head_no_decay": 0.0,
    }  # fmt: skip
    loop.train(1)


def test_groups_of_another_network_are_refused():
    with pytest.raises(UsageError, match="not the network that was prepared"):
        Loop("l2_sp").methods.param_groups(token_net(), lr=0.1)


# -- a step ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["l2_sp", "ptr(T=inf)", "dtnh(l2_sp)"])
def test_without_gradients_the_task_loss_comes_back(text):
    loop = Loop(text)
    x, y = loop.batches[0]
    J = F.cross_entropy(loop.network(x), y)
    assert loop.methods.loss(J.detach()).requires_grad is False
    with torch.no_grad():
        assert loop.methods.loss(J) is J
    assert loop.methods.clock.micro == 0


@pytest.mark.parametrize("text", [ALL, "ptr(T=inf)+l2_sp"])
def test_passes_without_gradient_before_a_step_change_nothing(text):
    loop, other = Loop(text), Loop(text)
    for _ in range(4):
        with torch.no_grad():
            loop.methods.loss(F.cross_entropy(loop.network(loop.batches[1][0]), loop.batches[1][1]))
        for each in (loop, other):
            each.train(1)
    assert_equal(loop.weights(), other.weights())


@pytest.mark.parametrize("text", [ALL, "ptr(T=inf)+l2_sp"])
def test_validation_with_gradients_on_leaves_no_trace_after_a_step(text):
    loop, other = Loop(text), Loop(text)
    for _ in range(4):
        loop.network(loop.batches[1][0])
        loop.methods.step(loop.optimizer)  # no step was taken; what was recorded is dropped
        for each in (loop, other):
            each.train(1)
    assert_equal(loop.weights(), other.weights())


def test_features_of_a_forward_that_had_no_loss_are_gone_after_a_step():
    @dataclass(frozen=True)
    class Count(Method):
        stem: ClassVar[str] = "count"
        taps: ClassVar[tuple[str, ...]] = ("rep",)

        def penalty(self, step, state):
            state.figures["rows"] = float(len(step.features("rep")))

    loop = Loop(Count())
    loop.network(loop.batches[1][0])
    loop.loss(*loop.batches[0])
    assert loop.methods.log["count.rows"] == 16  # several forwards before one loss belong to it
    loop.network(loop.batches[1][0])
    loop.methods.step(loop.optimizer)
    loop.loss(*loop.batches[0])
    assert loop.methods.log["count.rows"] == 8


def test_two_forwards_before_one_loss_are_both_edited():
    """PtR acts on each: as if the two halves had been losses of their own, drawn alike."""
    loop, plain = Loop("ptr(T=inf)"), Loop("")
    (x, y), (x2, y2) = loop.batches[:2]

    def gradients(each):
        each.optimizer.zero_grad()
        J = F.cross_entropy(each.network(x), y) + F.cross_entropy(each.network(x2), y2)
        each.methods.loss(J).backward()
        return {n: p.grad.clone() for n, p in each.model.named_parameters()}

    edited, bare = gradients(loop), gradients(plain)
    one = [Loop("ptr(T=inf)").gradients(*batch) for batch in loop.batches[:2]]
    assert differ(edited, bare)
    assert_close(edited, {n: one[0][n] + one[1][n] for n in bare})


@pytest.mark.parametrize("text", [ALL, "l2_sp", "ptr(T=inf)"])
def test_a_second_loss_without_a_step_is_a_step_of_its_own(text):
    """An abandoned loss leaves the gradient of the next one alone, but for PtR's draw."""
    loop, other = Loop(text), Loop(text)
    x, y = loop.batches[0]
    loop.loss(*loop.batches[1])  # never differentiated
    other.methods.clock.micro = 1
    assert_equal(loop.gradients(x, y), other.gradients(x, y))


@pytest.mark.parametrize("text", ["l2_sp", "ptr(T=inf)", "dtnh(l2_sp)", ALL])
def test_clipping_sees_the_regularised_gradient(text):
    loop, free = Loop(text), Loop(text)
    x, y = loop.batches[0]
    whole = free.gradients(x, y)
    loop.accumulate([(x, y)])
    norm = nn.utils.clip_grad_norm_(loop.model.parameters(), 1e-3)
    assert norm.item() == pytest.approx(sum(g.square().sum().item() for g in whole.values()) ** 0.5, rel=1e-12)
    shrunk = {n: g * (1e-3 / (norm + 1e-6)) for n, g in whole.items()}
    assert_close({n: p.grad for n, p in loop.model.named_parameters()}, shrunk, rtol=1e-12)


def test_steps_that_were_not_taken_do_not_move_the_clock():
    loop = Loop(ALL)
    for _ in range(3):
        loop.accumulate([loop.batches[0]])
        loop.methods.step(loop.optimizer)
    assert loop.methods.clock.step == 0
    loop.finish()
    loop.methods.step(loop.optimizer)
    assert loop.methods.clock.step == 1


def test_an_optimiser_of_other_parameters_does_not_move_the_clock():
    loop = Loop("l2_sp")
    other = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1, weight_decay=0.1)
    other.step()
    loop.methods.step(loop.optimizer)
    assert loop.methods.clock.step == 0


# -- figures and checkpoints -----------------------------------------------------------------------------
def test_log_names_each_figure_by_its_method():
    loop = Loop(f"{ALL}+rifle(variant='A', periods=4)").train(1)
    assert {"rifle.head_lr_factor", "l2_sp.penalty", "dtnh.lam", "ptr.w", "rifle#2.resets"} <= loop.methods.log.keys()
    for value in loop.methods.log.values():
        assert not isinstance(value, torch.Tensor) or (value.ndim == 0 and not value.requires_grad)


def test_logged_penalty_is_the_part_of_the_loss():
    loop, plain = Loop("l2(alpha=0.5)"), Loop("")
    x, y = loop.batches[0]
    total, J = loop.loss(x, y).item(), plain.loss(x, y).item()
    assert loop.methods.log["l2.penalty"].item() == pytest.approx(total - J, rel=1e-9)


def test_a_checkpoint_of_other_methods_is_refused():
    saved = Loop("l2_sp").methods.state_dict()
    with pytest.raises(UsageError, match=r"checkpoint is of l2_sp, this run of l2_sp\(alpha=0.5\)"):
        Loop("l2_sp(alpha=0.5)").methods.load_state_dict(saved)


def test_a_checkpoint_does_not_follow_the_run_that_goes_on():
    loop = Loop(ALL).train(2)
    saved = loop.methods.state_dict()
    step = saved["clock"]["step"]
    loop.train(3)
    assert saved["clock"]["step"] == step
    assert saved["states"]["rifle"] == {"resets": 0}

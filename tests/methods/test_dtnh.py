"""DTNH against its formulas, limit cases and the oracle; what it counts as the task's gradient."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import holdfast
from holdfast.core.errors import ConflictError, UsageError
from holdfast.core.method import Method, State, Sum
from methods import contract, micro, ranks
from methods.loop import (
    ADDITIVE_NETWORKS,
    NETWORKS,
    Loop,
    assert_close,
    assert_equal,
    differ,
    frozen_conv_net,
)
from methods.oracles import follow, ptr_targets
from methods.trajectories import follows_golden
from reference import dtnh as oracle
from reference import l2 as l2_oracle
from reference import l2_sp as l2_sp_oracle
from reference import ptr as ptr_oracle
from reference.networks import HEAD
from reference.training import add, dot, gradient, shared_parameters


@contract.every_check
@pytest.mark.parametrize("text", ["dtnh(l2_sp(alpha=0.5))", "dtnh(l2_sp(alpha=0.5), scope='layer', decay=0.5)"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ("", {}),
        (", scope='layer'", {"scope": "layer"}),
        (", lam=0.3", {"lam": 0.3}),
        (", lam=3, decay=0.5", {"lam": 3.0, "decay": 0.5, "steps_per_epoch": 3}),
        (", when='step'", {}),
    ],
)
def test_trajectory_is_the_oracles(make, options, rule):
    penalty = l2_sp_oracle.penalty(0.7, 0.3)
    loop = follow(f"dtnh(l2_sp(alpha=0.7, beta=0.3){options})", make, {"rule": oracle.rule(penalty, **rule)})
    assert "dtnh.conflict" in loop.methods.log


@pytest.mark.parametrize("make", NETWORKS)
def test_head_term_alone_is_the_oracles(make):
    """An Ω that reaches the head only: its missing entries count as 0 in the inner product."""
    follow("dtnh(l2(alpha=0, beta=2))", make, {"rule": oracle.rule(l2_oracle.penalty(0.0, 2.0))})


@dataclass(frozen=True)
class NormPull(Method):
    """A penalty on what ``include='weights'`` leaves out, to stand beside an L2-SP that owns the rest."""

    stem: ClassVar[str] = "norm_pull"

    def bind(self, model, ctx):
        state = State()
        state.params = [r.param for r in ctx.parameters if r.kind == "norm"]
        return state

    def penalty(self, step, state):
        return sum(p.square().sum() for p in state.params)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("order", [1, -1])
def test_penalty_outside_is_added_unprojected(make, order):
    def outside(step):
        names = shared_parameters(step.model, HEAD, "+norm")
        return sum(step.w[n].square().sum() for n in names if n not in shared_parameters(step.model, HEAD, "+bias"))

    inside = holdfast.compose("dtnh(l2_sp@li2018(alpha=0.7))").expression.methods[0]
    parts = (inside, NormPull())[::order]
    rule = oracle.rule(l2_sp_oracle.penalty(0.7, preset="li2018"), outside=outside)
    follow(Sum(parts), make, {"rule": rule})


@pytest.mark.parametrize("make", NETWORKS)
def test_ptr_beside_it_is_part_of_the_task(make):
    """DTNH's ∇J is that of J + w·L_PtR."""
    edited, penalty = ptr_oracle.rule(ptr_targets(1.0)), l2_sp_oracle.penalty(0.7)

    def rule(step, J):
        g_J, figures = edited(step, J)
        return oracle.direction(g_J, gradient(penalty(step), step.w)), figures

    follow("ptr(T=inf)+dtnh(l2_sp(alpha=0.7))", make, {"rule": rule})


def two_numbers(text: str, J, body: float = 3.0, head: float = -2.0, **options):
    """Gradients (body, head) of a network of two numbers under a task loss J(body, head)."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    with torch.no_grad():
        net[1].weight.fill_(body)
        net[2].weight.fill_(head)
    methods = holdfast.compose(text)
    methods.prepare(net, "2", **options)
    methods.loss(J(net[1].weight.sum(), net[2].weight.sum())).backward()
    return net[1].weight.grad.item(), net[2].weight.grad.item(), methods


def test_closed_form_in_conflict_and_out_of_it():
    # ∇Ω = (3, -2)
    b, h, _ = two_numbers("dtnh(l2(alpha=1))", lambda b, h: b + h)
    assert (b, h) == (1 + 3, 1 - 2)  # inner product 1: nothing is removed
    b, h, methods = two_numbers("dtnh(l2(alpha=1), lam=2)", lambda b, h: -b + h)
    c = (-3 - 2) / 2
    assert (b, h) == (-1 + 2 * (3 + c), 1 + 2 * (-2 - c))
    assert methods.log["dtnh.conflict"] == 1


def test_missing_penalty_gradient_counts_as_zero_so_the_heads_changes():
    # ∇J = (-1, 1), ∇Ω = (3, none): c = -3/2, and (1.5 - 1.5, 1.5) comes out
    b, h, _ = two_numbers("dtnh(l2(alpha=1, beta=0))", lambda b, h: -b + h)
    assert (b, h) == (-1 + 3 - 1.5, 1 + 1.5)
    b, h, _ = two_numbers("dtnh(l2(alpha=1, beta=0), scope='layer')", lambda b, h: -b + h)
    assert (b, h) == (-1 + 0, 1)  # layer by layer the head has no penalty and keeps its gradient


@pytest.mark.parametrize("scope", ["all", "layer"])
def test_no_task_gradient_leaves_the_penalty_whole(scope):
    b, h, _ = two_numbers(f"dtnh(l2(alpha=1), scope='{scope}')", lambda b, h: 0 * b + 0 * h)
    assert (b, h) == (3, -2)
    b, h, _ = two_numbers(f"dtnh(l2(alpha=1), scope='{scope}')", lambda b, h: -b)  # the head is out of the graph
    c = -1 * 3
    assert (b, h) == ((-1 + 3 + c, -2))


@pytest.mark.parametrize("make", NETWORKS)
def test_the_step_never_works_against_the_task(make):
    """⟨g, ∇J⟩ ≥ ‖∇J‖² all along plain training, where the bare pull back to the start reverses the step."""
    plain, projected, bare = (Loop(text, make) for text in ("", "dtnh(l2_sp(alpha=300))", "l2_sp(alpha=300)"))
    reversed_by_penalty = 0
    for _ in range(6):
        plain.train(1)
        for other in (projected, bare):
            other.model.load_state_dict(plain.weights())
        x, y = plain.batches[plain.t % 3]
        task = plain.gradients(x, y)
        reversed_by_penalty += dot(bare.gradients(x, y), task) < 0
        assert dot(projected.gradients(x, y), task) >= dot(task, task) * (1 - 1e-9)
    assert reversed_by_penalty


@pytest.mark.parametrize("make", NETWORKS)
def test_zero_lambda_is_plain_training(make):
    assert_equal(Loop("dtnh(l2(alpha=3), lam=0)", make).train().weights(), Loop("", make).train().weights())


@pytest.mark.parametrize("make", ADDITIVE_NETWORKS)
def test_accumulated_gradients_are_projected_once_where_asked(make):
    whole = Loop("dtnh(l2(alpha=1))", make)
    parts, halves = Loop("dtnh(l2(alpha=1), when='step')", make), Loop("dtnh(l2(alpha=1))", make)
    for t in range(4):
        x, y = whole.batches[t % 3]
        whole.step((x, y))
        for loop in (parts, halves):
            loop.step(*zip(x.split(2), y.split(2), strict=True))
    assert_close(parts.weights(), whole.weights(), rtol=1e-12)
    assert differ(halves.weights(), whole.weights())


@pytest.mark.parametrize("make", NETWORKS)
def test_by_default_each_micro_batch_is_projected(make):
    micro.is_formed_in_each_micro_batch("dtnh(l2(alpha=1))", make)


def test_sums_start_afresh_after_a_skipped_step():
    """``when='step'``: what was accumulated for a step that was not taken is gone with the gradients."""
    loop, other = Loop("dtnh(l2(alpha=1), when='step')"), Loop("dtnh(l2(alpha=1), when='step')")
    loop.accumulate([loop.batches[1], loop.batches[2]])
    loop.optimizer.zero_grad()
    loop.methods.step(loop.optimizer)
    for each in (loop, other):
        each.step(*(tuple(part[:4] for part in b) for b in each.batches[:2]))
    assert_close(loop.weights(), other.weights(), rtol=1e-12)


def test_two_ranks_project_the_global_accumulated_gradient():
    method = holdfast.compose("dtnh(l2(alpha=1), when='step')").expression.methods[0]
    alone = Loop(method, frozen_conv_net).train(3).weights()
    for weights in ranks.train_on_two(method, frozen_conv_net, steps=3, micro=2):
        assert_close(weights, alone)


@pytest.mark.parametrize("text", ["dtnh(ptr)", "dtnh(rifle)", "dtnh(l2_sp+ptr)", "dtnh(dtnh(l2_sp))"])
def test_wraps_penalties_only(text):
    with pytest.raises(
        ConflictError, match=r"dtnh projects the gradient of penalties, and (ptr|rifle|dtnh\(l2_sp\)) is none"
    ):
        holdfast.compose(text)


@pytest.mark.parametrize("text", ["dtnh", "dtnh()", "dtnh(lam=0.5)", "dtnh(0.5)", "dtnh('l2_sp')"])
def test_wraps_something(text):
    with pytest.raises(UsageError, match=r"dtnh wraps a method.*write dtnh\(l2_sp\(alpha=0.1\)\)"):
        holdfast.compose(text)


def test_two_owners_of_the_rule_are_both_named():
    with pytest.raises(ConflictError, match=r"dtnh\(l2_sp\) and dtnh\(l2\) both own"):
        holdfast.compose("dtnh(l2_sp)+dtnh(l2)")


def test_decay_needs_epochs():
    with pytest.raises(UsageError, match="steps_per_epoch=N"):
        Loop("dtnh(l2_sp, decay=0.9)", steps_per_epoch=None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dtnh(l2_sp, lam=-1)", "lam must be finite and >= 0, got -1"),
        ("dtnh(l2_sp, decay=0)", "decay must be finite and > 0 and <= 1, got 0"),
        ("dtnh(l2_sp, decay=1.1)", "decay must be finite and > 0 and <= 1, got 1.1"),
        ("dtnh(l2_sp, scope='net')", "scope must be one of 'all', 'layer', got 'net'"),
    ],
)
def test_values_out_of_range_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        holdfast.compose(text)


def test_value_of_the_loss_counts_the_penalty_at_its_strength():
    loop, plain = Loop("dtnh(l2(alpha=1), lam=0.5)"), Loop("")
    x, y = loop.batches[0]
    half = 0.5 * 0.5 * sum(p.square().sum().item() for p in loop.model.parameters())
    assert loop.loss(x, y).item() == pytest.approx(plain.loss(x, y).item() + half, rel=1e-12)


@pytest.mark.parametrize("make", NETWORKS)
def test_logged_angles_are_those_of_the_gradients(make):
    loop = Loop("dtnh(l2_sp(alpha=0.7), lam=2)", make).train(4)
    x, y = loop.batches[1]
    start = Loop("", make).model
    w, w0 = dict(loop.model.named_parameters()), dict(start.named_parameters())
    head = [f"{HEAD}.weight", f"{HEAD}.bias"]
    shared = [n for n in w if n not in head]
    model = make()
    model.load_state_dict(loop.weights())
    live = dict(model.named_parameters())
    g_J = gradient(F.cross_entropy(model(x), y), live)
    g_O = gradient(l2_sp_oracle.omega(live, w0, shared, head, 0.7, 0.01, l2_sp_oracle.PRESETS["default"]), live)
    loop.gradients(x, y)
    d, bare = oracle.direction(g_J, g_O, 2.0), add(g_J, g_O, 2.0)
    pairs = {"angle": (g_J, g_O), "angle1": (d, g_J), "angle2": (d, g_O), "angle3": (bare, g_J), "angle4": (bare, g_O)}
    for name, pair in pairs.items():
        assert loop.methods.log[f"dtnh.{name}"].item() == pytest.approx(oracle.angle(*pair), rel=1e-6), name


def test_golden_trajectory():
    follows_golden("dtnh(l2_sp(alpha=0.3, beta=0.7))")

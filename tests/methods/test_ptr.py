"""PtR against its formulas, limit cases and the oracle; what opens and shuts its gate."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import holdfast
from holdfast.core.errors import UsageError
from holdfast.functional.noise import generator, pseudo_targets
from methods import contract, micro
from methods.loop import NETWORKS, Loop, assert_close, assert_equal, differ
from methods.oracles import follow, ptr_targets
from methods.trajectories import follows_golden
from reference import l2_sp as l2_sp_oracle
from reference import ptr as oracle
from reference.networks import HEAD
from reference.training import run_forward


@contract.every_check
@pytest.mark.parametrize(
    "text",
    [
        "ptr(R=3, T=inf)",
        "ptr(T=1.35, gate='iteration', loss='l2', targets='instance')",
        "ptr(m=2, T=inf, targets='gaussian')",
        "ptr(T=inf, targets='constant')",
    ],
)
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("loss", ["smooth_l1", "l2"])
@pytest.mark.parametrize("targets", ["element", "instance"])
def test_trajectory_is_the_oracles(make, loss, targets):
    rule = oracle.rule(ptr_targets(2.0, targets), R=1.5, loss=loss)
    follow(f"ptr(R=1.5, m=2, T=inf, loss='{loss}', targets='{targets}')", make, {"rule": rule})


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("loss", ["smooth_l1", "l2"])
def test_trajectory_with_normal_targets_is_the_oracles(make, loss):
    def targets(step, rep):
        n = torch.randn(rep.shape, generator=generator("cpu", 0, step, 0, "ptr"), dtype=rep.dtype)
        return oracle.gaussian_targets(n, 2.0)

    rule = oracle.rule(targets, R=1.5, loss=loss)
    follow(f"ptr(R=1.5, m=2, T=inf, loss='{loss}', targets='gaussian')", make, {"rule": rule})


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("loss", ["smooth_l1", "l2"])
def test_trajectory_with_constant_targets_is_the_oracles(make, loss):
    rule = oracle.rule(lambda _, rep: oracle.constant_targets(rep.detach(), 0.7), R=1.5, loss=loss)
    follow(f"ptr(R=1.5, m=0.7, T=inf, loss='{loss}', targets='constant')", make, {"rule": rule})


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(
    ("options", "gate"),
    [
        ("T=1.4", oracle.Gate(T=1.4, steps_per_epoch=3)),
        ("T=1.4, latch=false", oracle.Gate(T=1.4, latch=False, steps_per_epoch=3)),
        ("T=1.38, gate='iteration'", oracle.Gate(T=1.38, per_iteration=True)),
        ("T=1.38, gate='iteration', latch=false", oracle.Gate(T=1.38, per_iteration=True, latch=False)),
    ],
)
def test_gate_is_the_oracles(make, options, gate):
    gate = oracle.Gate(gate.T, gate.latch, gate.per_iteration, gate.steps_per_epoch)  # one for each run
    follow(f"ptr({options})", make, {"rule": oracle.rule(ptr_targets(1.0), gate=gate)})


@pytest.mark.parametrize("make", NETWORKS)
def test_penalty_beside_it_is_the_oracles(make):
    rule = oracle.rule(ptr_targets(1.0), penalty=l2_sp_oracle.penalty(0.3))
    follow("ptr(T=inf)+l2_sp(alpha=0.3)", make, {"rule": rule})


@pytest.mark.parametrize("make", NETWORKS)
def test_added_gradient_stands_in_the_wanted_ratio(make):
    """Ḡ of what is added equals Ḡ_ce / R, whatever the regression loss."""
    for text, R in (("ptr(R=4, T=inf)", 4), ("ptr(R=0.5, m=3, T=inf, loss='l2')", 0.5)):
        plain, edited = (gradient_at_rep(Loop(t, make)) for t in ("", text))
        ratio = plain.norm(dim=1).mean() / (edited - plain).norm(dim=1).mean()
        assert ratio.item() == pytest.approx(R, rel=1e-12)


def gradient_at_rep(loop: Loop) -> torch.Tensor:
    """What arrives at the module before the head, from the gradient of a zero that is added to the features."""
    shift = torch.zeros(8, loop.model.head.in_features, dtype=loop.dtype, requires_grad=True)
    handle = loop.model.head.register_forward_pre_hook(lambda _, args: (args[0] + shift,), prepend=True)
    x, y = loop.batches[0]
    loop.loss(x, y).backward()
    handle.remove()
    return shift.grad


def test_closed_form_on_one_sample():
    """rep = 2, t drawn, smooth-L1 saturated: the addition is sign · Ḡ_ce / R."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False), nn.Linear(1, 2, bias=False)).double()
    with torch.no_grad():
        net[1].weight.fill_(5.0)
        net[2].weight.copy_(torch.tensor([[1.0], [-1.0]]))
    x, y = torch.ones(1, 1, dtype=torch.float64), torch.tensor([1])
    p = torch.softmax(torch.tensor([5.0, -5.0], dtype=torch.float64), 0)
    g = p[0] * 1 + (p[1] - 1) * -1  # ∂J/∂rep
    methods = holdfast.compose("ptr(R=2, m=1, T=inf)")
    methods.prepare(net, "2")
    methods.loss(F.cross_entropy(net(x), y)).backward()
    assert net[1].weight.grad.item() == pytest.approx((g + g.abs() / 2).item(), rel=1e-12)
    assert methods.log["ptr.w"].item() == pytest.approx((g / 2).item(), rel=1e-12)


@pytest.mark.parametrize("make", NETWORKS)
def test_homogeneous_in_the_task_loss(make):
    """R balances the norms, so a loss in other units gives the same direction."""
    one, other = Loop("ptr(T=inf)", make), Loop("ptr(T=inf)", make)
    x, y = one.batches[0]
    other.methods.loss(1000 * F.cross_entropy(other.network(x), y)).backward()
    scaled = {name: 1000 * g for name, g in one.gradients(x, y).items()}
    assert_close({n: p.grad for n, p in other.model.named_parameters()}, scaled, rtol=1e-12)


@pytest.mark.parametrize("make", NETWORKS)
def test_the_head_is_untouched(make):
    x, y = Loop("", make).batches[0]
    plain, edited = Loop("", make).gradients(x, y), Loop("ptr(T=inf)", make).gradients(x, y)
    for name in plain:
        assert torch.equal(plain[name], edited[name]) == name.startswith(HEAD)


def test_zero_norms_give_no_weight():
    loop = Loop("ptr(T=inf)")
    with torch.no_grad():
        loop.model.head.weight.zero_()
    x, y = loop.batches[0]
    g = loop.gradients(x, y)
    assert loop.methods.log["ptr.w"].item() == 0
    assert bool((g["embed.weight"] == 0).all())


@pytest.mark.parametrize("make", NETWORKS)
def test_accumulation_takes_the_ratio_of_each_micro_batch(make):
    micro.is_formed_in_each_micro_batch("ptr(T=inf)", make)


def test_infinite_threshold_is_active_from_the_first_step():
    loop = Loop("ptr(T=inf)").train(1)
    assert loop.methods.log["ptr.active"] == 1


def test_finite_threshold_needs_steps_per_epoch():
    with pytest.raises(UsageError, match=r"ptr.*steps_per_epoch=N"):
        Loop("ptr(T=1)", steps_per_epoch=None)


def fed(text: str, losses: list[float], steps_per_epoch: int = 2, **options) -> list[float]:
    """Whether the gate is open in each step of a run whose task losses are given."""
    loop = Loop(text, steps_per_epoch=steps_per_epoch, total_steps=len(losses), **options)
    x, y = loop.batches[0]
    seen = []
    for value in losses:
        loop.optimizer.zero_grad()
        J = F.cross_entropy(loop.network(x), y)
        loop.methods.loss(J - J.detach() + value).backward()
        seen.append(float(loop.methods.log["ptr.active"]))
        loop.finish()
    return seen


def test_gate_opens_in_the_epoch_after_the_first_below_threshold_and_latches():
    losses = [2, 0, 0.9, 0.9, 3, 3, 0, 0]  # means 1, 0.9, 3, 0
    assert fed("ptr(T=1)", losses) == [0, 0, 0, 0, 1, 1, 1, 1]
    assert fed("ptr(T=1, latch=false)", losses) == [0, 0, 0, 0, 1, 1, 0, 0]


def test_gate_may_look_at_every_batch():
    losses = [2, 0.5, 2, 0.5]
    assert fed("ptr(T=1, gate='iteration')", losses) == [0, 1, 1, 1]
    assert fed("ptr(T=1, gate='iteration', latch=false)", losses) == [0, 1, 0, 1]


@pytest.mark.parametrize("order", ["rifle(periods=2)+{}", "{}+rifle(periods=2)"])
def test_a_new_head_shuts_the_gate_only_where_asked(order):
    losses = [0.5] * 8  # the head is drawn anew after step 4, an epoch's end
    assert fed(order.format("ptr(T=1)"), losses) == [0, 0, 1, 1, 1, 1, 1, 1]
    assert fed(order.format("ptr(T=1, regate=true)"), losses) == [0, 0, 1, 1, 0, 0, 1, 1]
    per_batch = fed(order.format("ptr(T=1, gate='iteration', regate=true)"), [2, 0.5, 2, 2, 2, 2, 0.5, 2])
    assert per_batch == [0, 1, 1, 1, 0, 0, 1, 1]


@pytest.mark.parametrize("order", ["rifle(periods=2)+{}", "{}+rifle(periods=2)"])
def test_a_new_head_within_an_epoch_shuts_the_gate_until_its_end(order):
    losses = [0.5] * 10  # anew after step 5, epochs of 2
    assert fed(order.format("ptr(T=1, regate=true)"), losses) == [0, 0, 1, 1, 1, 0, 1, 1, 1, 1]


def test_targets_are_drawn_anew_each_step():
    loop = Loop("ptr(T=inf)")
    x, y = loop.batches[0]
    first = loop.gradients(x, y)
    again = loop.gradients(x, y)  # the next micro-batch of the same step
    loop.methods.clock.advance()
    later = loop.gradients(x, y)
    assert differ(first, again)
    assert differ(first, later)


def test_infinite_ratio_is_plain_training():
    assert_equal(Loop("ptr(R=inf, T=inf)").train().weights(), Loop("").train().weights())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ptr(R=0)", r"ptr: R must be > 0, got 0$"),
        ("ptr(R=-1)", r"R must be > 0, got -1"),
        ("ptr(m=-0.5)", r"m must be finite and >= 0, got -0.5"),
        ("ptr(m=inf)", r"m must be .*finite.*got inf"),
        ("ptr(T=-1)", r"T must be >= 0, got -1"),
        ("ptr(loss='huber')", r"loss must be one of 'smooth_l1', 'l2', got 'huber'"),
        ("ptr(latch=1)", r"latch must be true or false, got 1"),
    ],
)
def test_values_out_of_range_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        holdfast.compose(text)


def test_nothing_happens_before_a_loss_passes_through():
    """A gradient that never went through ``loss`` is not edited."""
    loop, plain = Loop("ptr(T=inf)"), Loop("")
    x, y = loop.batches[0]
    for each in (loop, plain):
        F.cross_entropy(each.network(x), y).backward()
    assert all(
        torch.equal(a.grad, b.grad) for a, b in zip(loop.model.parameters(), plain.model.parameters(), strict=True)
    )


def test_weight_in_the_log_is_equation_5s_whatever_the_scale():
    loop = Loop("ptr(R=2, T=inf)")
    x, y = loop.batches[0]
    for index, scale in enumerate((1, 64)):
        loop.gradients(x, y, scale)
        forward = run_forward(loop.model, HEAD, x)
        t = pseudo_targets(forward.rep.detach(), 1.0, "element", generator("cpu", 0, 0, index, "ptr"))
        L_ptr = oracle.regression_loss(forward.rep, t)
        w, _, _ = oracle.weight(F.cross_entropy(forward.logits, y), L_ptr, forward.rep, R=2)
        assert loop.methods.log["ptr.w"].item() == pytest.approx(w, rel=1e-9)


def test_golden_trajectory():
    follows_golden("ptr(R=3, m=1, T=inf)")

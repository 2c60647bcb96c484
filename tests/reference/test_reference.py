"""The oracles are tested too: closed forms, limit cases, and PyTorch's own SGD for the loop."""

import math

import pytest
import torch
import torch.nn.functional as F

from . import dtnh, l2, l2_sp, ptr, rifle
from .networks import HEAD, conv_net, image_batches, token_net
from .probe import NETWORKS, assert_close, first_step
from .training import (
    add,
    dot,
    gradient,
    head_parameters,
    plain,
    shared_parameters,
    snapshot,
    train,
)


@pytest.mark.parametrize("make", NETWORKS)
def test_loop_equals_torch_sgd(make):
    batches = image_batches()
    out = train(make(), HEAD, batches, steps=5, lr=0.05, head_lr=0.2, momentum=0.9, weight_decay=0.01)
    model = make()
    head = set(head_parameters(model, HEAD))
    groups = [
        {"params": [p for n, p in model.named_parameters() if n not in head], "lr": 0.05},
        {"params": [p for n, p in model.named_parameters() if n in head], "lr": 0.2},
    ]
    optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=0.01)
    for t in range(5):
        x, y = batches[t % 3]
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        assert out.losses[t] == pytest.approx(loss.item(), rel=1e-12)
        assert_close(out.weights[t + 1], dict(model.named_parameters()))
    assert_close(out.buffers[-1], dict(model.named_buffers()))


def test_loop_leaves_the_callers_model_alone():
    model = conv_net()
    before = snapshot(model.state_dict())
    train(model, HEAD, image_batches(), steps=2, lr=0.1)
    assert_close(before, model.state_dict())


def test_include_adds_kind_after_kind():
    model = token_net()
    chosen = [set(shared_parameters(model, HEAD, kind)) for kind in ("weights", "+bias", "+norm", "all")]
    assert chosen[0] == {"embed.weight", "stage1.1.weight", "stage2.1.weight"}
    assert chosen[1] - chosen[0] == {"embed.bias", "stage1.1.bias", "stage2.1.bias"}
    assert chosen[2] - chosen[1] == {f"stage{i}.0.{leaf}" for i in (1, 2) for leaf in ("weight", "bias")}
    assert chosen[3] - chosen[2] == {"position"}


def test_l2_gradient_is_alpha_w():
    step, _ = first_step(conv_net())
    g = gradient(l2.penalty(0.3)(step), step.w)
    assert_close(g, {name: 0.3 * p.detach() for name, p in step.w.items()})
    g = gradient(l2.penalty(0.3, 0.7)(step), step.w)
    assert_close(g, {n: (0.7 if n in step.head else 0.3) * p.detach() for n, p in step.w.items()})
    g = gradient(l2.penalty(0.3, preset="wan2019")(step), step.w)
    assert_close(g, {name: 0.6 * p.detach() for name, p in step.w.items()})


def test_l2_equals_weight_decay():
    decayed = train(conv_net(), HEAD, image_batches(), steps=4, lr=0.1, momentum=0.9, weight_decay=0.05)
    penalised = train(conv_net(), HEAD, image_batches(), steps=4, lr=0.1, momentum=0.9, penalty=l2.penalty(0.05))
    assert_close(decayed.weights[-1], penalised.weights[-1])


@pytest.mark.parametrize("preset", ["default", "li2018", "delta2019", "tllib", "wan2019", "li2020", "renofeation"])
@pytest.mark.parametrize("make", NETWORKS)
def test_l2_sp_gradient_by_hand(preset, make):
    step, _ = first_step(make(), moved=0.1)
    g = gradient(l2_sp.penalty(0.3, 0.7, preset)(step), step.w)
    body, head = {"wan2019": (0.6, 0), "li2020": (0.6, 0), "renofeation": (0.6, 0.6)}.get(preset, (0.3, 0.7))
    for name, p in step.w.items():
        strength = head if name in step.head else body
        if preset == "li2018" and (p.ndim < 2 or name == "position"):
            strength = 0
        to_start = name not in step.head or preset == "renofeation"
        expected = strength * (p - step.w0[name] if to_start else p)
        torch.testing.assert_close(g[name], expected.detach(), rtol=1e-12, atol=1e-15)


def test_l2_sp_starts_at_the_heads_term_alone():
    step, _ = first_step(conv_net())
    head = {name: step.w[name] for name in step.head}
    half_square = 0.5 * 0.01 * dot(head, head)
    assert l2_sp.penalty(0.1, 0.01)(step).item() == pytest.approx(half_square, rel=1e-12)
    assert l2_sp.penalty(0.1, 0.01, "wan2019")(step).item() == 0
    assert l2_sp.penalty(0.1, 0.01, "renofeation")(step).item() == 0


def test_l2_sp_paddle_gradient_has_unit_length_per_tensor():
    step, _ = first_step(conv_net(), moved=0.1)
    g = gradient(l2_sp.penalty(0.3, 0.7, "paddle")(step), step.w)
    for name in step.w:
        assert g[name].norm().item() == pytest.approx(0.7 if name in step.head else 0.3, rel=1e-12)
    still, _ = first_step(conv_net())
    g = gradient(l2_sp.penalty(0.3, 0.7, "paddle")(still), still.w)
    assert all(bool(torch.isfinite(value).all()) for value in g.values())


@pytest.mark.parametrize("loss", ["smooth_l1", "l2"])
@pytest.mark.parametrize("make", NETWORKS)
def test_ptr_norm_ratio_is_the_target(loss, make):
    step, J = first_step(make())
    rep = step.forward.rep
    u = torch.rand(rep.shape, generator=torch.Generator().manual_seed(5), dtype=rep.dtype)
    extra = ptr.added_gradient(J, rep, ptr.uniform_targets(u, 1.0), 3.0, loss)
    (g_ce,) = torch.autograd.grad(J, rep, retain_graph=True)
    assert ptr.mean_norm(g_ce) / ptr.mean_norm(extra) == pytest.approx(3.0, rel=1e-12)


def test_ptr_losses_are_torchs():
    rep, t = 3 * torch.randn(2, 4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(ptr.regression_loss(rep, t), F.smooth_l1_loss(rep, t))
    torch.testing.assert_close(ptr.regression_loss(rep, t, "l2"), 0.5 * F.mse_loss(rep, t))


def test_ptr_is_homogeneous_in_the_loss():
    step, J = first_step(conv_net())
    rep = step.forward.rep
    once, eight_times = (ptr.added_gradient(s * J, rep, torch.zeros_like(rep), 3.0) for s in (1, 8))
    torch.testing.assert_close(eight_times, 8 * once, rtol=1e-12, atol=0)


def test_ptr_zero_norms_give_zero_weight():
    step, J = first_step(conv_net())
    rep = step.forward.rep
    assert ptr.weight(0 * J, ptr.regression_loss(rep, torch.zeros_like(rep)), rep, 3.0)[0] == 0
    assert ptr.weight(J, ptr.regression_loss(rep, rep.detach()), rep, 3.0)[0] == 0


def test_ptr_adds_nothing_to_the_head():
    step, J = first_step(conv_net())
    g, figures = ptr.rule(lambda _, rep: torch.ones_like(rep))(step, J)
    bare = gradient(J, step.w)
    assert figures["active"] == 1
    for name in step.w:
        assert torch.equal(g[name], bare[name]) == (name in step.head)


def test_ptr_gate_latches_after_the_first_good_epoch():
    losses = [2.0, 1.0, 0.5, 0.7, 3.0, 3.0, 0.1, 0.1, 9.0, 9.0]
    latched, unlatched = ptr.Gate(1.0, steps_per_epoch=2), ptr.Gate(1.0, latch=False, steps_per_epoch=2)
    assert [latched.ask(J) for J in losses] == [False] * 4 + [True] * 6
    assert [unlatched.ask(J) for J in losses] == [False] * 4 + [True] * 2 + [False] * 2 + [True] * 2
    literal = ptr.Gate(1.0, latch=False, per_iteration=True)
    assert [literal.ask(J) for J in losses] == [J < 1 for J in losses]
    assert ptr.Gate(math.inf).ask(50.0)


def random_pair(seed, sign):
    generator = torch.Generator().manual_seed(seed)
    a, b = (
        {n: torch.randn(4, generator=generator, dtype=torch.float64) for n in ("p.weight", "p.bias", "q.weight")}
        for _ in "ab"
    )
    return a, b if sign * dot(a, b) > 0 else {name: -value for name, value in b.items()}


@pytest.mark.parametrize("scope", ["all", "layer"])
@pytest.mark.parametrize("seed", range(8))
def test_dtnh_never_hurts(scope, seed):
    g_J, g_O = random_pair(seed, -1)
    for lam in (0.1, 1.0, 30.0):
        assert dot(dtnh.direction(g_J, g_O, lam, scope), g_J) >= dot(g_J, g_J) * (1 - 1e-12)


def test_dtnh_removes_exactly_the_component_along_the_task_gradient():
    g_J, g_O = random_pair(0, -1)
    kept = dtnh.project(g_J, g_O)
    assert dot(kept, g_J) == pytest.approx(0, abs=1e-13)
    assert dot(kept, kept) == pytest.approx(dot(g_O, g_O) - dot(g_O, g_J) ** 2 / dot(g_J, g_J), rel=1e-12)
    g_J, g_O = random_pair(0, 1)
    assert_close(dtnh.direction(g_J, g_O, 0.5), add(g_J, g_O, 0.5))


def test_dtnh_changes_the_head_though_the_penalty_does_not_reach_it():
    zero = torch.zeros(1, dtype=torch.float64)
    g_J, g_O = {"body.w": zero + 1, "head.w": zero + 1}, {"body.w": zero - 1, "head.w": zero}
    assert_close(dtnh.direction(g_J, g_O), {"body.w": zero + 0.5, "head.w": zero + 1.5})
    assert_close(dtnh.direction(g_J, g_O, scope="layer"), {"body.w": zero + 1, "head.w": zero + 1})


def test_dtnh_keeps_the_penalty_where_the_task_gradient_is_zero():
    _, g_O = random_pair(0, 1)
    nothing = {name: torch.zeros_like(value) for name, value in g_O.items()}
    assert_close(dtnh.direction(nothing, g_O), g_O)


@pytest.mark.parametrize("make", NETWORKS)
def test_dtnh_run_decays_its_strength(make):
    rule = dtnh.rule(l2_sp.penalty(0.5), lam=2.0, decay=0.5, steps_per_epoch=3)
    out = train(make(), HEAD, image_batches(), steps=7, lr=0.1, momentum=0.9, rule=rule)
    assert [f["lam"] for f in out.figures] == [2, 2, 2, 1, 1, 1, 0.5]
    step, J = first_step(make(), moved=0.1)
    assert_close(dtnh.rule(l2_sp.penalty(0.5), lam=0.0)(step, J)[0], plain()(step, J)[0])


def test_rifle_resets_leave_full_periods():
    assert rifle.resets(900, 4) == [225, 450, 675]
    assert rifle.resets(11, 4) == [2, 4, 6]
    assert rifle.resets(7, 1) == []
    with pytest.raises(ValueError, match="3 steps"):
        rifle.resets(3, 4)


def test_rifle_cycles():
    annealed = [rifle.head_factor(t, 11, 4) for t in range(11)]
    assert annealed[:6] == pytest.approx([1, 0.5] * 3)
    assert annealed[6:] == pytest.approx([0.5 * (math.cos(math.pi * i / 5) + 1) for i in range(5)])
    printed = [rifle.head_factor(t, 11, 4, "printed") for t in range(11)]
    assert printed == pytest.approx([1, 0] * 5 + [1], abs=1e-15)


def run_rifle(make, **options):
    draw = rifle.normal_draw(torch.Generator().manual_seed(7))
    batches = image_batches()
    return rifle.rifle(make(), HEAD, batches, steps=9, draw=draw, lr=0.05, head_lr=0.2, momentum=0.9, **options)


@pytest.mark.parametrize("make", NETWORKS)
def test_rifle_resets_the_head_alone(make):
    out = run_rifle(make, variant="A")
    plain_run = train(make(), HEAD, image_batches(), steps=9, lr=0.05, head_lr=0.2, momentum=0.9)
    head = head_parameters(make(), HEAD)
    assert_close(out.weights[1], plain_run.weights[1])
    for name in out.weights[2]:
        assert torch.equal(out.weights[2][name], plain_run.weights[2][name]) == (name not in head)
    assert float(out.weights[2]["head.bias"].abs().sum()) == 0
    assert out.rates == plain_run.rates


def test_rifle_restarts_the_heads_momentum_unless_kept():
    cleared, kept = run_rifle(conv_net, variant="A"), run_rifle(conv_net, variant="A", keep_state=True)
    assert_close(cleared.weights[2], kept.weights[2])
    moved = [out.weights[3]["head.bias"] - out.weights[2]["head.bias"] for out in (cleared, kept)]
    assert not torch.allclose(*moved)


def test_rifle_cycles_the_heads_rate_and_leaves_the_body_to_the_host():
    out = run_rifle(conv_net, variant="B", schedule=lambda t: 1 / (t + 1))
    assert [r["stage1.0.weight"] for r in out.rates] == pytest.approx([0.05 / (t + 1) for t in range(9)])
    assert [r["head.weight"] for r in out.rates] == pytest.approx([0.2 * rifle.head_factor(t, 9, 4) for t in range(9)])
    hosted = run_rifle(conv_net, schedule=lambda t: 1 / (t + 1), on="host")
    expected = [0.2 * rifle.head_factor(t, 9, 4) / (t + 1) for t in range(9)]
    assert [r["head.weight"] for r in hosted.rates] == pytest.approx(expected)


def test_rifle_draws_at_the_scale_of_a_fresh_linear_layer():
    weight = torch.zeros(300, 400, dtype=torch.float64)
    fresh = rifle.normal_draw(torch.Generator().manual_seed(0))(1, weight)
    torch.manual_seed(0)
    bound = torch.nn.Linear(400, 300).weight.abs().max().item()
    assert fresh.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)
    assert rifle.default_std(weight) == pytest.approx(bound / math.sqrt(3), rel=0.001)

"""Penalties on parameters, the Fisher information, freezing and gradient surgery: closed forms and limits."""

import math

import pytest
import torch

from . import dtnh, fisher, freeze, gem, gl_sp, gl_sp_fisher, l1_sp, l2_sp, l2_sp_fisher, lp_ft, wise_ft
from .networks import HEAD, conv_net, image_batches
from .probe import NETWORKS, assert_close, first_step
from .training import dot, gradient, head_parameters, plain, shared_parameters, snapshot, train


def ones_like_parameters(model):
    return {name: torch.ones_like(p) for name, p in model.named_parameters()}


@pytest.mark.parametrize("eps", [0.0, 1e-16, 1e-2])
@pytest.mark.parametrize("make", NETWORKS)
def test_l1_sp_gradient_is_the_sign_or_its_smoothing(eps, make):
    step, _ = first_step(make(), moved=0.1)
    g = gradient(l1_sp.penalty(0.3, 0.7, eps)(step), step.w)
    for name, p in step.w.items():
        d = p - step.w0[name]
        pull = d / torch.sqrt(d**2 + eps) if eps else torch.sign(d)
        expected = 0.7 * p if name in step.head else 0.3 * pull
        torch.testing.assert_close(g[name], expected.detach(), rtol=1e-12, atol=1e-15)


def test_smoothed_penalties_are_finite_at_the_starting_point():
    step, _ = first_step(conv_net())
    F = ones_like_parameters(step.model)
    for penalty in (l1_sp.penalty(0.3), gl_sp.penalty(0.3), gl_sp_fisher.penalty(F, 0.3)):
        g = gradient(penalty(step), step.w)
        assert all(bool((g[name] == 0).all()) for name in step.shared)


@pytest.mark.parametrize("d", [-2.0, -0.3, 0.0, 0.1, 5.0])
def test_soft_threshold_minimises(d):
    best = l1_sp.soft(d, 0.25)
    objective = [0.5 * (v - d) ** 2 + 0.25 * abs(v) for v in (best, best + 1e-4, best - 1e-4)]
    assert objective[0] == min(objective)


def test_proximal_l1_freezes_what_moves_too_little():
    run = {"steps": 3, "lr": 0.05, "momentum": 0.9}
    strong = train(conv_net(), HEAD, image_batches(), after_step=l1_sp.proximal_step(1e3), **run)
    none = train(conv_net(), HEAD, image_batches(), after_step=l1_sp.proximal_step(0.0), **run)
    free = train(conv_net(), HEAD, image_batches(), **run)
    for name in shared_parameters(conv_net(), HEAD):
        assert torch.equal(strong.weights[-1][name], strong.weights[0][name])
    for name, value in free.weights[-1].items():
        torch.testing.assert_close(none.weights[-1][name], value, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("make", NETWORKS)
def test_gl_sp_gradient_by_hand(make):
    step, _ = first_step(make(), moved=0.1)
    g = gradient(gl_sp.penalty(0.3, 0.7)(step), step.w)
    kernels = shared_parameters(step.model, HEAD, "weights")
    for name, p in step.w.items():
        d = (p - step.w0[name]).detach()
        if name in step.head:
            expected = 0.7 * p.detach()
        elif name in kernels:
            expected = torch.stack([0.3 * math.sqrt(row.numel()) * row / row.norm() for row in d])
        else:
            expected = 0.3 * d
        torch.testing.assert_close(g[name], expected, rtol=1e-9, atol=1e-12)


def test_fisher_of_ones_gives_the_plain_penalties():
    step, _ = first_step(conv_net(), moved=0.1)
    F = ones_like_parameters(step.model)
    pairs = [
        (l2_sp_fisher.penalty(F, 0.3, 0.7), l2_sp.penalty(0.3, 0.7)),
        (gl_sp_fisher.penalty(F, 0.3, 0.7), gl_sp.penalty(0.3, 0.7)),
    ]
    for weighted, bare in pairs:
        assert_close(gradient(weighted(step), step.w), gradient(bare(step), step.w))


def test_l2_sp_fisher_adds_its_epsilon():
    step, _ = first_step(conv_net(), moved=0.1)
    zero = {name: torch.zeros_like(p) for name, p in step.model.named_parameters()}
    g = gradient(l2_sp_fisher.penalty(zero, 0.3, 0.7, eps=1.0)(step), step.w)
    assert_close(g, gradient(l2_sp.penalty(0.3, 0.7)(step), step.w))


def group(seed, zeros=0):
    generator = torch.Generator().manual_seed(seed)
    d, F = torch.randn(6, generator=generator, dtype=torch.float64), torch.rand(6, generator=generator).double()
    F[:zeros] = 0
    return d, F


@pytest.mark.parametrize("zeros", [0, 2])
@pytest.mark.parametrize("c", [0.0, 0.1, 0.5, 50.0])
def test_fisher_group_shrinkage_minimises(zeros, c):
    d, F = group(0, zeros)
    best = gl_sp_fisher.shrink(F, d, c)

    def objective(v):
        return (0.5 * ((v - d) ** 2).sum() + c * torch.sqrt((F * v**2).sum())).item()

    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        nudge = 1e-3 * torch.randn(6, generator=generator, dtype=torch.float64)
        assert objective(best) <= objective(best + nudge) + 1e-15
    assert bool((best[F > 0] == 0).all()) == (c == 50.0)
    assert torch.equal(best[:zeros], d[:zeros])


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_fisher_group_freezes_at_the_dual_norm(scale):
    d, F = group(3)
    F = scale * F
    dual = torch.sqrt((d**2 / F).sum()).item()
    assert bool((gl_sp_fisher.shrink(F, d, 1.001 * dual) == 0).all())
    assert bool((gl_sp_fisher.shrink(F, d, 0.999 * dual) != 0).all())


def test_fisher_group_shrinkage_with_ones_is_the_plain_one():
    d, _ = group(2)
    for c in (0.1, 1.0, 50.0):
        torch.testing.assert_close(gl_sp_fisher.shrink(torch.ones(6).double(), d, c), gl_sp.shrink(d, c))


@pytest.mark.parametrize("make", NETWORKS)
def test_proximal_groups_return_whole(make):
    model = make()
    F = ones_like_parameters(model)
    run = {"steps": 3, "lr": 0.05, "momentum": 0.9, "penalty": gl_sp.smooth_part(0.02)}
    out = train(model, HEAD, image_batches(), after_step=gl_sp.proximal_step(0.02), **run)
    twin = train(model, HEAD, image_batches(), after_step=gl_sp_fisher.proximal_step(F, 0.02), **run)
    for name, value in out.weights[-1].items():
        torch.testing.assert_close(twin.weights[-1][name], value, rtol=1e-9, atol=1e-12)
    strong = train(model, HEAD, image_batches(), after_step=gl_sp.proximal_step(1e3), **run)
    for name in shared_parameters(model, HEAD, "weights"):
        assert torch.equal(strong.weights[-1][name], strong.weights[0][name])


def test_fisher_of_a_linear_softmax_in_closed_form():
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 4).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    f = torch.softmax(model(x), 1).detach()
    F = fisher.exact(model, x)
    variance = f * (1 - f)
    torch.testing.assert_close(F["bias"], variance.mean(0))
    torch.testing.assert_close(F["weight"], (variance[:, :, None] * x[:, None] ** 2).mean(0))


def test_fisher_samplers_meet_the_exact_one():
    x, _ = image_batches()[0]
    model = conv_net()
    full = fisher.exact(model, x)
    assert_close(fisher.topk(model, x, 4), full)
    every = fisher.monte_carlo(model, x[:1], [[0, 1, 2, 3]])
    by_class = [fisher.squared_score(model.eval(), x[0], c) for c in range(4)]
    assert_close(every, {name: sum(s[name] for s in by_class) / 4 for name in every})
    best = [max(range(4), key=lambda c, f=f: f[c]) for f in fisher.probabilities(model, x)]
    assert_close(fisher.topk(model, x, 1), fisher.monte_carlo(model, x, [[c] for c in best]))


def test_fisher_is_not_the_square_of_the_mean_gradient():
    x, _ = image_batches()[0]
    model = conv_net().eval()
    mean_score = 0
    for sample, f in zip(x, fisher.probabilities(model, x), strict=True):
        for label, weight in enumerate(f):
            log_f = torch.log_softmax(model(sample[None])[0], 0)[label]
            mean_score = mean_score + weight * torch.autograd.grad(log_f, model.head.bias)[0] / len(x)
    torch.testing.assert_close(mean_score, torch.zeros(4).double(), rtol=0, atol=1e-12)
    assert fisher.exact(model, x)["head.bias"].min() > 0.01


def test_frozen_modules_do_not_move_and_the_rest_does():
    run = {"steps": 4, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}
    out = train(freeze.frozen(conv_net(), ["stage1"]), HEAD, image_batches(), **run)
    still = {name for name in out.weights[0] if torch.equal(out.weights[0][name], out.weights[-1][name])}
    assert still == {name for name in out.weights[0] if name.startswith("stage1.")}
    fixed = {name for name in out.buffers[0] if torch.equal(out.buffers[0][name], out.buffers[-1][name])}
    assert fixed == {name for name in out.buffers[0] if name.startswith("stage1.")}
    moving = train(freeze.frozen(conv_net(), ["stage1"], bn="train"), HEAD, image_batches(), **run)
    assert not torch.equal(moving.buffers[0]["stage1.1.running_mean"], moving.buffers[-1]["stage1.1.running_mean"])


def test_probing_moves_the_head_alone_then_everything():
    out = lp_ft.lp_ft(conv_net(), HEAD, image_batches(), probe_steps=2, steps=4, lr=0.1, momentum=0.9)
    head = set(head_parameters(conv_net(), HEAD))
    for t, expected in ((1, True), (3, False)):
        before, after = out.weights[t], out.weights[t + 1]
        assert all(torch.equal(before[n], after[n]) == (expected and n not in head) for n in before)
    assert_close(out.buffers[0], out.buffers[2])
    assert not torch.equal(out.buffers[2]["stage1.1.running_mean"], out.buffers[3]["stage1.1.running_mean"])


def test_probing_for_no_step_is_plain_training():
    probed = lp_ft.lp_ft(conv_net(), HEAD, image_batches(), probe_steps=0, steps=3, lr=0.1)
    assert_close(probed.weights[-1], train(conv_net(), HEAD, image_batches(), steps=3, lr=0.1).weights[-1])


def test_wise_ft_interpolates_shared_parameters():
    model = conv_net()
    w0, w = snapshot(model.state_dict()), {n: v + 1 for n, v in model.state_dict().items()}
    shared = shared_parameters(model, HEAD)
    half = wise_ft.interpolate(w, w0, [*shared, "stage1.1.running_mean"], 0.5)
    torch.testing.assert_close(half["stage1.0.weight"], w0["stage1.0.weight"] + 0.5)
    torch.testing.assert_close(half["stage1.1.running_mean"], w0["stage1.1.running_mean"] + 0.5)
    torch.testing.assert_close(half["head.weight"], w["head.weight"])
    assert_close(wise_ft.interpolate(w, w0, shared, 1.0), w)
    assert wise_ft.choose([0.0, 0.5, 1.0], lambda a: -abs(a - 0.4)) == 0.5
    assert wise_ft.choose([0.0, 0.5, 1.0], lambda _: 1.0) == 1.0


def test_gem_mirrors_dtnh():
    step, J = first_step(conv_net(), moved=0.1)
    g_J = gradient(J, step.w)
    for g_O in (g_J, {name: -g for name, g in g_J.items()}, gradient(l2_sp.penalty(1.0)(step), step.w)):
        g = gem.direction(g_J, g_O, add_penalty=False)
        assert dot(g, g_O) >= -1e-12
    opposed = {name: -g for name, g in g_J.items()} | {"head.bias": 1 - g_J["head.bias"]}
    assert dot(g_J, opposed) < 0
    assert dot(gem.direction(g_J, opposed, add_penalty=False), opposed) == pytest.approx(0, abs=1e-12)
    assert_close(gem.direction(g_J, opposed), dtnh.direction(opposed, g_J))


def test_gem_of_a_zero_penalty_is_plain():
    step, J = first_step(conv_net())
    assert_close(gem.rule(lambda s: 0 * s.forward.logits.sum())(step, J)[0], plain()(step, J)[0])

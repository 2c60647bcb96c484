"""Noise in the model, cycles, and the choice of source images: closed forms and limits."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from . import btfw, conv_dropout, cyclic_lr, drop_connect, dropout, mixout, stoch_norm, stochastic_depth
from .networks import HEAD, conv_net, image_batches
from .probe import NETWORKS, assert_close, first_step
from .training import run_forward, shared_parameters, train


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain_run(make, steps=3):
    return train(make(), HEAD, image_batches(), steps=steps, lr=0.1, momentum=0.9)


@pytest.mark.parametrize("make", NETWORKS)
def test_whole_masks_and_no_probability_are_plain_training(make):
    model = make()
    prepared = [
        dropout.prepared(model, HEAD, lambda _: torch.ones(1).double(), 0.0),
        drop_connect.prepared(model, HEAD, lambda _: torch.ones(4, 1).double(), 0.0),
        conv_dropout.prepared(model, ["stage1"], lambda _, __, F_: torch.ones_like(F_), 0.0),
        mixout.prepared(model, HEAD, lambda _, __, w: torch.zeros_like(w), 0.0),
        stoch_norm.prepared(model, lambda _, __: torch.ones(5)),
    ]
    expected = plain_run(make)
    for noisy in prepared:
        out = train(noisy, HEAD, image_batches(), steps=3, lr=0.1, momentum=0.9)
        for name, value in expected.weights[-1].items():
            torch.testing.assert_close(out.weights[-1][name], value, rtol=1e-9, atol=1e-12)
        for name, value in expected.buffers[-1].items():
            torch.testing.assert_close(out.buffers[-1][name], value, rtol=1e-9, atol=1e-12)


def test_noise_is_drawn_anew_each_pass_and_never_in_evaluation():
    asked = []

    def masks(n):
        asked.append(n)
        return torch.ones(1).double()

    train(dropout.prepared(conv_net(), HEAD, masks, 0.5), HEAD, image_batches(), steps=3, lr=0.1)
    assert asked == [0, 1, 2]
    x, _ = image_batches()[0]
    quiet = dropout.prepared(conv_net(), HEAD, masks, 0.5).eval()
    torch.testing.assert_close(quiet(x), conv_net().eval()(x))
    assert asked == [0, 1, 2]


def test_rep_is_recorded_before_the_dropout():
    x, _ = image_batches()[0]
    noisy = run_forward(dropout.prepared(conv_net(), HEAD, lambda _: torch.zeros(1).double(), 0.5), HEAD, x)
    torch.testing.assert_close(noisy.rep, run_forward(conv_net(), HEAD, x).rep)
    torch.testing.assert_close(noisy.logits[0], conv_net().head.bias.detach(), check_stride=False)


def test_dropout_and_drop_connect_keep_the_expectation():
    rep, W, b = normal(2, 2), normal(3, 2), normal(3)
    plain = rep @ W.T + b
    masks = [torch.tensor([i >> bit & 1 for bit in range(2)]).double() for i in range(4)]
    mean = sum(dropout.dropped(rep, m, 0.5) @ W.T + b for m in masks) / 4
    torch.testing.assert_close(mean, plain)
    mean = sum(drop_connect.connected(rep, W, b, m.expand(3, 2), 0.5) for m in masks) / 4
    torch.testing.assert_close(mean, plain)


def test_conv_dropout_scales_what_it_keeps_and_sleeps_in_evaluation():
    x, _ = image_batches()[0]

    def every_other(_, __, maps):
        return torch.arange(5).remainder(2).view(5, 1, 1).expand_as(maps).double()

    noisy = conv_dropout.prepared(conv_net(), ["stage1"], every_other, 0.5)
    plain = run_forward(conv_net(), HEAD, x, ["stage1"]).maps["stage1"]
    dropped = run_forward(noisy, HEAD, x, ["stage1"]).maps["stage1"]
    torch.testing.assert_close(dropped[:, 1::2], 2 * plain[:, 1::2])
    assert bool((dropped[:, ::2] == 0).all())
    torch.testing.assert_close(
        conv_dropout.prepared(conv_net().eval(), ["stage1"], every_other, 0.5)(x), conv_net().eval()(x)
    )


def test_drop_connect_masks_each_sample():
    rep, W, b = normal(2, 2), normal(3, 2), normal(3)
    masks = (normal(2, 3, 2, seed=4) > 0).double()
    out = drop_connect.connected(rep, W, b, masks, 0.2)
    torch.testing.assert_close(out[1], (masks[1] * W) @ rep[1] / 0.8 + b)


def test_survival_decays_linearly():
    assert stochastic_depth.survival(4) == [0.875, 0.75, 0.625, 0.5]
    assert stochastic_depth.survival(3, p_L=1.0) == [1, 1, 1]


def test_stochastic_depth_keeps_the_expectation_or_scales_in_evaluation():
    f = normal(2, 3)
    alive, dead = torch.tensor(1.0), torch.tensor(0.0)
    expectation = 0.8 * stochastic_depth.branch(f, alive, 0.8) + 0.2 * stochastic_depth.branch(f, dead, 0.8)
    torch.testing.assert_close(expectation, stochastic_depth.branch(f, None, 0.8))
    torch.testing.assert_close(stochastic_depth.branch(f, None, 0.8, rescale=False), 0.8 * f)
    per_sample = stochastic_depth.branch(f, torch.tensor([1.0, 0.0]), 0.8)
    torch.testing.assert_close(per_sample, torch.stack([f[0] / 0.8, 0 * f[1]]))


def test_stochastic_depth_chain_of_dead_branches_is_the_identity():
    H = normal(2, 3).abs()
    blocks = [(lambda v: v, torch.tanh)] * 3
    torch.testing.assert_close(stochastic_depth.run(H, blocks, [torch.tensor(0.0)] * 3), H)
    expected = H
    for _ in range(3):
        expected = torch.relu(expected + torch.tanh(expected))
    torch.testing.assert_close(stochastic_depth.run(H, blocks, None), expected)


def test_cycles_restart():
    cosine = [cyclic_lr.factor(t, 11, 3) for t in range(11)]
    assert [t for t in range(11) if cosine[t] == 1] == [0, 3, 6]
    assert cosine[6:] == pytest.approx([0.5 * (math.cos(math.pi * i / 5) + 1) for i in range(5)])
    triangular = [cyclic_lr.factor(t, 8, 2, "triangular", 0.1) for t in range(8)]
    assert triangular == pytest.approx([0.1, 0.55, 1.0, 0.55] * 2)
    out = train(conv_net(), HEAD, image_batches(), steps=4, lr=0.1, schedule=cyclic_lr.schedule(4, 2))
    assert [r["head.weight"] for r in out.rates] == pytest.approx([0.1, 0.05] * 2)
    with pytest.raises(ValueError, match="2 steps"):
        cyclic_lr.factor(0, 2, 3)


def test_stoch_norm_of_moving_statistics_is_evaluation_mode():
    bn = nn.BatchNorm2d(3).double().train()
    bn.running_mean.copy_(normal(3))
    bn.running_var.copy_(normal(3).abs() + 0.5)
    x = normal(4, 3, 2, 2)
    reference = F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=bn.eps)
    layer = stoch_norm.StochNorm(bn, "bn", lambda _, __: torch.zeros(3))
    before = layer.running_mean.clone()
    torch.testing.assert_close(layer(x), reference)
    torch.testing.assert_close(layer.running_mean, 0.9 * before + 0.1 * x.mean((0, 2, 3)))
    torch.testing.assert_close(layer.eval()(x), F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias))


def test_stoch_norm_chooses_channel_by_channel():
    bn = nn.BatchNorm1d(2).double().train()
    x = 3 + normal(5, 2)
    out = stoch_norm.StochNorm(bn, "bn", lambda _, __: torch.tensor([1.0, 0.0]))(x)
    assert out[:, 0].mean().item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(out[:, 1], x[:, 1] / math.sqrt(1 + bn.eps))


def test_mixout_expectation_and_gradients():
    w, w0 = normal(2).requires_grad_(), normal(2, seed=1)
    masks = [torch.tensor([i >> bit & 1 for bit in range(2)]).double() for i in range(4)]
    torch.testing.assert_close(sum(mixout.mixed(w, w0, M, 0.5) for M in masks) / 4, w)
    M = torch.tensor([1.0, 0.0]).double()
    assert torch.autograd.grad(mixout.mixed(w, w0, M, 0.2).sum(), w)[0].tolist() == [0, 1.25]
    assert torch.autograd.grad(mixout.mixed(w, w0, M, 0.2, code_gradient=True).sum(), w)[0].tolist() == [0, 1]
    torch.testing.assert_close(mixout.mixed(w, w0, M, 0.2), mixout.mixed(w, w0, M, 0.2, code_gradient=True))
    torch.testing.assert_close(mixout.mixed(w0, w0, M, 0.2), w0)


@pytest.mark.parametrize("make", NETWORKS)
def test_mixout_at_the_starting_point_changes_no_output_and_spares_the_head(make):
    asked = set()

    def masks(name, _, w):
        asked.add(name)
        return (normal(*w.shape) > 0).double()

    x, _ = image_batches()[0]
    torch.testing.assert_close(mixout.prepared(make(), HEAD, masks, 0.5)(x), make()(x))
    assert asked == set(shared_parameters(make(), HEAD, "weights"))


def test_noise_reaches_the_gradient():
    keep = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0]).double()
    step, J = first_step(dropout.prepared(conv_net(), HEAD, lambda _: keep, 0.2))
    (g,) = torch.autograd.grad(J, step.w["head.weight"])
    assert bool((g[:, 2] == 0).all())
    assert bool((g[:, 0] != 0).all())


def test_histograms_and_their_divergence():
    h = btfw.histogram(torch.tensor([0.0, 0.1, 0.6, 1.0, -3.0, 9.0]), 0.0, 1.0, 2, eps=0.0)
    assert h == pytest.approx([3 / 6, 3 / 6])
    assert btfw.histogram(torch.tensor([0.9]), 0.0, 1.0, 2, eps=1.0) == pytest.approx([1 / 3, 2 / 3])
    p, q = [0.2, 0.8], [0.5, 0.5]
    assert btfw.divergence([p], [q]) == pytest.approx(0.3 * math.log(0.5 / 0.2) + 0.3 * math.log(0.8 / 0.5))
    assert btfw.divergence([p, q], [q, p]) == pytest.approx(btfw.divergence([p], [q]))
    assert btfw.divergence([p], [p]) == 0


def test_nearest_source_images_and_harder_samples():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(5, 3, 8, 8, generator=generator, dtype=torch.float64) * torch.arange(1, 6).view(5, 1, 1, 1)
    described = [btfw.describe(image, [(-9.0, 9.0)] * 3, 6) for image in images]
    assert btfw.nearest(described[2], described, 1) == [2]
    assert btfw.select([described[0], described[4]], described, [1, 1]) == [0, 4]
    assert len(btfw.select([described[0], described[4]], described, [2, 5])) == 5
    p = torch.tensor([[0.1, 0.9], [0.9, 0.1], [0.55, 0.45]])
    assert btfw.next_round([3, 3, 3], p, torch.tensor([0, 0, 0]), delta=0.6, sigma0=4, sigma1=2) == [7, 3, 5]


def test_prepared_copies_leave_the_callers_model_alone():
    model = conv_net()
    dropout.prepared(model, HEAD, lambda _: torch.zeros(1).double(), 0.5)
    stoch_norm.prepared(model, lambda _, __: torch.zeros(5))
    assert isinstance(model.stage1[1], nn.BatchNorm2d)
    x, _ = image_batches()[0]
    assert_close({"z": model(x)}, {"z": conv_net()(x)})

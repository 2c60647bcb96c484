"""Penalties on representations, maps, predictions and labels: closed forms and limits."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from . import (
    attention_transfer,
    bi_tuning,
    bss,
    co_tuning,
    delta,
    disturb_label,
    fnp,
    fsp,
    joint_train,
    know_dist,
    lwf,
    pairwise_confusion,
    ptr,
)
from .networks import HEAD, STAGES, conv_net, image_batches
from .probe import NETWORKS, assert_close, first_step
from .training import add, cross_entropy, gradient, run_forward, train


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_fnp_is_a_mean_square():
    step, J = first_step(conv_net())
    rep = step.forward.rep
    torch.testing.assert_close(fnp.penalty(0.3)(step), 0.15 * (rep**2).sum(1).mean())
    g, figures = fnp.balanced(3.0)(step, J)
    ratio = figures["G_ce"] / (rep.detach().norm(dim=1).mean().item() / rep.numel())
    assert figures["w"] == pytest.approx(ratio / 3, rel=1e-12)
    by_hand = gradient(J + figures["w"] * 0.5 * (rep**2).mean(), step.w)
    assert_close(g, by_hand)


def test_pairwise_confusion_by_hand():
    z, y = normal(5, 3), torch.tensor([0, 1, 0, 2, 1])
    p = torch.softmax(z, 1)
    distance = ((p[1] - p[3]) ** 2).sum()
    torch.testing.assert_close(pairwise_confusion.omega(z, y, 2.0), 2 * distance)
    torch.testing.assert_close(pairwise_confusion.omega(z, y, 2.0, over="all"), distance)
    code = pairwise_confusion.omega(z, y, 2.0, "dubey2018code")
    torch.testing.assert_close(code, 2 * ((p[0] - p[2]).norm() + (p[1] - p[3]).norm()) / 4)
    assert pairwise_confusion.omega(z, torch.zeros(5).long(), 2.0).item() == 0
    assert pairwise_confusion.omega(z[:1], y[:1], 2.0).item() == 0


@pytest.mark.parametrize("make", NETWORKS)
def test_teacher_penalties_vanish_where_student_is_teacher(make):
    step, _ = first_step(make().eval(), taps=STAGES)
    attention = {tap: torch.ones(F_.shape[1 if F_.ndim == 4 else -1]) for tap, F_ in step.forward.maps.items()}
    pairs = [(STAGES[0], STAGES[1])]
    for penalty in (
        know_dist.penalty(1.0),
        delta.penalty(attention, 1.0, 0.0),
        attention_transfer.penalty(1.0),
        attention_transfer.penalty(1.0, preset="code"),
        fsp.penalty(1.0, pairs),
    ):
        value = penalty(step)
        assert value.item() == 0
        assert all(bool((g == 0).all()) for g in gradient(value, step.w).values())
    trained, _ = first_step(conv_net(), taps=STAGES)
    assert know_dist.penalty(1.0)(trained).item() > 0


@pytest.mark.parametrize("make", NETWORKS)
def test_teacher_penalties_see_a_student_that_moved(make):
    step, _ = first_step(make().eval(), moved=0.1, taps=STAGES)
    for penalty in (know_dist.penalty(1.0), attention_transfer.penalty(1.0), fsp.penalty(1.0, [STAGES])):
        g = gradient(penalty(step), step.w)
        assert g["stage1.1.weight"].abs().max() > 1e-6
        assert all(bool((g[name] == 0).all()) for name in step.head)


def test_know_dist_reductions():
    a, b = normal(2, 3, 4, 5), normal(2, 3, 4, 5, seed=1)
    total = ((a - b) ** 2).sum()
    torch.testing.assert_close(know_dist.omega([a], [b]), total / 2)
    torch.testing.assert_close(know_dist.omega([a], [b], per_position=True), total / 40)
    torch.testing.assert_close(know_dist.omega([a], [b], "tllib"), total / 2)
    torch.testing.assert_close(know_dist.omega([a, a], [b, b], "tllib"), total)
    torch.testing.assert_close(know_dist.omega([a], [b], "renofeation"), F.mse_loss(a, b))


def test_delta_with_even_attention_is_a_halved_mean_distance():
    a, b = normal(2, 3, 4, 5), normal(2, 3, 4, 5, seed=1)
    even = torch.full((3,), 1 / 3, dtype=torch.float64)
    per_sample = 0.5 * ((a - b) ** 2).sum() / 20
    torch.testing.assert_close(delta.distance(a, b, even, "sum"), per_sample)
    torch.testing.assert_close(delta.distance(a, b, even), per_sample / 2)
    tokens = a.flatten(2).transpose(1, 2)
    torch.testing.assert_close(delta.distance(tokens, b.flatten(2).transpose(1, 2), even), per_sample / 2)


def test_delta_attention_follows_the_rise():
    a = delta.attention([3.0, 1.0, 2.0])
    assert a.sum().item() == pytest.approx(1)
    assert a.argsort().tolist() == [1, 2, 0]
    assert (a[0] / a[1]).item() == pytest.approx(math.exp(2 / math.sqrt(2 / 3) / 5))
    assert delta.attention([0.5, 0.5]).tolist() == [0.5, 0.5]


def test_delta_rise_of_a_dead_filter_is_zero():
    model = conv_net()
    with torch.no_grad():
        model.stage1[0].weight[2] = 0
        model.stage1[0].bias[2] = 0
    rise = delta.rises(model, "stage1.0", image_batches())
    assert rise[2] == 0
    assert all(r != 0 for c, r in enumerate(rise) if c != 2)


def test_attention_transfer_ignores_scale():
    a, b = normal(2, 3, 4, 4), normal(2, 3, 4, 4, seed=1)
    assert attention_transfer.omega([a], [3 * a]).item() == pytest.approx(0, abs=1e-12)
    value = attention_transfer.omega([a], [b])
    cosines = torch.cosine_similarity((a**2).sum(1).flatten(1), (b**2).sum(1).flatten(1))
    torch.testing.assert_close(value, 0.5 * torch.sqrt(2 - 2 * cosines).mean())
    code = attention_transfer.omega([a], [b], preset="code")
    torch.testing.assert_close(code, ((2 - 2 * cosines) / 16).mean())


def test_fsp_gram_matrix():
    a, b = normal(3, 4, 4), normal(2, 4, 4, seed=1)
    torch.testing.assert_close(fsp.gram(a, b), torch.einsum("ahw,bhw->ab", a, b) / 16)
    pooled = fsp.gram(normal(3, 8, 8), b)
    torch.testing.assert_close(pooled, torch.einsum("ahw,bhw->ab", F.max_pool2d(normal(3, 8, 8), 2), b) / 16)


def test_lwf_distillation_is_kl_times_the_squared_temperature():
    z, z0 = normal(4, 6).requires_grad_(), normal(4, 6, seed=1)
    reference = 4 * F.kl_div(
        torch.log_softmax(z / 2, 1), torch.log_softmax(z0 / 2, 1), reduction="batchmean", log_target=True
    )
    torch.testing.assert_close(lwf.distillation(z, z0, kl=True), reference)
    (g,) = torch.autograd.grad(lwf.distillation(z, z0), z)
    torch.testing.assert_close(g, 2 * (torch.softmax(z / 2, 1) - torch.softmax(z0 / 2, 1)).detach() / 4)
    torch.testing.assert_close(lwf.distillation(z, z0, squared_T=False) * 4, lwf.distillation(z, z0))


def test_lwf_leaves_the_new_head_alone_and_trains_the_source_head():
    source = nn.Linear(5, 7).double()
    step, _ = first_step(conv_net(), moved=0.1, extra={"source_head": source})
    g = gradient(lwf.penalty(source)(step), step.w)
    assert all(bool((g[name] == 0).all()) for name in step.head)
    assert g["source_head.weight"].abs().max() > 0


def test_second_heads_train_in_the_loop():
    source = nn.Linear(5, 4).double()
    stream = image_batches(seed=9)
    out = train(
        conv_net(),
        HEAD,
        image_batches(),
        steps=2,
        lr=0.1,
        extra={"source_head": source},
        extra_lr=0.01,
        penalty=joint_train.penalty(lambda t: stream[t], 0.5),
    )
    assert out.rates[0]["source_head.weight"] == 0.01
    assert not torch.equal(out.weights[2]["source_head.weight"], out.weights[1]["source_head.weight"])


def test_joint_train_sums_two_losses():
    source = nn.Linear(5, 4).double()
    step, J = first_step(conv_net(), extra={"source_head": source})
    x, y = image_batches(seed=9)[0]
    total = J + joint_train.penalty(lambda _: (x, y))(step)
    second = cross_entropy(source(run_forward(step.model, HEAD, x).rep), y)
    torch.testing.assert_close(total, J + second)
    halved = joint_train.penalty(lambda _: (x, y), 0.5)(step)
    torch.testing.assert_close(halved, second / 2)
    combined = gradient(total, step.w)
    assert_close(
        {n: combined[n] for n in step.shared},
        add(*({n: gradient(loss, step.w)[n] for n in step.shared} for loss in (J, second))),
    )


def test_disturbed_labels():
    y, u = torch.tensor([0, 1, 2, 1]), torch.tensor([0.05, 0.2, 0.0, 0.9])
    assert disturb_label.disturb(y, 0.1, u, torch.tensor([2, 2, 2, 0])).tolist() == [2, 1, 2, 1]
    assert disturb_label.disturb(y, 0.0, u, 2 - y).tolist() == y.tolist()
    assert disturb_label.label_probabilities(1, 4, 0.2) == pytest.approx([0.05, 0.85, 0.05, 0.05])


def test_bss_is_the_smallest_squared_singular_value():
    for shape in ((4, 9), (9, 4)):
        features = normal(*shape).requires_grad_()
        U, s, Vh = torch.linalg.svd(features.detach(), full_matrices=False)
        value = bss.omega(features, 2)
        torch.testing.assert_close(value, (s[-2:] ** 2).sum())
        (g,) = torch.autograd.grad(value, features)
        torch.testing.assert_close(g, 2 * (U[:, -2:] * s[-2:]) @ Vh[-2:])


def test_co_tuning_relationships():
    f = torch.softmax(normal(6, 3), 1)
    y = torch.tensor([0, 1, 0, 1, 1, 0])
    relationship = co_tuning.direct(f, y, 2)
    torch.testing.assert_close(relationship[1], f[[1, 3, 4]].mean(0))
    torch.testing.assert_close(relationship.sum(1), torch.ones(2).double())
    prior, certain = f.mean(0), torch.eye(3).double()
    torch.testing.assert_close(co_tuning.reverse(certain, prior), certain)


def test_co_tuning_with_certain_relationship_is_cross_entropy():
    z, y = normal(5, 3), torch.tensor([0, 1, 2, 1, 0])
    torch.testing.assert_close(co_tuning.omega(z, y, torch.eye(3).double()), F.cross_entropy(z, y))


def test_bi_tuning_without_other_positives_is_info_nce():
    z, key = normal(2, 4), normal(2, 4, seed=1)
    queue = F.normalize(normal(6, 4, seed=2))
    y, queue_y = torch.tensor([0, 1]), torch.full((6,), 2)
    q, k = F.normalize(z), F.normalize(key)
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / 0.07
    reference = F.cross_entropy(logits, torch.zeros(2).long())
    torch.testing.assert_close(bi_tuning.ccl(z, key, y, queue, queue_y), reference)


def test_bi_tuning_classifier_side():
    torch.manual_seed(0)
    head, rep = nn.Linear(4, 3).double(), normal(2, 4).requires_grad_()
    queue = F.normalize(normal(6, 5, seed=2))
    y, queue_y = torch.tensor([0, 1]), torch.tensor([0, 0, 1, 1, 2, 2])
    rows = F.normalize(torch.cat([head.weight, head.bias[:, None]], 1))[y]
    own = F.normalize(torch.cat([rep, torch.ones(2, 1).double()], 1))
    log_p = torch.log_softmax(torch.cat([(rows * own).sum(1, keepdim=True), rows @ queue.T], 1) / 0.07, 1)
    positive = torch.cat([torch.ones(2, 1).bool(), queue_y[None] == y[:, None]], 1)
    reference = -(log_p * positive).sum(1).mean() / 3
    torch.testing.assert_close(bi_tuning.cce(rep, head, y, queue, queue_y), reference)
    held = bi_tuning.cce(rep, head, y, queue, queue_y, head_gradient=False)
    assert torch.autograd.grad(held, head.weight, allow_unused=True, retain_graph=True)[0] is None
    assert torch.autograd.grad(held, rep)[0].abs().max() > 0


def test_bi_tuning_queue_overwrites_the_oldest():
    queue = bi_tuning.Queue(torch.zeros(2, 2, 1))
    for value in (1.0, 2.0, 3.0):
        queue.push(torch.tensor([value]), 1)
    keys, classes = queue.flat()
    assert keys.flatten().tolist() == [0, 0, 3, 2]
    assert classes.tolist() == [0, 0, 1, 1]
    moved = bi_tuning.momentum_update({"w": torch.ones(1)}, {"w": torch.zeros(1)}, 0.9)
    assert moved["w"].item() == pytest.approx(0.9)


def test_ptr_and_balanced_fnp_meet():
    step, J = first_step(conv_net())
    zero_targets = ptr.rule(lambda _, rep: torch.zeros_like(rep), 3.0, "l2")
    assert_close(zero_targets(step, J)[0], fnp.balanced(3.0)(step, J)[0])


def test_ptr_controls_have_the_wanted_moments():
    n = normal(2000, 50)
    t = ptr.gaussian_targets(n, 3.0)
    assert t.mean().item() == pytest.approx(3 + math.sqrt(3) * n.mean().item(), rel=1e-9)
    assert t.var().item() == pytest.approx(3 * n.var().item(), rel=1e-9)
    assert bool((ptr.constant_targets(n, 0.4) == 0.4).all())

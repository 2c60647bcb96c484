"""Pairwise confusion against its formula, its oracle and the authors' code; odd batches, labels, ranks."""

import pytest
import torch
import torch.nn.functional as F

import holdfast
from holdfast.core.errors import UsageError
from holdfast.functional.predictions import confusion
from methods import contract, micro
from methods.loop import ADDITIVE_NETWORKS, NETWORKS, Loop, differ
from methods.oracles import batches, follow
from methods.trajectories import follows_golden
from reference import pairwise_confusion as oracle

PORT = "pairwise_confusion@dubey2018code"


@contract.every_check
@pytest.mark.parametrize("text", ["pairwise_confusion(lam=1)", f"{PORT}(lam=1)"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(
    ("text", "penalty"),
    [
        ("pairwise_confusion(lam=2)", oracle.penalty(2.0)),
        ("pairwise_confusion(lam=2, over='formed')", oracle.penalty(2.0, over="all")),
        (f"{PORT}(lam=2)", oracle.penalty(2.0, "dubey2018code")),
        ("pairwise_confusion", oracle.penalty(10.0)),
    ],
)
def test_trajectory_is_the_oracles(make, text, penalty):
    follow(text, make, {"penalty": penalty})


def draw(B: int, C: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(B)
    z = torch.randn(B, C, generator=generator, dtype=torch.float64).requires_grad_()
    return z, torch.randint(C, (B,), generator=generator)


@pytest.mark.parametrize("B", [1, 2, 5, 7, 8])
@pytest.mark.parametrize(
    ("preset", "over", "settings"),
    [
        ("default", "different", {"squared": True, "over": "pairs"}),
        ("default", "all", {"squared": True, "over": "formed"}),
        ("dubey2018code", "", {"squared": False, "over": "samples"}),
    ],
)
def test_any_batch_size_is_the_oracles(B, preset, over, settings):
    z, y = draw(B)
    found = confusion(z.softmax(1), None if preset == "dubey2018code" else y, **settings)
    if B == 1 and preset == "dubey2018code":
        assert found.item() == 0  # no pair: the oracle divides 0 by 0 samples
        return
    wanted = oracle.omega(z, y, 1.0, preset, over)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(found, z)[0], torch.autograd.grad(wanted, z)[0], rtol=1e-12, atol=1e-15
    )


def test_the_last_sample_of_an_odd_batch_sits_out():
    z, y = draw(7)
    value = confusion(z.softmax(1), y, squared=True, over="pairs")
    assert torch.autograd.grad(value, z)[0][-1].abs().max() == 0
    assert value.item() == confusion(z[:6].softmax(1), y[:6], squared=True, over="pairs").item()


def test_port_is_the_authors_line():
    z, _ = draw(8)
    p = z.softmax(1)
    line = torch.norm((p[:4] - p[4:]).abs(), 2, 1).sum() / 8
    assert confusion(p, None, squared=False, over="samples").item() == pytest.approx(line.item(), rel=1e-12)
    assert torch.isfinite(torch.autograd.grad(confusion(0 * p, None, squared=False, over="samples"), z)[0]).all()


def test_one_class_alone_gives_no_penalty_but_to_the_port():
    x, y = batches()[0]
    for text, acts in (("pairwise_confusion", False), (PORT, True)):
        assert differ(Loop(text).gradients(x, 0 * y), Loop("").gradients(x, 0 * y)) == acts


def test_predictions_of_a_pair_come_together():
    def gap(loop):
        p = loop.model(loop.batches[0][0]).softmax(1)
        return confusion(p, loop.batches[0][1], squared=True, over="pairs").item()

    assert gap(Loop("pairwise_confusion(lam=10)").train(90)) < 0.1 * gap(Loop("").train(90))


def test_labels_that_were_not_shown_are_asked_for():
    loop = Loop("pairwise_confusion(lam=1)")
    x, y = loop.batches[0]
    with pytest.raises(UsageError, match=r"pairwise_confusion\(lam=1\) needs the labels: call x, y = methods.on_batch"):
        loop.methods.loss(F.cross_entropy(loop.network(x), y))


def test_labels_of_the_batch_before_are_never_taken():
    loop = Loop("pairwise_confusion(lam=1)")
    x, y = loop.batches[0]
    loop.loss(x, y)
    with pytest.raises(UsageError, match="needs the labels"):
        loop.methods.loss(F.cross_entropy(loop.network(x), y))


def test_mixed_labels_and_joined_forwards_are_refused():
    loop = Loop("pairwise_confusion(lam=1)")
    x, y = loop.batches[0]
    loop.methods.on_batch(x, F.one_hot(y, 4).double())
    with pytest.raises(UsageError, match=r"one class index for each of the 8 samples.*shape \(8, 4\).*float64"):
        loop.methods.loss(F.cross_entropy(loop.network(x), y))
    loop.methods.on_batch(x, y)
    loop.network(x)
    with pytest.raises(UsageError, match=r"each of the 16 samples.*call loss after every forward"):
        loop.methods.loss(F.cross_entropy(loop.network(x), y))


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("text", ["pairwise_confusion(lam=2)", f"{PORT}(lam=2)"])
def test_accumulation_pairs_within_each_micro_batch(make, text):
    micro.is_formed_in_each_micro_batch(text, make)


@pytest.mark.parametrize("make", ADDITIVE_NETWORKS)
def test_two_ranks_pair_in_their_joined_micro_batches(make):
    micro.is_formed_over_both_ranks("pairwise_confusion(lam=2)", make)


def test_golden_trajectory():
    follows_golden("pairwise_confusion(lam=2)")

"""Co-Tuning against its oracle; how the relationship is learnt, kept and asked for."""

import io

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import nn

import holdfast
from holdfast.core.errors import UsageError
from holdfast.functional.relationship import direct, multinomial, reverse
from methods import contract
from methods.loop import ADDITIVE_NETWORKS, NETWORKS, Loop, assert_close, assert_equal
from methods.oracles import batches, follow
from methods.ranks import train_on_two
from methods.trajectories import follows_golden
from reference import co_tuning as oracle
from reference.networks import HEAD, conv_net, source_head, token_net
from reference.training import run_forward


@contract.every_check
@pytest.mark.parametrize("text", ["co_tuning(lam=0.7)", "co_tuning(way='reverse', temperature=2, ridge=0.01)"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


def source_probabilities(make, temperature: float = 1.0):
    """f⁰ on the training images, in evaluation mode, and their labels."""
    model, head = make().eval(), source_head(make)
    with torch.no_grad():
        f = [torch.softmax(head(run_forward(model, HEAD, x).rep) / temperature, 1) for x, _ in batches()]
    return torch.cat(f), torch.cat([y for _, y in batches()])


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(("text", "lam", "T"), [("co_tuning", 2.3, 1), ("co_tuning(lam=0.7, temperature=2)", 0.7, 2)])
def test_trajectory_is_the_oracles(make, text, lam, T):
    relationship = oracle.direct(*source_probabilities(make, T), 4)
    run = {"penalty": oracle.penalty(relationship, lam), "extra": {oracle.KEY: source_head(make)}}
    loop = follow(text, make, run)
    assert not torch.equal(loop.added()["source_head.weight"], source_head(make).weight)


@pytest.mark.parametrize("make", NETWORKS)
def test_trajectory_of_the_reverse_way_is_the_oracles(make):
    f, y = source_probabilities(make)
    prior = torch.stack([f[:, s].mean() for s in range(7)])
    W = multinomial(f, y, 4, 0.01)
    given_source = torch.stack([torch.softmax(W[:, s], 0) for s in range(7)])  # the class of a certain source class
    relationship = oracle.reverse(given_source, prior)
    run = {"penalty": oracle.penalty(relationship, 0.7), "extra": {oracle.KEY: source_head(make)}}
    follow("co_tuning(lam=0.7, way='reverse', ridge=0.01)", make, run)


def samples(n=60, source=7, classes=4):
    generator = torch.Generator().manual_seed(0)
    f = torch.softmax(2 * torch.randn(n, source, generator=generator, dtype=torch.float64), 1)
    return f, torch.randint(classes, (n,), generator=generator)


def test_direct_way_is_the_mean_over_each_class():
    f, y = samples()
    torch.testing.assert_close(direct(f, y, 4), oracle.direct(f, y, 4), rtol=1e-13, atol=0)


@pytest.mark.parametrize("ridge", [1e-3, 0.1])
def test_classifier_is_scikit_learns(ridge):
    f, y = samples()
    theirs = LogisticRegression(C=1 / (ridge * len(y)), fit_intercept=False, tol=1e-12, max_iter=5000)
    wanted = torch.from_numpy(theirs.fit(f.numpy(), y.numpy()).coef_)
    torch.testing.assert_close(multinomial(f, y, 4, ridge), wanted, rtol=1e-6, atol=1e-6)


def test_classifier_is_at_its_minimum_and_does_not_depend_on_copies_of_the_data():
    f, y = samples()
    W = multinomial(f, y, 4, 0.01)
    slope = (torch.softmax(f @ W.T, 1) - F.one_hot(y, 4)).T @ f / len(y) + 0.01 * W
    assert slope.abs().max() < 1e-8
    torch.testing.assert_close(multinomial(f.repeat(2, 1), y.repeat(2), 4, 0.01), W, rtol=1e-6, atol=1e-7)


def test_both_ways_find_a_plain_correspondence():
    """Source class s stands for target class s mod 2."""
    y_s = torch.arange(6).repeat(20)
    f = torch.eye(6, dtype=torch.float64)[y_s]
    wanted = torch.tensor([[1, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1]], dtype=torch.float64) / 3
    torch.testing.assert_close(direct(f, y_s % 2, 2), wanted)
    torch.testing.assert_close(reverse(f, y_s % 2, 2, 1e-6), wanted, rtol=0, atol=1e-3)


@pytest.mark.parametrize("make", NETWORKS)
def test_the_new_head_has_no_part_in_the_penalty(make):
    x, y = batches()[0]
    plain, tuned = Loop("", make).gradients(x, y), Loop("co_tuning", make).gradients(x, y)
    for name in plain:
        assert torch.equal(plain[name], tuned[name]) == name.startswith(HEAD)


def test_calibration_moves_nothing():
    for make in NETWORKS:
        loop, fresh = Loop("co_tuning", make), make()
        assert_equal(loop.weights(), fresh.state_dict())
        assert [m.training for m in loop.model.modules()] == [m.training for m in fresh.modules()]


def test_relationship_is_kept_in_the_checkpoint_and_not_measured_anew():
    loop = Loop("co_tuning").train(3)
    before = loop.methods._members[0].state.relationship
    saved = torch.load(io.BytesIO(loop.save()), weights_only=True)["methods"]["states"]["co_tuning"]
    torch.testing.assert_close(saved["relationship"], before, rtol=0, atol=0)
    assert list(saved["source_head"]) == ["weight", "bias"]
    again = Loop.resumed(loop.save(), "co_tuning", weights_first=True)
    again.methods.calibrate([(torch.zeros(4, 3, 6, 6).double(), torch.arange(4))])
    assert torch.equal(again.methods._members[0].state.relationship, before)


def test_what_is_missing_is_asked_for():
    with pytest.raises(UsageError, match=r"co_tuning keeps the source classes.*source_head=old_head"):
        holdfast.compose("co_tuning").prepare(token_net(), HEAD)
    x, y = batches()[0]
    loop = Loop("co_tuning", resumes=True)
    with pytest.raises(UsageError, match=r"co_tuning needs p\(y_s \| y_t\): call methods.calibrate\(loader\)"):
        loop.loss(x, y)
    with pytest.raises(UsageError, match="co_tuning needs the labels"):
        loop.methods.loss(F.cross_entropy(loop.network(x), y))
    with pytest.raises(UsageError, match=r"no image of 2 of 4 classes, the first of them 1"):
        loop.methods.calibrate([(x, y % 2 * 2)])


def test_mixed_precision_outside_autocast():
    """The representation comes in bfloat16 where the loss is called after the autocast region."""
    loop = Loop("co_tuning", conv_net, dtype=torch.float32)
    x, y = loop.methods.on_batch(*loop.batches[0])
    with torch.autocast("cpu", torch.bfloat16):
        J = F.cross_entropy(loop.network(x), y)
    loss = loop.methods.loss(J)
    loss.backward()
    exact = Loop("co_tuning", conv_net, dtype=torch.float32).loss(*loop.batches[0])
    assert loss.item() == pytest.approx(exact.item(), rel=0.02)


def test_a_source_head_of_another_width_is_refused():
    with pytest.raises(UsageError, match=r"reads 9 features, the network gives 6"):
        holdfast.compose("co_tuning").prepare(token_net(), HEAD, source_head=nn.Linear(9, 3))


@pytest.mark.parametrize("make", ADDITIVE_NETWORKS)
def test_two_ranks_with_micro_batches_equal_one_process(make):
    method = holdfast.compose("co_tuning(lam=0.7)").expression.methods[0]
    alone = Loop(method, make).train(4).weights()
    for weights in train_on_two(method, make, steps=4, micro=2):
        assert_close(weights, alone, rtol=1e-9)


def test_golden_trajectory():
    follows_golden("co_tuning(lam=0.7)")

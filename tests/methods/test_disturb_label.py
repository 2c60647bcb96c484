"""DisturbLabel: its probabilities, its oracle, its draws."""

import pytest
import torch
import torch.nn.functional as F

import holdfast
from holdfast.core.errors import UsageError
from holdfast.functional.noise import disturbed, generator
from methods import contract
from methods.loop import NETWORKS, Loop, assert_equal, differ
from methods.oracles import SEED, follow
from methods.trajectories import follows_golden
from reference import disturb_label as oracle


@contract.every_check
def test_contract(check):
    check(holdfast.compose("disturb_label(p=0.5)").expression.methods[0])


def redrawn_at(p: float, classes: int = 4):
    """The labels of step t, with the numbers that the method draws."""

    def relabel(y, t):
        gen = generator("cpu", SEED, t, 0, "disturb_label")
        u, drawn = torch.rand(len(y), generator=gen), torch.randint(classes, y.shape, generator=gen)
        return oracle.disturb(y, p, u, drawn)

    return relabel


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
def test_trajectory_is_the_oracles(make, p):
    loop = follow(f"disturb_label(p={p})", make, {"relabel": redrawn_at(p)})
    assert differ(loop.weights(), Loop("", make).train().weights())


@pytest.mark.parametrize("p", [0.05, 0.2, 1.0])
def test_probabilities_are_the_papers(p):
    """The true class is among those drawn: 1 − p(C − 1)/C stay."""
    n, C = 200_000, 5
    y = disturbed(torch.full((n,), 2), p, C, generator("cpu", 0))
    error = 4 / n**0.5
    assert (y.bincount(minlength=C) / n).tolist() == pytest.approx(oracle.label_probabilities(2, C, p), abs=error)


def test_the_probability_takes_effect_in_the_log():
    for p in (0.0, 1.0):
        loop = Loop(f"disturb_label(p={p})")
        changed = []
        for _ in range(200):
            x, y = loop.methods.on_batch(*loop.batches[0])
            changed.append((y != loop.batches[0][1]).float().mean().item())
            assert x is loop.batches[0][0]
            if p:
                assert loop.methods.log["disturb_label.changed"].item() == changed[-1]
            loop.methods.clock.advance()
        assert sum(changed) / 200 == pytest.approx(0.75 * p, abs=0.06 * p)


def test_the_hosts_labels_are_left_alone():
    loop = Loop("disturb_label(p=1)")
    before = [y.clone() for _, y in loop.batches]
    loop.train(3)
    assert all(torch.equal(y, old) for (_, y), old in zip(loop.batches, before, strict=True))


def test_labels_are_drawn_anew_in_every_step_and_micro_batch_and_repeat_with_the_seed():
    def labels(seed, step, micro):
        loop = Loop("disturb_label(p=1)", seed=seed)
        loop.methods.clock.step, loop.methods.clock.micro = step, micro
        return loop.methods.on_batch(*loop.batches[0])[1].tolist()

    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 3, 0)]
    drawn = [labels(*key) for key in keys]
    assert drawn == [labels(*key) for key in keys]
    assert len(set(map(tuple, drawn))) == len(keys)


def test_ranks_take_slices_of_one_draw():
    y = torch.arange(6) % 3
    whole = disturbed(y, 0.7, 3, generator("cpu", 0))
    parts = [disturbed(y[2 * r : 2 * r + 2], 0.7, 3, generator("cpu", 0), r, 3) for r in range(3)]
    assert torch.equal(torch.cat(parts), whole)


def test_accumulation_draws_for_each_micro_batch():
    """Its labels are those of a draw of its own, so four of 8 are not one of 32; the law is the same."""
    loop, other = Loop("disturb_label(p=0.5)"), Loop("")
    x, y = loop.batches[0]
    loop.accumulate([(x[:4], y[:4]), (x[4:], y[4:])])
    labels = []
    for micro, part in enumerate((y[:4], y[4:])):
        gen = generator("cpu", 0, 0, micro, "disturb_label")
        u, drawn = torch.rand(4, generator=gen), torch.randint(4, (4,), generator=gen)
        labels.append(oracle.disturb(part, 0.5, u, drawn))
    other.accumulate([(x[:4], labels[0]), (x[4:], labels[1])])
    found, wanted = ({n: p.grad for n, p in each.model.named_parameters()} for each in (loop, other))
    assert_equal(found, wanted)


def test_penalties_see_the_disturbed_labels():
    loop = Loop("disturb_label(p=1)+pairwise_confusion(lam=1)")
    x, y = loop.methods.on_batch(*loop.batches[0])
    loop.methods.loss(F.cross_entropy(loop.network(x), y))
    value = loop.methods.log["pairwise_confusion.penalty"]
    alone = Loop("pairwise_confusion(lam=1)")
    alone.loss(x, y)
    assert value.item() == alone.methods.log["pairwise_confusion.penalty"].item()


def test_mixed_labels_are_refused():
    loop = Loop("disturb_label(p=0.5)")
    x, y = loop.batches[0]
    with pytest.raises(UsageError, match=r"disturb_label\(p=0.5\) redraws class indices.*shape \(8, 4\)"):
        loop.methods.on_batch(x, F.one_hot(y, 4))
    with pytest.raises(UsageError, match=r"p must be .*<= 1, got 1.5"):
        holdfast.compose("disturb_label(p=1.5)")


def test_golden_trajectory():
    follows_golden("disturb_label(p=0.5)")

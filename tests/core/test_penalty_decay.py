"""Penalties that fade from epoch to epoch: the gradient is that of a weaker penalty, under every kind of term."""

import copy

import pytest
import torch
import torch.nn.functional as F

import holdfast
from holdfast.core.errors import ConflictError, UsageError
from reference.networks import conv_net, image_batches

EPOCH = 3


def gradients(method, step, **options):
    """The regularised gradient of each parameter away from the starting point, at an optimiser step."""
    torch.manual_seed(0)
    methods = holdfast.compose(method)
    model = methods.prepare(conv_net(), total_steps=9, steps_per_epoch=EPOCH, **options)
    methods.clock.step = step
    with torch.no_grad():
        for number, p in enumerate(model.parameters()):
            p += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(number), dtype=p.dtype)
    ((x, y),) = image_batches(1, 6, 4, seed=1)
    loss = methods.loss(F.cross_entropy(model(x), y))
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    methods.remove()
    return found, loss.detach()


@pytest.mark.parametrize(
    ("whole", "weaker"),
    [
        ("l2_sp(alpha=0.4, beta=0.04)", "l2_sp(alpha=0.1, beta=0.01)"),
        ("know_dist(0.4)", "know_dist(0.1)"),
        ("dtnh(l2_sp(alpha=0.4, beta=0.04))", "dtnh(l2_sp(alpha=0.1, beta=0.01))"),
        ("dtnh(know_dist(0.4)+l2_sp(alpha=0.4))", "dtnh(know_dist(0.4)+l2_sp(alpha=0.4), decay=0.5)"),
    ],
)
def test_two_epochs_of_a_half_are_a_quarter(whole, weaker):
    found, value = gradients(whole, 2 * EPOCH, penalty_decay=0.5)
    expected, worth = gradients(weaker, 2 * EPOCH)
    assert found.keys() == expected.keys()
    for name, grad in found.items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-9, atol=1e-15, msg=name)
    torch.testing.assert_close(value, worth, rtol=1e-9, atol=0)


@pytest.mark.parametrize("method", ["l2_sp(alpha=0.4)", "know_dist(0.4)"])
def test_the_first_epoch_is_whole_and_without_decay_nothing_changes(method):
    plain, _ = gradients(method, EPOCH - 1)
    for step, decay in ((EPOCH - 1, 0.5), (EPOCH, 1.0), (2 * EPOCH, 1.0)):
        found, _ = gradients(method, step, penalty_decay=decay)
        assert all(torch.equal(found[name], plain[name]) for name in plain)
    later, _ = gradients(method, EPOCH, penalty_decay=0.5)
    assert any(not torch.equal(later[name], plain[name]) for name in plain)


def test_it_is_applied_once():
    with pytest.raises(ConflictError, match="both decay λ: keep one"):
        gradients("dtnh(l2_sp(alpha=0.1), decay=0.9)", 0, penalty_decay=0.9)


@pytest.mark.parametrize("decay", [0.0, 1.5, -1.0])
def test_a_factor_out_of_range_is_refused(decay):
    with pytest.raises(UsageError, match="expected 0 < penalty_decay <= 1"):
        gradients("plain", 0, penalty_decay=decay)


def test_an_epoch_must_be_known():
    with pytest.raises(UsageError, match=r"penalty_decay=0\.5 needs steps_per_epoch"):
        holdfast.compose("plain").prepare(copy.deepcopy(conv_net()), penalty_decay=0.5)

"""Coins and what they leave: closed forms, types, slices, gradcheck."""

import pytest
import torch

from holdfast.functional.dropping import connected, dropped, kept, mixed, upscale
from holdfast.functional.noise import generator


def gen(*key):
    return generator("cpu", *key)


def test_coins_are_of_their_probability_and_seed():
    coins = kept((200, 100), 0.3, gen(1))
    assert coins.dtype == torch.bool
    assert coins.double().mean().item() == pytest.approx(0.3, abs=0.01)
    assert torch.equal(coins, kept((200, 100), 0.3, gen(1)))
    assert not torch.equal(coins, kept((200, 100), 0.3, gen(2)))
    assert kept((), 1.0, gen(1)).shape == ()


def test_the_ends_keep_all_and_nothing():
    assert bool(kept((1000,), 1.0, gen(0)).all())
    assert not bool(kept((1000,), 0.0, gen(0)).any())


def test_two_ranks_get_the_slices_of_one_draw():
    whole = kept((6, 3), 0.5, gen(0))
    assert torch.equal(torch.cat([kept((3, 3), 0.5, gen(0), rank, 2) for rank in (0, 1)]), whole)


def test_what_is_kept_is_scaled_and_what_is_dropped_is_zero():
    x = torch.tensor([1.0, 2.0, 3.0, 4.0])
    keep = torch.tensor([True, False, False, True])
    assert dropped(x, keep, 0.75).tolist() == [4, 0, 0, 16]
    assert dropped(x, keep & False, 1.0).tolist() == [0, 0, 0, 0]
    assert dropped(x.bfloat16(), keep, 0.5).dtype == torch.bfloat16
    assert dropped(x.expand(2, 4), torch.tensor([[True], [False]]), 0.5).tolist() == [[2, 4, 6, 8], [0] * 4]
    assert (upscale(0.25), upscale(0.0)) == (4, 0)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (5, 3), (2, 3, 7)])
def test_coins_of_any_shape(shape):
    for ranks in (1, 3):
        parts = [kept(shape, 0.5, gen(9), rank, ranks) for rank in range(ranks)]
        assert all(part.shape == shape for part in parts)


@pytest.mark.parametrize("q", [1e-3, 0.1, 0.5, 0.999])
def test_coins_are_fair_to_within_chance(q):
    """The rate over a million, within four deviations; and no coin tells the next one."""
    coins = kept((10**6,), q, gen(3)).double()
    deviation = (q * (1 - q) / 10**6) ** 0.5
    assert coins.mean().item() == pytest.approx(q, abs=4 * deviation + 2**-17)
    together = (coins[1:] * coins[:-1]).mean().item()
    assert together == pytest.approx(q * q, abs=8 * deviation)


def test_a_mask_for_each_sample_is_the_sum_sample_by_sample():
    rep, W, b = torch.randn(3, 4).double(), torch.randn(2, 4).double(), torch.randn(2).double()
    keep = kept((3, 2, 4), 0.5, gen(0))
    rows = [connected(rep[i : i + 1], W, b, keep[i], 0.5) for i in range(3)]
    torch.testing.assert_close(connected(rep, W, b, keep, 0.5), torch.cat(rows))
    torch.testing.assert_close(connected(rep, W, None, keep | True, 0.0), rep @ W.T)


def test_mixing_is_the_printed_formula():
    w, w0 = torch.randn(5, 4).double(), torch.randn(5, 4).double()
    M = ~kept((5, 4), 0.4, gen(0))
    printed = (M * w0 + ~M * w - 0.6 * w0) / 0.4
    torch.testing.assert_close(mixed(w, w0, ~M, 0.6), printed)
    assert torch.equal(mixed(w0, w0, ~M, 0.6), w0)
    assert torch.equal(mixed(w, w0, M & False, 1.0), w0)


def test_gradients():
    keep = kept((3, 4), 0.5, gen(0))
    x, y = (torch.randn(3, 4).double().requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(lambda x: dropped(x, keep, 0.5), x)
    assert torch.autograd.gradcheck(lambda w: mixed(w, y.detach(), keep, 0.5), x)
    W, b = torch.randn(2, 4).double().requires_grad_(), torch.randn(2).double().requires_grad_()
    for mask in (kept((3, 2, 4), 0.5, gen(1)), kept((2, 4), 0.5, gen(1))):
        assert torch.autograd.gradcheck(lambda *a, mask=mask: connected(*a, mask, 0.5), (x, W, b))
    (g,) = torch.autograd.grad(mixed(x, y.detach(), keep, 0.75, code_gradient=True).sum(), x)
    assert torch.equal(g, keep.double())

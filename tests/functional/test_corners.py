"""Corners against their minimisers and gradients; the weighted group step against the oracle's bisection."""

import math

import pytest
import torch

from holdfast.functional import corners
from reference import gl_sp, gl_sp_fisher, l1_sp


def drawn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(seed, *shape, orders=1.0):
    return 10 ** (orders * drawn(seed, *shape))


@pytest.mark.parametrize("eps", [0.0, 1e-16, 1e-2])
def test_lasso_and_its_gradient(eps):
    d = drawn(0, 4, 5).requires_grad_(True)
    value = corners.lasso([d], eps)
    (wanted,) = torch.autograd.grad(l1_sp.smooth_abs(d, eps).sum(), d)
    assert value.item() == pytest.approx(l1_sp.smooth_abs(d, eps).sum().item(), rel=1e-14)
    torch.testing.assert_close(corners.lasso_grads([d.detach().clone()], eps)[0], wanted)


def test_soft_threshold_is_the_oracles_number_by_number():
    d = torch.cat([drawn(1, 50), torch.tensor([0.0, 0.25, -0.25], dtype=torch.float64)])
    (found,) = corners.soft_threshold([d.clone()], [0.25])
    torch.testing.assert_close(found, torch.tensor([l1_sp.soft(v, 0.25) for v in d.tolist()], dtype=torch.float64))
    assert bool((found[-3:] == 0).all())


@pytest.mark.parametrize("eps", [0.0, 1e-16, 1e-2])
@pytest.mark.parametrize("weighted", [False, True])
def test_group_lasso_and_its_gradient(eps, weighted):
    d, F = drawn(2, 3, 4, 2, 2).requires_grad_(True), weights(3, 3, 4, 2, 2) if weighted else None
    squares = d**2 if F is None else F * d**2
    wanted = math.sqrt(16) * torch.sqrt(squares.sum((1, 2, 3)) + eps).sum()
    assert corners.group_lasso([d], [F], eps).item() == pytest.approx(wanted.item(), rel=1e-14)
    (gradient,) = torch.autograd.grad(wanted, d)
    torch.testing.assert_close(corners.group_lasso_grads([d.detach().clone()], [F], eps)[0], gradient)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_corner_itself_has_gradient_zero(weighted):
    d, F = torch.zeros(3, 4), torch.zeros(3, 4) if weighted else None
    for eps in (0.0, 1e-16):
        assert bool((corners.group_lasso_grads([d.clone()], [F], eps)[0] == 0).all())
    assert bool((corners.lasso_grads([d.clone()], 0.0)[0] == 0).all())


@pytest.mark.parametrize("c", [0.01, 0.5, 1.0, 3.0])
def test_groups_shrink_as_the_oracles(c):
    d = drawn(4, 6, 9)
    d[2] = 0
    (found,) = corners.shrink_groups([d.clone()], [None], [c])
    wanted = torch.stack([gl_sp.shrink(row, c * 3.0) for row in d])
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)
    assert int(corners.zero_groups(found)) == int((wanted == 0).all(1).sum())


@pytest.mark.parametrize("orders", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("c", [1e-4, 1e-2, 0.3, 5.0, 1e3])
def test_weighted_groups_shrink_as_the_oracles(orders, c):
    d, F = drawn(5, 8, 3, 3), weights(6, 8, 3, 3, orders=orders)
    F[0], F[1, 0], d[2], d[3, 1] = 0.0, 0.0, 0.0, 0.0
    (found,) = corners.shrink_groups([d.clone()], [F], [c])
    for g in range(8):
        wanted = gl_sp_fisher.shrink(F[g].flatten(), d[g].flatten(), c * 3.0)
        torch.testing.assert_close(found[g].flatten(), wanted, rtol=1e-9, atol=1e-12)
    assert torch.equal(found[0], d[0])


@pytest.mark.parametrize("orders", [1.0, 2.0])
def test_weighted_groups_minimise_in_single_precision(orders):
    """No entry can be nudged to a lower objective; F as small as Fisher information is."""
    d, F = (1e-3 * drawn(7, 16, 64)).float(), (1e-6 * weights(8, 16, 64, orders=orders)).float()
    c = 0.1 * ((d.double() ** 2 / F.double()).sum(1).sqrt()).median().item() / 8
    (v,) = corners.shrink_groups([d.clone()], [F], [c])
    wanted = torch.stack([gl_sp_fisher.shrink(f, x, 8 * c) for f, x in zip(F.double(), d.double(), strict=True)])
    torch.testing.assert_close(v.double(), wanted, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("F", [1e-20, 1e-36, 1e-44])
def test_information_too_small_to_square_holds_nothing_and_breaks_nothing(F):
    d = (1e-6 * drawn(9, 4, 6)).float()
    (found,) = corners.shrink_groups([d.clone()], [torch.full_like(d, F)], [1e-4])
    torch.testing.assert_close(found, d, rtol=1e-4, atol=0)


def test_nothing_is_lost_on_an_empty_tensor():
    empty = torch.zeros(0, 3)
    assert corners.shrink_groups([empty.clone()], [None], [0.1])[0].shape == (0, 3)
    assert corners.group_lasso([empty], [None], 1e-16).item() == 0

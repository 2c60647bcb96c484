"""PtR's parts: the regression's gradient, mean norms, the balancing weight."""

import math

import pytest
import torch
import torch.nn.functional as F

from holdfast.functional.features import balancing_weight, mean_norm, pseudo_regression_grad
from reference import ptr as oracle


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("loss", ["smooth_l1", "l2"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1, 1), (1, 1)])
def test_gradient_is_autograds(loss, shape):
    z, t = (3 * draw(*shape)).requires_grad_(), 3 * draw(*shape, seed=1)
    value = F.smooth_l1_loss(z, t, reduction="sum") if loss == "smooth_l1" else 0.5 * F.mse_loss(z, t, reduction="sum")
    (wanted,) = torch.autograd.grad(value, z)
    assert torch.allclose(pseudo_regression_grad(z.detach(), t, loss), wanted, rtol=1e-14)


@pytest.mark.parametrize("loss", ["smooth_l1", "l2"])
def test_weighted_gradient_is_the_oracles(loss):
    rep, weights, t = draw(6, 4).requires_grad_(), draw(4, seed=2), draw(6, 4, seed=3)
    J = (rep @ weights).sin().mean()
    (g,) = torch.autograd.grad(J, rep, retain_graph=True)
    u = pseudo_regression_grad(rep.detach(), t, loss)
    w = balancing_weight(mean_norm(g), mean_norm(u), 1.5)
    assert torch.allclose(w * u, oracle.added_gradient(J, rep, t, 1.5, loss), rtol=1e-12)


def test_mean_norm_is_over_samples():
    g = draw(3, 4, 2)
    wanted = sum(math.sqrt((row**2).sum().item()) for row in g) / 3
    assert mean_norm(g).item() == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize(("task", "other", "R", "wanted"), [
    (6.0, 2.0, 1.5, 2.0), (6.0, 2.0, math.inf, 0.0), (0.0, 2.0, 1.5, 0.0), (6.0, 0.0, 1.5, 0.0), (0.0, 0.0, 1.5, 0.0),
])  # fmt: skip
def test_weight_and_its_limits(task, other, R, wanted):
    assert balancing_weight(torch.tensor(task), torch.tensor(other), R).item() == wanted
